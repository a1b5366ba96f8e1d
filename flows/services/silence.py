"""A run whose process and worker are both dead tells nobody: an automation marks it crashed by its silence.

Each run sends a heartbeat every HEARTBEAT_S (PREFECT_FLOWS_HEARTBEAT_FREQUENCY). Prefect itself would leave such a run
"Running" for ever, and its place in the concurrency limit taken (PrefectHQ/prefect #16746).
"""

from typing import Any

from flows.services.api import Api

HEARTBEAT_S = 30  # Prefect takes no less
# Three heartbeats: one may be late, or lost with a server that is restarted.
SILENCE_S = 90.0

NAME = "genai: runs that fell silent"
_BEAT, _RUN = "prefect.flow-run.heartbeat", "prefect.flow-run"
_ENDS = ("Completed", "Failed", "Cancelled", "Crashed")


def ensure_automation(api: Api, silence_s: float = SILENCE_S) -> None:
    """Bring the server's automation to what it should be. Raises ApiError."""
    wanted, present = automation(silence_s), find(api)
    if present is None:
        api.post("automations/", **wanted)
    elif not is_as_wanted(present, silence_s):
        api.put(f"automations/{present['id']}", **wanted)


def find(api: Api) -> dict[str, Any] | None:
    """The server's automation of that name. Raises ApiError."""
    found: list[dict[str, Any]] = api.post("automations/filter")
    return next((entry for entry in found if entry["name"] == NAME), None)


def is_as_wanted(present: dict[str, Any], silence_s: float = SILENCE_S) -> bool:
    trigger = present["trigger"]
    return bool(present["enabled"]) and float(trigger["within"]) == silence_s and _BEAT in trigger["expect"]


def automation(silence_s: float) -> dict[str, Any]:
    """Crashed is what sent a heartbeat and then, for so long, neither another one nor its end."""
    return {
        "name": NAME,
        "description": f"Marks a run as crashed that was not heard of for {silence_s:g} s: its machine or worker died",
        "enabled": True,
        "trigger": {
            "type": "event",
            "posture": "Proactive",
            "after": [_BEAT],
            "expect": [_BEAT, *(f"{_RUN}.{end}" for end in _ENDS)],
            "match": {"prefect.resource.id": [f"{_RUN}.*"]},
            "for_each": ["prefect.resource.id"],
            "threshold": 1,
            "within": silence_s,
        },
        "actions": [
            {
                "type": "change-flow-run-state",
                "state": "CRASHED",
                "name": "Crashed",
                "message": f"not heard of for {silence_s:g} s: its worker or machine died; the next run goes on",
            }
        ],
    }
