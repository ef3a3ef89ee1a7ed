"""Where a failed bake can go on, from its state and what is still there."""

from typing import Any

import pytest

from bakery.errors import CannotResumeError
from bakery.resources import Instance
from bakery.resuming import STATES, resume
from bakery.stages import STAGES, failed_stage
from tests.unit.samples import IMAGE

OTHERS: dict[str, Any] = {"clean_up_failure": {}, "replace_failure": {}}
"""What other failures leave."""
BUILDER = Instance(id="i-1", state="stopped", instance_type="t3.medium")


def failed_at(stage: str) -> dict[str, Any]:
    state: dict[str, Any] = {key: {"entered": "x"} for key in STAGES[: STAGES.index(stage)]}
    state["plan"] = {"current": {"image": "ami-old"}}
    return {**state, "failure": {"Error": "X"}, "clean_up": {}, **OTHERS}


PUBLISHED = ("release", "publish", "templates", "keep_previous")


def resumed(stage: str, current: str | None = "ami-old") -> dict[str, Any]:
    return resume(failed_at(stage), builder=BUILDER, image=IMAGE, current=current)


@pytest.mark.parametrize("stage", STATES)
def test_the_state_is_as_the_stage_found_it(stage: str) -> None:
    state = resumed(stage)
    assert not {"failure", "clean_up", *OTHERS, stage} & state.keys()
    before = [key for key in STAGES[: STAGES.index(stage)] if key not in PUBLISHED]
    assert [key for key in before if key not in state] == []


@pytest.mark.parametrize(
    ("stage", "state"),
    [
        ("stop", "StopBuilder"),
        ("create_image", "CreateImage"),
        ("harden_image", "HardenImage"),
        ("test_and_copy", "TestAndCopy"),
        *((stage, "ReleaseImages") for stage in PUBLISHED),
    ],
)
def test_a_bake_goes_on_with_the_state_of_the_stage_that_failed(stage: str, state: str) -> None:
    """Clean up has moved all pointers back, and shares nothing: it is published from the start."""
    assert resumed(stage)["resume_at"] == state


@pytest.mark.parametrize("stage", PUBLISHED)
def test_what_was_published_counts_no_more_but_the_copies_stay(stage: str) -> None:
    state = resumed(stage)
    assert not set(PUBLISHED) & state.keys()
    assert {"create_image", "test_and_copy"} <= state.keys()
    assert failed_stage(state) == "release"


def test_tests_and_copies_are_one_stage_that_is_done_again_as_a_whole() -> None:
    state = resumed("test_and_copy")
    assert "test_and_copy" not in state and "harden_image" in state


@pytest.mark.parametrize("stage", [it for it in STATES if it not in ("stop", "create_image")])
def test_what_comes_after_the_image_needs_the_image_and_no_builder(stage: str) -> None:
    state = failed_at(stage)
    assert resume(state, builder=None, image=IMAGE, current="ami-old")["resume_at"]
    with pytest.raises(CannotResumeError, match=f"Stage {stage} needs the image, which is gone"):
        resume(state, builder=BUILDER, image=None, current="ami-old")


@pytest.mark.parametrize("stage", ["stop", "create_image"])
def test_what_makes_the_image_needs_the_builder(stage: str) -> None:
    with pytest.raises(CannotResumeError, match=f"Stage {stage} needs the builder"):
        resume(failed_at(stage), builder=None, image=IMAGE, current="ami-old")


@pytest.mark.parametrize("stage", [s for s in STAGES if s not in STATES and s != "plan"])
def test_stages_before_the_stop_are_not_tried_again(stage: str) -> None:
    with pytest.raises(CannotResumeError, match=f"Stage {stage} cannot be tried again"):
        resumed(stage)


@pytest.mark.parametrize("current", ["ami-newer", None])
def test_a_pointer_that_has_moved_since_is_left_alone(current: str | None) -> None:
    with pytest.raises(CannotResumeError, match="has moved"):
        resumed("create_image", current=current)
