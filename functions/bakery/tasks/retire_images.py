"""RetireImages: let old images of a recipe go, in one Region.

Reads everything that says whether an image is in use, lets ``bakery.retention`` decide, and acts on
what it decided. Of what cannot be read nothing goes; what cannot be done is told, and the next bake
tries again. The bake itself is over by then and does not fail. Of a Windows recipe it also gives
fast launch to the current image and takes it from those before (``bakery.fast_launch``); an image
goes no step further while EC2 still has some of it.
Idempotent because it starts from what exists. It may be cut anywhere: an image that was disabled
without a note of the day gets the note, and its grace period, from the next run; snapshots carry
the image that they go with before it is deregistered, and are found by that when it is gone.
"""

import os
from collections import Counter
from collections.abc import Callable
from datetime import datetime

from bakery import catalogue, clock, fast_launch, planning, retention
from bakery.aws import ec2, named, retiring, ssm, usage
from bakery.aws import fast_launch as ec2_fast_launch
from bakery.bake import State
from bakery.errors import RETRYABLE, BakeryError, InvalidInputError, NotYetVisibleError
from bakery.fast_launch import Act, Change, FastLaunched
from bakery.observability import logger
from bakery.problems import shortened
from bakery.recipe import FastLaunch, Recipe, RecipeName, Retention
from bakery.retention import Decision, Evidence, OldImage, Seen, Verb
from bakery.task import lambda_handler

_LINES, _WIDTH = 2, 180
"""Of what state and output of an execution are told, which may be of forty Regions."""


class Request(State):
    recipe: RecipeName
    """No pattern: a filter of EC2 would take it for one."""
    region: str = ""
    """Empty: the bakery's own."""
    retention: Retention | None = None
    """What the bake was planned with; without it, what is deployed now."""
    dry_run: bool = False
    brief: bool = True
    """Only the first lines, and none of images that stay: all of them are in the log."""


class Result(State):
    region: str
    counts: dict[str, int]
    """How many images there are for each verb."""
    done: tuple[str, ...]
    """With ``dry_run``: what would be."""
    kept: tuple[str, ...] = ()
    left: tuple[str, ...]
    """What could not be done or found out, each with AWS's reason."""
    regions: tuple[str, ...] = ()
    """Where the recipe as it is deployed has images; only for those who named no Region."""


def run(request: Request) -> Result:
    """Decide about each image of the recipe, and act.

    Raises a retryable error of AWS as long as nothing is done. Raises InvalidInputError when the
    recipe says nothing of retention.
    """
    region = request.region or os.environ["AWS_REGION"]
    policy, regions = _policy(request, region)
    now = clock.now()
    left: list[str] = []
    # Of one that is no longer deployed nothing is known but its images.
    recipe = catalogue.all_recipes().get(request.recipe)
    try:
        fast = _fast(recipe, region)
        seen = _look(request, region, policy, now, left, fast)
        published = (
            ssm.published_images(region, recipe=request.recipe) if policy.protect else set[str]()
        )
    except BakeryError as error:
        _raise_if_retryable(error)
        logger.exception("nothing goes", region=region)
        left.append(f"nothing goes, because not all could be read: {error}")
        return _result(request, region, (), [], left, regions)
    wanted = planning.destination(recipe, region).fast_launch if recipe else None
    changes = _changes(request.recipe, seen, fast, wanted)
    decisions = retention.decide(seen, policy, now=now)
    for decision in decisions:
        logger.info("decided", region=region, dry_run=request.dry_run, decision=str(decision))
    if request.dry_run:
        done = [str(it) for it in changes]
        done += [str(it) for it in decisions if it.verb is not Verb.KEEP]
    else:
        done = [str(it) for it in changes if _changed(it, wanted, region, left)]
        _sweep(request.recipe, region, seen, left)
        if policy.protect:
            _protect(decisions, published, region, left)
        done += [str(it) for it in decisions if _done(it, region, now, left)]
    return _result(request, region, decisions, done, left, regions)


