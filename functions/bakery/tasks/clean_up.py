"""CleanUp: leave nothing of the bake behind but what it published.

Reached from everywhere. It starts from what exists with the bake's tag, not from what the state
remembers: a task that failed may have created something without telling.
Idempotent because it removes what is there and tolerates what is not.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from bakery import commands, holds, leases, stages, waiting
from bakery.aws import ec2, ssm, stepfunctions, templates
from bakery.bake import State
from bakery.errors import (
    RETRYABLE,
    AwsCallFailedError,
    BakeryError,
    CannotResumeError,
    NotYetVisibleError,
    RecipeBusyError,
    ServiceUnavailableError,
)
from bakery.naming import pointer, previous_pointer
from bakery.observability import logger
from bakery.resources import Instance
from bakery.settings import CleanUpSettings
from bakery.task import lambda_handler


class Request(State):
    bake: str
    execution: str
    """ARN; what the recipe's lease is held by."""
    redrives: int = 0
    """How often the execution was redriven."""
    state: dict[str, Any]
    """The whole state of the execution."""


class Result(State):
    removed: tuple[str, ...]
    left: tuple[str, ...]
    """What could not be removed, each with AWS's reason."""
    kept: tuple[str, ...] = ()
    """What stays because the recipe says so: the builder, and an image that was available."""
    kept_until: str | None = None


Removal = tuple[str, Callable[[], bool | None]]
"""What is to be removed, and how; False: it was not there any more."""

_LOST = {RecipeBusyError.__name__, CannotResumeError.__name__}
"""What tells a redriven bake that its recipe is, or was, another's."""


@dataclass(frozen=True)
class Look:
    """Something to look for; ``find`` returns the removals that it comes to."""

    kind: str
    find: Callable[[], list[Removal]]
    region: str
    service: str = "ec2"
    points: bool = False
    """Whether what is looked for may point to the image."""
    pointed_to: bool = False
    """Whether it is that image."""


@dataclass
class Done:
    """What was removed, and what could not be, each with the reason."""

    removed: list[str] = field(default_factory=list)
    errors: dict[str, BakeryError] = field(default_factory=dict)

    @property
    def left(self) -> tuple[str, ...]:
        return tuple(f"{what}: {why}" for what, why in self.errors.items())


def run(request: Request) -> Result:
    """Remove everything of the bake; an error is collected, never in the way of the next removal.

    Raises a retryable error after all removals were tried, so that the machine tries again; what
    cannot be removed for good is reported in ``left``. Either way the recipe is free afterwards.
    Of a redriven execution whose recipe another one bakes, or has baked, what it published stays:
    it may have been in use for days, and what becomes of it is the other's affair.
    """
    if "plan" not in request.state:
        # Plan creates nothing. What carries the name of this execution is an earlier bake's.
        return Result(removed=(), left=())
    hours = request.state["plan"].get("keep_hours", 0) if "failure" in request.state else 0
    found = _worth_keeping(request.bake) if hours else []
    if found:
        return _keep(request, hours, found)
    return _remove_all(request)


def _worth_keeping(bake: str) -> list[Instance] | BakeryError:
    """The instances of the bake, if a builder is among them; the error when EC2 does not tell: then
    there may be one."""
    try:
        found = ec2.instances_of_bake(bake)
    except BakeryError as error:
        return error
    return found if any(not it.test for it in found) else []


def _keep(request: Request, hours: int, found: list[Instance] | BakeryError) -> Result:
    """Leave the builder, and images that a later try can publish; what was published goes back."""
    table_name, recipe = CleanUpSettings.load().table, _recipe(request.state)
    kept: list[str] = []
    looks = _looks_of_kept(request.bake, request.state, found, kept, others=_is_others(request))
    try:
        # First: what follows may have to be tried for longer than the janitor would wait.
        until = holds.keep(table_name, request.bake, hours)
    except BakeryError:
        # But it matters most that nobody launches what failed.
        _tried(request, looks)
        raise
    done = _tried(request, looks)
    waiting.forget_all(table_name, request.bake)
    leases.give_back(table_name, recipe, request.execution)
    return Result(
        removed=tuple(done.removed),
        left=done.left,
        kept=tuple(kept),
        kept_until=until.isoformat(),
    )


