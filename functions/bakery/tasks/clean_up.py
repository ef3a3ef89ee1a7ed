"""CleanUp: leave nothing of the bake behind but what it published.

Reached from everywhere. It starts from what exists with the bake's tag, not from what the state
remembers: a task that failed may have created something without telling.
Idempotent because it removes what is there and tolerates what is not.
"""

from collections.abc import Callable, Iterator
from typing import Any

from bakery import failures
from bakery.aws import ec2, ssm
from bakery.bake import State
from bakery.errors import RETRYABLE, BakeryError
from bakery.naming import pointer, previous_pointer
from bakery.observability import logger
from bakery.resources import Image
from bakery.task import lambda_handler


class Request(State):
    bake: str
    state: dict[str, Any]
    """The whole state of the execution."""


class Result(State):
    """``error`` and ``cause`` are there when the bake failed: the first failure, made readable."""

    removed: tuple[str, ...]
    left: tuple[str, ...]
    error: str | None = None
    cause: str | None = None


Removal = tuple[str, Callable[[], None]]


def run(request: Request) -> Result:
    """Remove everything of the bake; an error is collected, never in the way of the next removal.

    Raises a retryable error after all removals were tried, so that the machine tries again; what
    cannot be removed for good is reported in ``left`` and, for a failed bake, in ``cause``.
    """
    failure = failures.first_failure(request.state)
    removed: list[str] = []
    errors: dict[str, BakeryError] = {}
    for what, remove in _removals(request.bake, request.state, failed=failure is not None):
        try:
            remove()
            removed.append(what)
        except BakeryError as error:
            logger.exception("could not remove", what=what)
            errors[what] = error
    for transient in errors.values():
        if type(transient).__name__ in RETRYABLE:
            raise transient
    left = tuple(f"{what}: {why}" for what, why in errors.items())
    return _result(tuple(removed), left, failure)


def _result(
    removed: tuple[str, ...], left: tuple[str, ...], failure: tuple[str, str] | None
) -> Result:
    if failure is None:
        return Result(removed=removed, left=left)
    error, cause = failure
    if left:
        cause += "\nClean up could not remove, and you must:\n" + "\n".join(left)
    return Result(removed=removed, left=left, error=error, cause=cause)


def _removals(bake: str, state: dict[str, Any], *, failed: bool) -> Iterator[Removal]:
    """What to remove, in order. Looked up lazily: each list is read when its turn comes."""
    for builder in ec2.builders_of_bake(bake):
        yield f"instance {builder.id}", lambda id_=builder.id: ec2.terminate(id_)  # type: ignore[misc]
    for volume in ec2.loose_volumes_of_bake(bake):
        yield f"volume {volume}", lambda id_=volume: ec2.delete_volume(id_)  # type: ignore[misc]
    if failed:
        yield from _unpublish(bake, state)


def _unpublish(bake: str, state: dict[str, Any]) -> Iterator[Removal]:
    """Take back the image of a failed bake, the pointer to it first."""
    images = ec2.images_of_bake(bake)
    recipe = state.get("plan", {}).get("recipe")
    for image in images:
        if recipe and ssm.get_parameter(pointer(recipe)) == image.id:
            yield f"pointer to {image.id}", lambda i=image: _move_back(recipe, i)  # type: ignore[misc]
        yield f"image {image.id}", lambda i=image: ec2.delete_image(i)  # type: ignore[misc]
    of_images = {snapshot for image in images for snapshot in image.snapshots}
    for snapshot in ec2.snapshots_of_bake(bake):
        if snapshot not in of_images:
            yield f"snapshot {snapshot}", lambda id_=snapshot: ec2.delete_snapshot(id_)  # type: ignore[misc]


def _move_back(recipe: str, image: Image) -> None:
    name = pointer(recipe)
    before = ssm.earlier_value(name, image.id)
    if before is None:
        ssm.delete_parameter(name)
        return
    ssm.put_image_parameter(name, before, f"Current image of recipe {recipe}")
    if ssm.get_parameter(previous_pointer(recipe)) == before:
        older = ssm.earlier_value(previous_pointer(recipe), before)
        if older is None:
            ssm.delete_parameter(previous_pointer(recipe))
        else:
            ssm.put_image_parameter(
                previous_pointer(recipe), older, f"Previous image of recipe {recipe}"
            )


handler = lambda_handler(Request, run)
