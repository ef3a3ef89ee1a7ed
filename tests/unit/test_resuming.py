"""Where a failed bake can go on, from its state and what is still there."""

from typing import Any

import pytest

from bakery.errors import CannotResumeError
from bakery.resources import Instance
from bakery.resuming import STATES, resume
from bakery.stages import STAGES
from tests.unit.samples import IMAGE

OTHERS: dict[str, Any] = {"clean_up_failure": {}, "replace_failure": {}}
"""What other failures leave."""
BUILDER = Instance(id="i-1", state="stopped", instance_type="t3.medium")


def failed_at(stage: str) -> dict[str, Any]:
    state: dict[str, Any] = {key: {"entered": "x"} for key in STAGES[: STAGES.index(stage)]}
    state["plan"] = {"current": {"image": "ami-old"}}
    return {**state, "failure": {"Error": "X"}, "clean_up": {}, **OTHERS}


def resumed(stage: str, current: str | None = "ami-old") -> dict[str, Any]:
    return resume(failed_at(stage), builder=BUILDER, image=IMAGE, current=current)


@pytest.mark.parametrize("stage", STATES)
def test_the_state_is_as_the_stage_found_it(stage: str) -> None:
    state = resumed(stage)
    assert not {"failure", "clean_up", *OTHERS, stage} & state.keys()
    before = STAGES[: STAGES.index(stage)]
    assert [key for key in before if key not in state] in ([], ["publish"])


def test_after_keep_previous_the_pointer_is_published_again() -> None:
    """Clean up has moved it back."""
    assert resumed("keep_previous")["resume_at"] == "PublishPointer"


@pytest.mark.parametrize("stage", [s for s in STAGES if s not in STATES and s != "plan"])
def test_stages_before_the_stop_are_not_tried_again(stage: str) -> None:
    with pytest.raises(CannotResumeError, match=f"Stage {stage} cannot be tried again"):
        resumed(stage)


@pytest.mark.parametrize("current", ["ami-newer", None])
def test_a_pointer_that_has_moved_since_is_left_alone(current: str | None) -> None:
    with pytest.raises(CannotResumeError, match="has moved"):
        resumed("create_image", current=current)