def _remove_all(request: Request) -> Result:
    done = _tried(request, _looks(request.bake, request.state, others=_is_others(request)))
    table_name = CleanUpSettings.load().table
    holds.end(table_name, request.bake)  # of an earlier try of this execution
    commands.forget(table_name, request.bake)
    if "failure" in request.state:
        # A test that fails leaves copies under way, and a copy that fails leaves tests.
        waiting.forget_all(table_name, request.bake)
    leases.give_back(table_name, _recipe(request.state), request.execution)
    return Result(removed=tuple(done.removed), left=done.left)


def _is_others(request: Request) -> bool:
    """Whether another execution has the recipe, or had it when this one wanted to go on, or since:
    only one that was stopped, and then redriven, may have lost it meanwhile. CannotResumeError is
    that of ``redriving.check``: another bake has moved the recipe's pointer."""
    if request.redrives == 0 or "failure" not in request.state:
        return False
    if request.state["failure"].get("Error") in _LOST:
        return True
    holder = leases.holder(CleanUpSettings.load().table, _recipe(request.state))
    return holder not in (None, request.execution) and stepfunctions.is_running(str(holder))


def _tried(request: Request, looks: Iterable[Look]) -> Done:
    """Try every removal; raises a retryable error once all were tried.

    A service of another Region that does not answer is not asked again: each time would cost
    minutes, and this function has few. An image stays where something may still point to it.
    """
    done, home = Done(), request.state["plan"]["region"]
    silent: set[tuple[str, str]] = set()
    pointing: dict[str, str] = {}
    for look in looks:
        if look.pointed_to and look.region in pointing:
            text = f"not removed, because {pointing[look.region]} may still point to one"
            errors: dict[str, BakeryError] = {_all_of(look, request): AwsCallFailedError(text)}
        elif (look.service, look.region) in silent:
            text = f"{look.service} does not answer in {look.region}"
            errors = {_all_of(look, request): ServiceUnavailableError(text)}
        else:
            errors = _remove(look, request, done.removed)
        done.errors.update(errors)
        if look.points and errors:
            pointing[look.region] = look.kind
        if look.region != home and _unanswered(errors):
            silent.add((look.service, look.region))
    for transient in done.errors.values():
        if type(transient).__name__ in RETRYABLE:
            raise transient
    return done


def _remove(look: Look, request: Request, removed: list[str]) -> dict[str, BakeryError]:
    """Remove what is found, and add it to ``removed``; returns what could not be."""
    try:
        found = look.find()
    except BakeryError as error:
        logger.exception("could not look", kind=look.kind)
        return {_all_of(look, request): error}
    errors: dict[str, BakeryError] = {}
    for what, remove in found:
        try:
            if remove() is not False:
                removed.append(what)
        except BakeryError as error:
            logger.exception("could not remove", what=what)
            errors[what] = error
    return errors


def _all_of(look: Look, request: Request) -> str:
    return f"{look.kind} of bake {request.bake}"


def _unanswered(errors: Mapping[str, BakeryError]) -> bool:
    return any(isinstance(it, ServiceUnavailableError) for it in errors.values())


def _recipe(state: dict[str, Any]) -> str:
    return str(state["plan"]["recipe"])


def _regions(state: dict[str, Any]) -> list[str]:
    return [place["region"] for place in state["plan"]["places"]]


def _looks(bake: str, state: dict[str, Any], *, others: bool) -> Iterator[Look]:
    """What to look for, in order; each look comes after the removals of the one before. With
    ``others`` what was published stays so."""
    home = state["plan"]["region"]
    yield Look("spot requests", lambda: _spot_requests(bake), home)
    yield Look("instances", lambda: _instances(bake), home)
    yield Look("volumes", lambda: _volumes(bake), home)
    yield from _clone(bake, state)
    failed, copies = "failure" in state, stages.copies(state)
    if failed and not others:
        yield from _published(bake, state)
    # A builder that AWS took, or a copy that failed, may have left an image that EC2 did not show.
    if failed or stages.LOST in state or any(it.failed for it in copies):
        results = set() if failed else {it.image_id for it in copies}
        for region in _regions(state):
            find = partial(_images, bake, state, region, results, others=others)
            yield Look(f"images in {region}", find, region, pointed_to=True)
            yield Look(f"snapshots in {region}", partial(_snapshots, bake, region), region)


