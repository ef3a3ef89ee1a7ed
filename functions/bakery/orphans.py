"""What no bake owns any more: decided from what AWS shows. Pure.

An execution that is stopped by hand, or that times out, passes every Catch by, and CleanUp with it.
Nothing is an orphan but what can be attributed: it carries both tags of a bake, and an execution of
that name baked that recipe at that time, and has ended. All else is somebody's; it is only told.
"""

import json
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

QUIET = timedelta(minutes=15)
"""Images stay for so long after their bake's end: Parameter Store may still be about to accept one
as a pointer's value, which it validates after it has answered."""

_EARLY, _LATE = timedelta(minutes=5), timedelta(hours=1)
"""Clocks differ a little, and a call that was under way at the end may still have its effect."""


class Kind(StrEnum):
    """What a bake leaves, in the order in which it can be removed."""

    SPOT_REQUEST = "spot request"
    """Before instances: one that stands would launch another in the place of one that ended."""
    INSTANCE = "instance"
    VOLUME = "volume"
    IMAGE = "image"
    SNAPSHOT = "snapshot"


@dataclass(frozen=True)
class Tagged:
    """Something that carries the tag of a bake."""

    kind: Kind
    id: str
    bake: str
    recipe: str
    created: datetime
    name: str = ""
    """IMAGE."""
    snapshots: tuple[str, ...] = ()
    """IMAGE: what it consists of."""
    image: str = ""
    """SNAPSHOT: the image that EC2 made it for, there or not; empty if it does not say."""
    region: str | None = None
    """IMAGE, SNAPSHOT: where it is; None: in the Region of the stack."""
    clone: bool = False
    """IMAGE, SNAPSHOT: whether it is of a running host that the bake began with, and no result."""


@dataclass(frozen=True)
class Results:
    """The images that a good bake has told of, in all Regions, and the name that they share."""

    name: str
    images: frozenset[str]


@dataclass(frozen=True)
class Execution:
    """An execution of the bake's machine; ``ended`` is None while it may still do something."""

    recipe: str
    started: datetime
    ended: datetime | None
    succeeded: bool
    results: Results | None = None
    """None: it has not said what it made, and all of that stays if it succeeded."""


def results(output: str) -> Results | None:
    """What the output of an execution (``tasks.report``) tells; None if it made no image, or if
    this is the output of a release that says other things."""
    try:
        told = json.loads(output)
        made, name, home = told["outcome"] == "baked", told["image"]["name"], told["image"]["id"]
        ids = (home, *told["copies"].values())
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    if not made or not all(it and isinstance(it, str) for it in (name, *ids)):
        return None
    return Results(name, frozenset(ids))


@dataclass(frozen=True)
class Findings:
    """``strange`` are those that cannot be attributed, each with the reason."""

    orphans: tuple[Tagged, ...]
    strange: tuple[str, ...]


def candidates(tagged: Iterable[Tagged], *, published: Set[str]) -> list[Tagged]:
    """Those of which their bake's execution decides whether they are orphans.

    Of the others it need not be asked, and there are more of them with every image that is kept:
    what is ``published``, and the snapshots of any image that is there, which go with it.
    """
    everything = list(tagged)
    held = {s for image in everything if image.kind is Kind.IMAGE for s in image.snapshots}
    return [
        it
        for it in everything
        if it.id not in published and not (it.kind is Kind.SNAPSHOT and it.id in held)
    ]


def find(
    tagged: Iterable[Tagged],
    executions: Mapping[str, Execution],
    *,
    published: Set[str],
    now: datetime,
) -> Findings:
    """The orphans among ``tagged``, in the order in which they can be removed.

    ``executions`` has those of the candidates that Step Functions knows, by name; ``published`` are
    the images that a pointer holds, or held and was not moved back from: they are the published
    result, whatever became of their bake.
    """
    orphans: list[Tagged] = []
    strange: list[str] = []
    for item in candidates(tagged, published=published):
        execution = executions.get(item.bake)
        if reason := _not_attributable(item, execution):
            strange.append(f"{item.kind} {item.id}: {reason}")
        elif execution and _is_orphan(item, execution, published, now):
            orphans.append(item)
    order = list(Kind)
    return Findings(tuple(sorted(orphans, key=lambda it: order.index(it.kind))), tuple(strange))


def _not_attributable(item: Tagged, execution: Execution | None) -> str | None:
    if execution is None:
        return f"Step Functions knows no execution '{item.bake}' (any more)"
    if execution.recipe != item.recipe:
        return f"execution '{item.bake}' bakes recipe '{execution.recipe}', not '{item.recipe}'"
    end = execution.ended or datetime.max.replace(tzinfo=item.created.tzinfo)
    late = end + _LATE if execution.ended else end
    if not execution.started - _EARLY <= item.created <= late:
        return f"it was not made while execution '{item.bake}' ran"
    return None


def _is_orphan(item: Tagged, execution: Execution, published: Set[str], now: datetime) -> bool:
    if execution.ended is None:
        return False
    if item.clone or item.kind in (Kind.SPOT_REQUEST, Kind.INSTANCE, Kind.VOLUME):
        return True
    if now - execution.ended < QUIET:
        return False
    return not execution.succeeded or _is_remnant(item, execution, published)


def _is_remnant(item: Tagged, execution: Execution, published: Set[str]) -> bool:
    """Whether a good bake made it and kept it from its results, e.g. the copy in a Region that did
    not answer any more.

    A result may have lost its pointer by somebody's decision; it is theirs. So is what somebody
    made of a result: a copy may have the bake's tags, and a name of its own.
    """
    told, ended = execution.results, execution.ended
    if told is None or ended is None or item.created > ended:
        return False
    if item.kind is Kind.IMAGE:
        return item.name == told.name and item.id not in told.images
    return bool(item.image) and item.image not in told.images | published
