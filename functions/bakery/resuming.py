"""Where a failed bake can go on. Pure.

Only what comes after verification can be tried again: it changes nothing on the builder, while the
stages before it would run scripts a second time on a host that is no longer as they expect it.
"""

from collections.abc import Mapping
from typing import Any

from bakery import stages
from bakery.errors import CannotResumeError
from bakery.resources import Image, Instance

STATES: Mapping[str, str] = {
    "stop": "StopBuilder",
    "create_image": "CreateImage",
    "harden_image": "HardenImage",
    "test_and_copy": "TestAndCopy",
    "release": "ReleaseImages",
    "publish": "PublishPointers",
    "templates": "UpdateTemplates",
    "keep_previous": "KeepPrevious",
}
"""Stages that can be tried again, and their states in the machine."""

_NEED_BUILDER = {"stop", "create_image"}
_PUBLISHED = ("release", "publish", "templates", "keep_previous")
"""Clean up has taken back what others may use, and moved back what had moved: all of them again."""
_DROPPED = {"failure", "replace_failure", "clean_up", "clean_up_failure"}


def resume(
    state: Mapping[str, Any],
    *,
    builder: Instance | None,
    image: Image | None,
    current: str | None,
) -> dict[str, Any]:
    """The state as the failed stage found it, with ``resume_at``, the state to go on with.

    ``current`` is the image that the recipe's pointer holds now. Raises CannotResumeError with the
    reason.
    """
    stage = stages.failed_stage(state)
    if stage not in STATES:
        raise CannotResumeError(
            f"Stage {stage} cannot be tried again, only those after verification can: "
            f"{', '.join(STATES)}. Start a new bake."
        )
    if stage not in _NEED_BUILDER and image is None:
        raise CannotResumeError(f"Stage {stage} needs the image, which is gone. Start a new bake.")
    if stage in _NEED_BUILDER and builder is None:
        raise CannotResumeError(
            f"Stage {stage} needs the builder, which is gone. Start a new bake, and keep its "
            "builder: on_failure: keep in the recipe or in the execution's input."
        )
    if current != state["plan"]["current"]["image"]:
        raise CannotResumeError(
            f"The recipe's pointer has moved to {current} since this bake was planned; an older "
            "image does not take its place. Start a new bake."
        )
    begin = _PUBLISHED[0] if stage in _PUBLISHED else stage
    dropped = _DROPPED | set(_PUBLISHED)
    done = {key: value for key, value in state.items() if key not in dropped}
    return {**done, "resume_at": STATES[begin]}