def _looks_of_kept(
    bake: str,
    state: dict[str, Any],
    found: list[Instance] | BakeryError,
    kept: list[str],
    *,
    others: bool,
) -> Iterator[Look]:
    """The same when the builder stays; adds what stays to ``kept``: the instances that were
    ``found``, and the images."""
    home = state["plan"]["region"]
    yield Look("instances", partial(_kept_instances, found, kept), home)
    yield from _clone(bake, state)
    if not others:
        yield from _published(bake, state)
    for region in _regions(state):
        find = partial(_kept_images, bake, state, region, kept, others=others)
        yield Look(f"images in {region}", find, region)


def _clone(bake: str, state: dict[str, Any]) -> Iterator[Look]:
    """The image of a running host that the bake began with: nothing needs it after the launch."""
    if state["plan"].get("host"):
        home = state["plan"]["region"]
        yield Look("clones", lambda: _clones(bake), home)
        yield Look("snapshots of clones", lambda: _clone_snapshots(bake), home)


def _published(bake: str, state: dict[str, Any]) -> Iterator[Look]:
    """What points to the new image already; nothing can before that has passed its tests."""
    points = bool(stages.copies(state))
    for it in state["plan"]["pointers"]:
        what, region = f"{it['name']} in {it['region']}", it["region"]
        find = partial(_pointer, state, region, it["name"])
        yield Look(what, find, region, service="ssm", points=points)
    for it in state["plan"].get("templates", ()):
        what, region = f"launch template {it['id']} in {it['region']}", it["region"]
        yield Look(what, partial(_template_version, bake, region, it["id"]), region, points=points)


def _spot_requests(bake: str) -> list[Removal]:
    """Before the instances: a request that stands would launch another in their place."""
    return [
        (f"spot request {request.id}", partial(ec2.cancel_spot_request, request.id))
        for request in ec2.spot_requests_of_bake(bake)
        if request.stands
    ]


def _instances(bake: str) -> list[Removal]:
    found = ec2.live_instances_of_bake(bake)
    return [(f"instance {it}", partial(ec2.terminate, it)) for it in found]


def _volumes(bake: str) -> list[Removal]:
    found = ec2.loose_volumes_of_bake(bake)
    return [(f"volume {volume}", partial(ec2.delete_volume, volume)) for volume in found]


def _template_version(bake: str, region: str, template: str) -> list[Removal]:
    made = templates.version_by(bake, template, region=region)
    if made is None:
        return []
    what = f"version {made.number} of launch template {template}"
    return [(what, partial(templates.remove_version, template, made, region=region))]


def _current(state: dict[str, Any], region: str) -> str | None:
    """What the pointer holds; raises NotYetVisibleError when it is not shown though it was there:
    an image that it holds must not go."""
    name = pointer(_recipe(state))
    held = ssm.get_parameter(name, region=region)
    at_home = region == state["plan"]["region"]
    if held is None and at_home and state["plan"]["current"]["image"]:
        raise NotYetVisibleError(f"{name} is not there, though Plan has seen it")
    return held


def _pointer(state: dict[str, Any], region: str, name: str) -> list[Removal]:
    """The parameter's move, if it has moved to the image: found without a look at EC2, because it
    matters most that nobody launches what failed."""
    image = next((it.image_id for it in stages.copies(state) if it.region == region), None)
    if image is None:
        return []
    is_pointer = name == pointer(_recipe(state))
    held = _current(state, region) if is_pointer else ssm.get_parameter(name, region=region)
    if held != image:
        return []
    what = f"move of {name} in {region} to image {image}"
    return [(what, partial(_move_back, state, region, name, image))]


def _images(
    bake: str, state: dict[str, Any], region: str, results: set[str | None], *, others: bool
) -> list[Removal]:
    """All but the bake's results; and what a parameter of the recipe holds stays, or it would
    dangle: a bake that was stopped and redriven may be the previous image of a later one."""
    held = ssm.parameters_of(_recipe(state), region=region)
    kept = {*results, _current(state, region), *held.values()}
    kept |= _in_use(state, region, others=others)
    found = {it.id: it.snapshots for it in ec2.images_of_bake(bake, region=region)}
    # The janitor leaves what was ever published alone: if EC2 does not show such an image by its
    # tag just now, nobody would come back for it.
    known = (it.image_id for it in stages.copies(state) if it.region == region and it.image_id)
    return [
        (f"image {image}", partial(ec2.delete_image, image, snapshots, region=region))
        for image, snapshots in (dict.fromkeys(known, ()) | found).items()
        if image not in kept
    ]


