"""A run whose process and worker are both dead tells nobody: automations mark it crashed by its silence.

Each run sends a heartbeat every HEARTBEAT_S (PREFECT_FLOWS_HEARTBEAT_FREQUENCY). Prefect itself would leave such a run
"Running" for ever, and its place in the concurrency limit taken (PrefectHQ/prefect #16746). A run that a worker has
taken and not begun sends none yet: it would stay "Pending".
"""

from typing import Any

from flows.services.api import Api, ApiError
from flows.services.settings import Credentials

HEARTBEAT_S = 30  # Prefect takes no less
# Three heartbeats: one may be late, or lost with a server that is restarted.
SILENCE_S = 90.0

# From taken to begun. Seconds for a process; a container's image may have to be fetched first.
PENDING_S = 900.0

SILENT, STUCK = "genai: runs that fell silent", "genai: runs that never began"
_BEAT, _RUN = "prefect.flow-run.heartbeat", "prefect.flow-run"
_ENDS = ("Completed", "Failed", "Cancelled", "Crashed")
_TAKEN = ("Pending", "Submitting", "InfrastructurePending")  # a worker's names for it, one after the other
_AFTER_PENDING = ("Running", "Scheduled", "AwaitingConcurrencySlot", "AwaitingRetry", "Late", "Cancelling", *_ENDS)


def ensure_automations(api: Api, silence_s: float = SILENCE_S, pending_s: float = PENDING_S) -> None:
    """Bring the server's automations to what they should be. Raises ApiError."""
    present = _present(api)
    for wanted in automations(silence_s, pending_s):
        found = present.get(wanted["name"])
        if found is None:
            api.post("automations/", **wanted)
        elif not _is_as(found, wanted):
            api.put(f"automations/{found['id']}", **wanted)


def mark_silent_runs() -> dict[str, str]:
    """A step of `prefect deploy` (deployments/prefect.yaml): bring them to what they should be at its server.

    A server that refuses is told about, and the deployments are made: `genai doctor` says what is missing.
    """
    from prefect.settings import get_current_settings  # which `prefect deploy` has loaded, with its --profile

    known = get_current_settings().api
    if known.url is None:  # a server that ends with the command
        return {}
    auth, key = (secret.get_secret_value() if secret else None for secret in (known.auth_string, known.key))
    try:
        ensure_automations(Api(known.url.rstrip("/"), Credentials(auth, key)))
    except ApiError as error:
        print(f"Runs that fall silent will not be marked as crashed: {error}")
    return {}


def not_as_wanted(api: Api) -> tuple[str, ...]:
    """The names of those that the server lacks, or has otherwise. Raises ApiError."""
    present = _present(api)
    return tuple(
        wanted["name"]
        for wanted in automations(SILENCE_S, PENDING_S)
        if wanted["name"] not in present or not _is_as(present[wanted["name"]], wanted)
    )


def automations(silence_s: float, pending_s: float) -> tuple[dict[str, Any], ...]:
    """Crashed is what sent a heartbeat and then neither another one nor its end; and what was taken and never began."""
    return (
        _automation(
            SILENT,
            "Marks a run as crashed that was not heard of",
            "not heard of",
            silence_s,
            ([_BEAT], [_BEAT, *(f"{_RUN}.{end}" for end in _ENDS)]),
        ),
        _automation(
            STUCK,
            "Marks a run as crashed that a worker took and did not begin",
            "taken by a worker, and not begun",
            pending_s,
            ([f"{_RUN}.{state}" for state in _TAKEN], [f"{_RUN}.{state}" for state in _AFTER_PENDING]),
        ),
    )


def _automation(
    name: str, description: str, what: str, within_s: float, events: tuple[list[str], list[str]]
) -> dict[str, Any]:
    after, expect = events
    return {
        "name": name,
        "description": f"{description} for {within_s:g} s: its machine or worker died",
        "enabled": True,
        "trigger": {
            "type": "event",
            "posture": "Proactive",
            "after": after,
            "expect": expect,
            "match": {"prefect.resource.id": [f"{_RUN}.*"]},
            "for_each": ["prefect.resource.id"],
            "threshold": 1,
            "within": within_s,
        },
        "actions": [
            {
                "type": "change-flow-run-state",
                "state": "CRASHED",
                "name": "Crashed",
                "message": f"{what} for {within_s:g} s: its worker or machine died; the next run goes on",
            }
        ],
    }


def _present(api: Api) -> dict[str, dict[str, Any]]:
    found: list[dict[str, Any]] = api.post("automations/filter")
    return {entry["name"]: entry for entry in found}


def _is_as(present: dict[str, Any], wanted: dict[str, Any]) -> bool:
    trigger, ours = present["trigger"], wanted["trigger"]
    same = all(set(trigger[key]) == set(ours[key]) for key in ("after", "expect"))
    return bool(present["enabled"]) and same and float(trigger["within"]) == ours["within"]
