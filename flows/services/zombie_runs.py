"""Automations that mark zombie runs as crashed: runs whose process and worker are both dead.

Each run sends a heartbeat every HEARTBEAT_S (PREFECT_FLOWS_HEARTBEAT_FREQUENCY). Prefect itself leaves a zombie run
"Running" forever, and it keeps its slot in the concurrency limit (PrefectHQ/prefect #16746). A run that a worker has
taken but not started sends no heartbeat, and would stay "Pending".
"""

from typing import Any

from flows.services.api import Api, ApiError
from flows.services.settings import Credentials, sent_headers

HEARTBEAT_S = 30  # the minimum that Prefect accepts
# Three heartbeats: one may be late, or lost while the server restarts.
HEARTBEAT_TIMEOUT_S = 90.0

# From Pending to Running. A process takes seconds, but a container may have to fetch its image first.
PENDING_TIMEOUT_S = 900.0

NO_HEARTBEAT, STUCK = "genai: runs without a heartbeat", "genai: runs stuck in Pending"
_BEAT, _RUN = "prefect.flow-run.heartbeat", "prefect.flow-run"
_ENDS = ("Completed", "Failed", "Cancelled", "Crashed")
_TAKEN = ("Pending", "Submitting", "InfrastructurePending")  # a worker's state names, in order
_AFTER_PENDING = ("Running", "Scheduled", "AwaitingConcurrencySlot", "AwaitingRetry", "Late", "Cancelling", *_ENDS)


def ensure_automations(
    api: Api, heartbeat_timeout_s: float = HEARTBEAT_TIMEOUT_S, pending_timeout_s: float = PENDING_TIMEOUT_S
) -> None:
    """Create the automations at the server, or update those that differ. Raises ApiError."""
    present = _present(api)
    for wanted in automations(heartbeat_timeout_s, pending_timeout_s):
        found = present.get(wanted["name"])
        if found is None:
            api.post("automations/", **wanted)
        elif not _is_equal(found, wanted):
            api.put(f"automations/{found['id']}", **wanted)


def deploy_automations() -> dict[str, str]:
    """Create the automations as a step of `prefect deploy` (deployments/prefect.yaml).

    If the server refuses, print a warning and deploy anyway: `genai doctor` reports what is missing.
    """
    from prefect.settings import get_current_settings  # loaded by `prefect deploy`, with its --profile

    settings = get_current_settings()
    known = settings.api
    if known.url is None:  # a temporary server, which ends with the command
        return {}
    auth, key = (secret.get_secret_value() if secret else None for secret in (known.auth_string, known.key))
    try:
        headers = sent_headers(settings.client.custom_headers)
        ensure_automations(Api(known.url.rstrip("/"), Credentials(auth, key, headers)))
    except ApiError as error:
        print(f"zombie runs will not be marked as crashed, because the automations could not be created: {error}")
    return {}


def outdated_automations(api: Api) -> tuple[str, ...]:
    """The names of the automations that the server lacks, or that differ there. Raises ApiError."""
    present = _present(api)
    return tuple(
        wanted["name"]
        for wanted in automations(HEARTBEAT_TIMEOUT_S, PENDING_TIMEOUT_S)
        if wanted["name"] not in present or not _is_equal(present[wanted["name"]], wanted)
    )


def automations(heartbeat_timeout_s: float, pending_timeout_s: float) -> tuple[dict[str, Any], ...]:
    """A run counts as crashed if its heartbeats stop before its end, or if it stays Pending."""
    return (
        _automation(
            NO_HEARTBEAT,
            "Marks a run as crashed that has sent no heartbeat",
            "no heartbeat",
            heartbeat_timeout_s,
            ([_BEAT], [_BEAT, *(f"{_RUN}.{end}" for end in _ENDS)]),
        ),
        _automation(
            STUCK,
            "Marks a run as crashed that a worker took but did not start",
            "taken by a worker, but not started",
            pending_timeout_s,
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
                "message": f"{what} for {within_s:g} s: its worker or machine died; the next run continues",
            }
        ],
    }


def _present(api: Api) -> dict[str, dict[str, Any]]:
    found: list[dict[str, Any]] = api.post("automations/filter")
    return {entry["name"]: entry for entry in found}


def _is_equal(present: dict[str, Any], wanted: dict[str, Any]) -> bool:
    trigger, ours = present["trigger"], wanted["trigger"]
    same = all(set(trigger[key]) == set(ours[key]) for key in ("after", "expect"))
    return bool(present["enabled"]) and same and float(trigger["within"]) == ours["within"]