def _policy(request: Request, region: str) -> tuple[Retention, tuple[str, ...]]:
    if request.retention is not None:
        return request.retention, ()
    recipe = catalogue.load(request.recipe)
    if recipe.retention is None:
        raise InvalidInputError(
            f"Recipe '{request.recipe}' says nothing of retention, so all of its images stay. "
            "Give it a retention, such as {keep: 5, days: 90}, and deploy."
        )
    return recipe.retention, tuple(planning.regions_of(region, recipe))


def _fast(recipe: Recipe | None, region: str) -> tuple[FastLaunched, ...]:
    """What EC2 has prepared, of Windows images only."""
    windows = recipe is not None and recipe.windows is not None
    return ec2_fast_launch.images(region=region) if windows else ()


def _changes(
    recipe: str, seen: Seen, fast: tuple[FastLaunched, ...], wanted: FastLaunch | None
) -> tuple[Change, ...]:
    states = {image.id: image.state for image in seen.images}
    return tuple(fast_launch.changes(recipe, states, seen.pointers, fast, wanted))


def _changed(change: Change, wanted: FastLaunch | None, region: str, left: list[str]) -> bool:
    if change.act is Act.TELL:
        left.append(str(change))
        return False
    what = f"{change.image}: could not {change.act}"
    return _try(what, lambda: _change(change, wanted, region), left)


def _change(change: Change, wanted: FastLaunch | None, region: str) -> None:
    if change.act is Act.ENABLE and wanted is not None:
        ec2_fast_launch.enable(change.image, wanted, region=region)
    else:
        ec2_fast_launch.end(change.image, force=change.force, region=region)


def _look(
    request: Request,
    region: str,
    policy: Retention,
    now: datetime,
    left: list[str],
    fast: tuple[FastLaunched, ...],
) -> Seen:
    """All that the decision needs, and no more: of images that stay anyway nobody is asked."""
    images = usage.images_of_recipe(request.recipe, region=region)
    held = usage.pointers(region=region)
    seen = Seen(
        images=images,
        pointers=held,
        bases=usage.bases(sorted(set(held.values())), region=region),
        # An image that a recipe has just been put on is the base of no image yet.
        named={
            **named.images(region=region),
            **{image: f"recipe {name}" for image, name in catalogue.pinned_bases().items()},
        },
        # Its end takes EC2 a while: the next run goes on.
        evidence={
            it.image: Evidence(uses=(f"EC2 has prepared fast launches of it ({it.state})",))
            for it in fast
        },
    )
    while asked := retention.to_ask(seen, policy, now=now):
        found = _evidence(seen, asked, region, now, ask=not request.dry_run)
        left += [f"{id_}: {text}" for id_, it in found.items() for text in it.failed]
        seen = seen.plus(found)
    return seen


def _evidence(
    seen: Seen, asked: tuple[str, ...], region: str, now: datetime, *, ask: bool
) -> dict[str, Evidence]:
    try:
        references = usage.references(asked, region=region)
    except BakeryError as error:
        _raise_if_retryable(error)
        return {id_: Evidence(failed=(str(error),)) for id_ in asked}
    states = {image.id: image.state for image in seen.images}
    found: dict[str, Evidence] = {}
    for id_ in asked:
        if uses := references[id_]:
            found[id_] = Evidence(uses=uses)
        elif states[id_] == "disabled":  # nobody else can launch it
            found[id_] = Evidence()
        else:
            found[id_] = _elsewhere(id_, region, now, ask=ask)
    return found


def _elsewhere(image: str, region: str, now: datetime, *, ask: bool) -> Evidence:
    """What other accounts do with it."""
    try:
        if not usage.is_shared(image, region=region):
            return Evidence()
        return Evidence(uses=usage.other_accounts(image, region=region, now=now, ask=ask))
    except usage.NotReportedError as error:
        return Evidence(unknown=(str(error),))
    except BakeryError as error:
        _raise_if_retryable(error)
        return Evidence(failed=(str(error),))


