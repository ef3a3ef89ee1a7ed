"""CleanUp: leave nothing of the bake behind but what it published.

Reached from everywhere. It starts from what exists with the bake's tag, not from what the state
remembers: a task that failed may have created something without telling.
Idempotent because it removes what is there and tolerates what is not.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from bakery import commands, holds, leases, stages
from bakery.aws import ec2, ssm
from bakery.bake import State
from bakery.errors import RETRYABLE, BakeryError, NotYetVisibleError
from bakery.naming import pointer, previous_pointer
from bakery.observability import logger
from bakery.resources import Instance
from bakery.settings import CleanUpSettings
from bakery.task import lambda_handler


class Request(State):
    bake: str
    execution: str
    """ARN; what the recipe's lease is held by."""
    state: dict[str, Any]
    """The whole state of the execution."""


class Result(State):
    removed: tuple[str, ...]
    left: tuple[str, ...]
    """What could not be removed, each with AWS's reason."""
    kept: tuple[str, ...] = ()
    """What stays because the recipe says so: the builder, and an image that was available."""
    kept_until: str | None = None


Removal = tuple[str, Callable[[], None]]
Look = tuple[str, Callable[[], list[Removal]]]


def run(request: Request) -> Result:
    """Remove everything of the bake; an error is collected, never in the way of the next removal.

    Raises a retryable error after all removals were tried, so that the machine tries again; what
    cannot be removed for good is reported in ``left``. Either way the recipe is free afterwards.
    """
    if "plan" not in request.state:
        # Plan creates nothing. What carries the name of this execution is an earlier bake's.
        return Result(removed=(), left=())
    hours = request.state["plan"].get("keep_hours", 0) if "failure" in request.state else 0
    builders = ec2.builders_of_bake(request.bake) if hours else []
    if builders:
        return _keep(request, hours, builders)
    return _remove_all(request)


def _keep(request: Request, hours: int, builders: list[Instance]) -> Result:
    """Leave the builder, and an image that a later try can publish; the pointer goes back."""
    table_name, recipe = CleanUpSettings.load().table, _recipe(request.state)
    removed: list[str] = []
    kept = [f"instance {builder.id}" for builder in builders]
    for _, move_back in _pointer(request.state):
        move_back()
    for image in ec2.images_of_bake(request.bake):
        if image.state == "available":
            kept.append(f"image {image.id}")
        else:
            ec2.delete_image(image.id, image.snapshots)
            removed.append(f"image {image.id}")
    until = holds.keep(table_name, request.bake, hours)
    leases.give_back(table_name, recipe, request.execution)
    return Result(removed=tuple(removed), left=(), kept=tuple(kept), kept_until=until.isoformat())


def _remove_all(request: Request) -> Result:
    removed: list[str] = []
    errors: dict[str, BakeryError] = {}
    for kind, look in _looks(request.bake, request.state):
        try:
            found = look()
        except BakeryError as error:
            logger.exception("could not look", kind=kind)
            errors[f"{kind} of bake {request.bake}"] = error
            continue
        for what, remove in found:
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
    table_name = CleanUpSettings.load().table
    holds.end(table_name, request.bake)  # of an earlier try of this execution
    commands.forget(table_name, request.bake)
    leases.give_back(table_name, _recipe(request.state), request.execution)
    return Result(removed=tuple(removed), left=left)


def _recipe(state: dict[str, Any]) -> str:
    return str(state["plan"]["recipe"])


def _looks(bake: str, state: dict[str, Any]) -> Iterator[Look]:
    """What to look for, in order; each look comes after the removals of the one before."""
    yield "spot requests", lambda: _spot_requests(bake)
    yield "instances", lambda: _builders(bake)
    yield "volumes", lambda: _volumes(bake)
    failed = "failure" in state
    if failed:
        yield "pointer", lambda: _pointer(state)
    # A builder that AWS took may have left an image that EC2 did not show yet.
    if failed or stages.LOST in state:
        result = None if failed else state["create_image"]["image_id"]
        yield "images", lambda: _images(bake, state, result)
        yield "snapshots", lambda: _snapshots(bake)


def _spot_requests(bake: str) -> list[Removal]:
    """Before the instances: a request that stands would launch another in their place."""
    return [
        (f"spot request {request.id}", partial(ec2.cancel_spot_request, request.id))
        for request in ec2.spot_requests_of_bake(bake)
        if request.stands
    ]


def _builders(bake: str) -> list[Removal]:
    found = ec2.live_instances_of_bake(bake)
    return [(f"instance {builder}", partial(ec2.terminate, builder)) for builder in found]


def _volumes(bake: str) -> list[Removal]:
    found = ec2.loose_volumes_of_bake(bake)
    return [(f"volume {volume}", partial(ec2.delete_volume, volume)) for volume in found]


def _current(state: dict[str, Any]) -> str | None:
    """What the pointer holds; raises NotYetVisibleError when it is not shown though it was there:
    an image that it holds must not go."""
    name = pointer(_recipe(state))
    held = ssm.get_parameter(name)
    if held is None and state["plan"]["current"]["image"]:
        raise NotYetVisibleError(f"{name} is not there, though Plan has seen it")
    return held


def _pointer(state: dict[str, Any]) -> list[Removal]:
    """The pointer's move, if it has moved to the image: found without a look at EC2, because it
    matters most that nobody launches what failed."""
    image, recipe = state.get("create_image", {}).get("image_id"), _recipe(state)
    if image is None or _current(state) != image:
        return []
    return [(f"move of {pointer(recipe)} to image {image}", partial(_move_back, recipe, image))]


def _images(bake: str, state: dict[str, Any], result: str | None) -> list[Removal]:
    """All but the bake's result; and what the pointer still holds stays, or it would dangle."""
    kept = {result, _current(state)}
    return [
        (f"image {image.id}", partial(ec2.delete_image, image.id, image.snapshots))
        for image in ec2.images_of_bake(bake)
        if image.id not in kept
    ]


def _snapshots(bake: str) -> list[Removal]:
    """Snapshots that lost their image; the others go with theirs."""
    held = {snapshot for image in ec2.images_of_bake(bake) for snapshot in image.snapshots}
    return [
        (f"snapshot {snapshot}", partial(ec2.delete_snapshot, snapshot))
        for snapshot in ec2.snapshots_of_bake(bake)
        if snapshot not in held
    ]


def _move_back(recipe: str, image: str) -> None:
    """Point to what was current before; raises NotYetVisibleError until that is in force."""
    name = pointer(recipe)
    before = ssm.earlier_value(name, image)
    if before is None:
        ssm.delete_parameter(name)
        return
    _restore_previous(recipe, before)
    ssm.put_image_parameter(name, before, f"Current image of recipe {recipe}")
    if ssm.get_parameter(name) != before:
        # Validated asynchronously.
        raise NotYetVisibleError(f"{name} is not back at {before} yet")


def _restore_previous(recipe: str, before: str) -> None:
    """Undo KeepPrevious, if it got so far as to set the previous image to ``before``."""
    name = previous_pointer(recipe)
    if ssm.get_parameter(name) != before:
        return
    older = ssm.earlier_value(name, before)
    if older is None:
        ssm.delete_parameter(name)
    else:
        ssm.put_image_parameter(name, older, f"Previous image of recipe {recipe}")


handler = lambda_handler(Request, run)
