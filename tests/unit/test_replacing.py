"""The state of a bake that begins anew, and what is told of it."""

from datetime import UTC, datetime
from typing import Any

import pytest

from bakery import replacing, stages
from bakery.stages import LOST, STAGES

NOW = datetime(2026, 1, 1, 4, tzinfo=UTC)
ENTERED = {"entered": "2026-01-01T03:00:00Z"}
FAILURE = {"Error": "BuilderTakenError", "Cause": "EC2 took i-1: reason.\nsecond line"}


def lost_at(stage: str) -> dict[str, Any]:
    """The state of a bake whose builder was taken in the stage."""
    state: dict[str, Any] = {key: dict(ENTERED) for key in STAGES[: STAGES.index(stage)]}
    state["plan"] = {**ENTERED, "recipe": "web", "launch": {"spot": True, "size_gib": 8}}
    state["launch"] |= {"instance_id": "i-1", "instance_type": "t3.small", "market": "spot"}
    return {**state, "failure": FAILURE}


@pytest.mark.parametrize("stage", STAGES[2:10])
def test_it_is_the_state_that_plan_left_for_another_attempt_without_spot(stage: str) -> None:
    begun = replacing.begun_anew(lost_at(stage), NOW)
    assert set(begun) == {"plan", LOST}
    assert begun["plan"] == {
        **ENTERED,
        "recipe": "web",
        "launch": {"spot": False, "size_gib": 8, "attempt": 2},
    }
    assert stages.failed_stage(begun) == "launch"


def test_it_tells_which_builder_was_lost_and_why_in_one_line() -> None:
    begun = replacing.begun_anew(lost_at("stop"), NOW)
    assert begun[LOST] == {
        **ENTERED,
        "replaced": "2026-01-01T04:00:00+00:00",
        "instance_id": "i-1",
        "instance_type": "t3.small",
        "why": "EC2 took i-1: reason.",
    }
    assert replacing.told(begun) == "builder i-1 was replaced: EC2 took i-1: reason."
    assert replacing.told(lost_at("stop")) is None


def test_a_long_reason_is_shortened() -> None:
    state = {**lost_at("stop"), "failure": {"Error": "BuilderTakenError", "Cause": "x" * 9000}}
    assert len(replacing.begun_anew(state, NOW)[LOST]["why"]) == 300


def test_what_a_redrive_has_counted_stays() -> None:
    """Else FailBake would take the next failure for the one that was redriven."""
    state = {**lost_at("create_image"), "redrives": 1, "resume_at": "StopBuilder"}
    begun = replacing.begun_anew(state, NOW)
    assert begun["redrives"] == 1
    assert "resume_at" not in begun


def test_the_given_state_is_left_as_it_is() -> None:
    state = lost_at("stop")
    replacing.begun_anew(state, NOW)
    assert state == lost_at("stop")


def test_a_state_of_a_bake_that_counts_no_attempts_is_that_of_the_first() -> None:
    assert replacing.attempt_of(lost_at("stop")) == 1
    assert replacing.attempt_of({"plan": {"launch": {"attempt": 2}}}) == 2


def test_the_next_builder_is_of_the_same_clone_of_a_host() -> None:
    cloned = {**lost_at("prepare"), stages.CLONE_HOST: {**ENTERED, "image_id": "ami-1"}}
    cloned["plan"]["host"] = {"instance_id": "i-0"}
    begun = replacing.begun_anew(cloned, NOW)
    assert begun[stages.CLONE_HOST] == cloned[stages.CLONE_HOST]
    assert begun["plan"]["host"] == {"instance_id": "i-0"}
    assert stages.failed_stage(begun) == "launch"