def _in_use(state: dict[str, Any], region: str, *, others: bool) -> set[str]:
    """What was published while the recipe was another's: it may have been launched from since, and
    the other's move of a pointer is no reason to remove it."""
    return ssm.published_images(region, recipe=_recipe(state)) if others else set()


def _kept_instances(found: list[Instance] | BakeryError, kept: list[str]) -> list[Removal]:
    if isinstance(found, BakeryError):
        raise found
    builders_first = sorted(found, key=lambda it: bool(it.test))
    kept.extend(f"instance {it.id}" for it in builders_first)
    return []


def _kept_images(
    bake: str, state: dict[str, Any], region: str, kept: list[str], *, others: bool
) -> list[Removal]:
    """One that a later try can publish stays, but others may not use what is not published."""
    removals: list[Removal] = []
    in_use = _in_use(state, region, others=others)
    for image in ec2.images_of_bake(bake, region=region):
        if image.id in in_use:
            continue
        if image.state != "available":
            remove = partial(ec2.delete_image, image.id, image.snapshots, region=region)
            removals.append((f"image {image.id}", remove))
            continue
        kept.append(f"image {image.id}")
        if stages.copies(state) and ec2.is_shared(image.id, region=region):
            unshare = partial(ec2.unshare_image, image, region=region)
            removals.append((f"launch permissions of image {image.id}", unshare))
    return removals


def _snapshots(bake: str, region: str) -> list[Removal]:
    """Snapshots that lost their image; the others go with theirs."""
    images = ec2.images_of_bake(bake, region=region)
    held = {snapshot for image in images for snapshot in image.snapshots}
    return [
        (f"snapshot {snapshot}", partial(ec2.delete_snapshot, snapshot, region=region))
        for snapshot in ec2.snapshots_of_bake(bake, region=region)
        if snapshot not in held
    ]


def _clones(bake: str) -> list[Removal]:
    return [
        (f"clone {it.id}", partial(ec2.delete_image, it.id, it.snapshots))
        for it in ec2.clones_of_bake(bake)
    ]


def _clone_snapshots(bake: str) -> list[Removal]:
    """Those that lost their image; the others go with theirs."""
    held = {snapshot for clone in ec2.clones_of_bake(bake) for snapshot in clone.snapshots}
    return [
        (f"snapshot {it}", partial(ec2.delete_snapshot, it))
        for it in ec2.clone_snapshots_of_bake(bake)
        if it not in held
    ]


def _move_back(state: dict[str, Any], region: str, name: str, image: str) -> None:
    """Point to what was there before; raises NotYetVisibleError until that is in force."""
    recipe = _recipe(state)
    before = ssm.earlier_value(name, image, region=region)
    if before is None:
        ssm.delete_parameter(name, region=region)
        return
    what = "Labelled image"
    if name == pointer(recipe):
        what = "Current image"
        # Before UpdateTemplates has ended, KeepPrevious has not begun.
        if "templates" in state:
            _restore_previous(recipe, region, before)
    text = f"{what} of recipe {recipe}"
    ssm.put_image_parameter(name, before, text, region=region, takes_back=image)
    if ssm.get_parameter(name, region=region) != before:
        # Validated asynchronously.
        raise NotYetVisibleError(f"{name} in {region} is not back at {before} yet")


def _restore_previous(recipe: str, region: str, before: str) -> None:
    """Undo KeepPrevious, if it got so far as to set the previous image to ``before``."""
    name = previous_pointer(recipe)
    if ssm.get_parameter(name, region=region) != before:
        return
    older = ssm.earlier_value(name, before, region=region)
    if older is None:
        ssm.delete_parameter(name, region=region)
    else:
        text = f"Previous image of recipe {recipe}"
        ssm.put_image_parameter(name, older, text, region=region)


handler = lambda_handler(Request, run)
