"""Beginning anew with another builder when AWS has taken the first one. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from bakery import failures, stages
from bakery.problems import shortened

_DROPPED = {*stages.STAGES[1:], "failure", "resume_at"}
_WIDEST_REASON = 300


def begun_anew(state: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """The state as Plan left it, for the next attempt, which is on-demand: a second interruption
    would cost more than spot saves. ``lost_builder`` tells what became of the first."""
    launch, plan = state["launch"], state["plan"]
    next_launch = {"spot": False, "attempt": attempt_of(state) + 1}
    cause = failures.first_failure(state)[1].partition("\n")[0]
    return {
        **{key: value for key, value in state.items() if key not in _DROPPED},
        "plan": {**plan, "launch": {**plan["launch"], **next_launch}},
        stages.LOST: {
            "entered": launch["entered"],
            "replaced": now.isoformat(),
            "instance_id": launch["instance_id"],
            "instance_type": launch["instance_type"],
            "why": shortened(cause, _WIDEST_REASON),
        },
    }


def attempt_of(state: Mapping[str, Any]) -> int:
    """Which of the bake's builders is at work, from 1."""
    return int(state["plan"]["launch"].get("attempt", 1))


def told(state: Mapping[str, Any]) -> str | None:
    """That a builder of this bake was replaced, and why; None if none was."""
    lost = state.get(stages.LOST)
    return f"builder {lost['instance_id']} was replaced: {lost['why']}" if lost else None