def _sweep(recipe: str, region: str, seen: Seen, left: list[str]) -> None:
    """Delete the snapshots of images that an earlier run has deregistered."""
    there = {image.id for image in seen.images}
    try:
        marked = usage.left_snapshots(recipe, region=region)
    except BakeryError as error:
        left.append(f"snapshots of images that are gone: {error}")
        return
    for snapshot, image in marked.items():
        if image not in there:
            _try(
                f"snapshot {snapshot} of {image}",
                lambda id_=snapshot: _delete_snapshot(id_, region),  # type: ignore[misc]
                left,
            )


def _protect(
    decisions: tuple[Decision, ...], published: set[str], region: str, left: list[str]
) -> None:
    """Those that stay, the bake's own among them: here, because no failure can take it any more.
    Not what was never published: the image that is kept of a failed bake is to go with it."""
    for it in decisions:
        stays = it.verb is Verb.KEEP and it.image.id in published
        if stays and it.image.state == "available" and not it.image.protected:
            _try(
                f"{it.image.id}: could not protect",
                lambda id_=it.image.id: retiring.protect(id_, region=region),  # type: ignore[misc]
                left,
            )


def _delete_snapshot(snapshot: str, region: str) -> None:
    try:
        ec2.delete_snapshot(snapshot, region=region)
    except NotYetVisibleError:
        logger.info("another image holds it, or one just did", snapshot=snapshot)


def _done(decision: Decision, region: str, now: datetime, left: list[str]) -> bool:
    if decision.verb is Verb.KEEP:
        return False
    what = f"{decision.image.id}: could not {decision.verb}"
    return _try(what, lambda: _act(decision, region, now, left), left)


def _act(decision: Decision, region: str, now: datetime, left: list[str]) -> None:
    match decision.verb:
        case Verb.DEPRECATE:
            retiring.deprecate(decision.image.id, region=region, now=now)
        case Verb.DISABLE:
            _disable(decision.image, region, now)
        case Verb.DEREGISTER:
            left += _deregister(decision.image, region)


def _disable(image: OldImage, region: str, now: datetime) -> None:
    """The note comes second: one on an image that can be launched says that somebody has enabled
    it again."""
    if image.state != "disabled":
        retiring.disable(image.id, region=region)
    retiring.note_disabled(image.id, region=region, now=now)


def _deregister(image: OldImage, region: str) -> tuple[str, ...]:
    retiring.mark(image.id, image.snapshots, region=region)
    if image.protected:
        retiring.unprotect(image.id, region=region)
    return retiring.deregister(image.id, region=region)


def _try(what: str, act: Callable[[], None], left: list[str]) -> bool:
    try:
        act()
    except BakeryError as error:
        logger.exception("could not be done", what=what)
        left.append(f"{what}: {error}")
        return False
    return True


def _raise_if_retryable(error: BakeryError) -> None:
    if type(error).__name__ in RETRYABLE:
        raise error


def _result(
    request: Request,
    region: str,
    decisions: tuple[Decision, ...],
    done: list[str],
    left: list[str],
    regions: tuple[str, ...],
) -> Result:
    kept = [str(it) for it in decisions if it.verb is Verb.KEEP]
    return Result(
        region=region,
        counts=dict(Counter(str(it.verb) for it in decisions)),
        done=_first(done) if request.brief else tuple(done),
        kept=() if request.brief else tuple(kept),
        left=_first(left) if request.brief else tuple(left),
        regions=() if request.region else regions,
    )


def _first(lines: list[str]) -> tuple[str, ...]:
    shown = [shortened(line, most=_WIDTH) for line in lines[:_LINES]]
    rest = len(lines) - len(shown)
    return tuple(shown + ([f"and {rest} more, see the log of RetireImages"] if rest else []))


handler = lambda_handler(Request, run)
