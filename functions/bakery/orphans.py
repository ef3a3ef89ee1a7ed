"""What no bake owns any more: decided from what AWS shows. Pure.

An execution that is stopped by hand, or that times out, passes every Catch by, and CleanUp with it.
Nothing is an orphan but what can be attributed: it carries both tags of a bake, and an execution of
that name baked that recipe at that time, and has ended. All else is somebody's; it is only told.
"""

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
    snapshots: tuple[str, ...] = ()
    """IMAGE: what it consists of."""
    region: str | None = None
    """IMAGE, SNAPSHOT: where it is; None: in the Region of the stack."""
    clone: bool = False
    """IMAGE, SNAPSHOT: whether it is of a running host that the bake began with, and no result."""


@dataclass(frozen=True)
class Execution:
    """An execution of the bake's machine; ``ended`` is None while it may still do something."""

    recipe: str
    started: datetime
    ended: datetime | None
    succeeded: bool


@dataclass(frozen=True)
class Findings:
    """``strange`` are those that cannot be attributed, each with the reason."""

    orphans: tuple[Tagged, ...]
    strange: tuple[str, ...]


def find(
    tagged: Iterable[Tagged],
    executions: Mapping[str, Execution],
    *,
    published: Set[str],
    now: datetime,
) -> Findings:
    """The orphans among ``tagged``, in the order in which they can be removed.

    ``executions`` has those that Step Functions knows, by name; ``published`` are the images that
    a pointer holds or held: they are the published result, whatever became of their bake.
    """
    everything = list(tagged)
    kept = {image.id for image in everything if image.kind is Kind.IMAGE}
    kept |= {s for image in everything if image.kind is Kind.IMAGE for s in image.snapshots}
    orphans: list[Tagged] = []
    strange: list[str] = []
    for item in everything:
        if item.id in published or (item.kind is Kind.SNAPSHOT and item.id in kept):
            continue
        execution = executions.get(item.bake)
        if reason := _not_attributable(item, execution):
            strange.append(f"{item.kind} {item.id}: {reason}")
        elif execution and _is_orphan(item, execution, now):
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


def _is_orphan(item: Tagged, execution: Execution, now: datetime) -> bool:
    if execution.ended is None:
        return False
    if item.clone or item.kind in (Kind.SPOT_REQUEST, Kind.INSTANCE, Kind.VOLUME):
        return True
    # A good bake's image may have lost its pointer by somebody's decision; it is theirs.
    return not execution.succeeded and now - execution.ended >= QUIET
