"""The stages of a bake, in order, and what can be read from the state that they leave.

Each stage stores ``entered`` (when its state was entered) with its result under its own key, so
the timeline needs no call to AWS and the first missing key is the stage that failed.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from bakery.bake import Copied
from bakery.clock import parse

STAGES: tuple[str, ...] = (
    "plan",
    "launch",
    "await_managed",
    "prepare",
    "customize",
    "remove_identity",
    "generalize",
    "verify_identity",
    "stop",
    "create_image",
    "harden_image",
    "test_and_copy",
    "release",
    "publish",
    "templates",
    "keep_previous",
    "retire",
    "clean_up",
)
"""Keys of the execution's state, in the order in which the machine runs them."""

AWAIT_TURN = "await_turn"
"""Key of the stage between plan and launch that a bake has only if its recipe was busy."""

CLONE_HOST = "clone_host"
"""Key of the stage between plan and launch that a bake has only if its base is a running host."""

LOST = "lost_builder"
"""Key of what is known of a builder that AWS took, and that was replaced: all its stages in one."""

_SHOWN = ("plan", AWAIT_TURN, CLONE_HOST, LOST, *STAGES[1:])


def timeline(state: Mapping[str, Any], ended: datetime) -> list[dict[str, object]]:
    """Every stage that ran, with its start (ISO 8601, UTC) and whole duration in seconds."""
    entered = [(stage, parse(state[stage]["entered"])) for stage in _SHOWN if stage in state]
    ends = [start for _, start in entered[1:]] + [ended]
    return [
        {
            "stage": stage,
            "started": start.isoformat(timespec="seconds").replace("+00:00", "Z"),
            "seconds": round((end - start).total_seconds(), 1),
        }
        for (stage, start), end in zip(entered, ends, strict=True)
    ]


def failed_stage(state: Mapping[str, Any]) -> str:
    """The stage that was under way when the bake failed."""
    if state.get("plan", {}).get("busy"):
        return AWAIT_TURN
    if state.get("plan", {}).get("host") and CLONE_HOST not in state:
        return CLONE_HOST
    return next((stage for stage in STAGES if stage not in state), STAGES[-1])


def copies(state: Mapping[str, Any]) -> tuple[Copied, ...]:
    """What came of each Region, as far as that is known; the first is that of the stack."""
    found = state.get("test_and_copy", {}).get("copies", ())
    return tuple(Copied.model_validate(it) for it in found)


def builder_hours(state: Mapping[str, Any], ended: datetime) -> float:
    """How long the builder ran: from its launch until its stop was complete, in hours."""
    if "launch" not in state:
        return 0.0
    start = parse(state["launch"]["entered"])
    stopped = parse(state["create_image"]["entered"]) if "create_image" in state else ended
    return max(0.0, (stopped - start).total_seconds() / 3600)


def test_hours(state: Mapping[str, Any], ended: datetime) -> float:
    """How long the test instances ran, in hours."""
    if "test_and_copy" not in state:
        return 0.0
    tested = state["test_and_copy"]
    end = parse(tested["tested"]) if "tested" in tested else ended
    return max(0.0, (end - parse(tested["entered"])).total_seconds() / 3600)


def lost_hours(state: Mapping[str, Any]) -> float:
    """How long a builder ran that AWS took, in hours."""
    if LOST not in state:
        return 0.0
    lost = state[LOST]
    ran = parse(lost["replaced"]) - parse(lost["entered"])
    return max(0.0, ran.total_seconds() / 3600)
