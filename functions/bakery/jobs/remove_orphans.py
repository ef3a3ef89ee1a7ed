"""The janitor: remove what bakes left behind that no state of theirs cleans up any more.

Runs on a schedule, and at once for an execution that was stopped or timed out: both pass every
Catch by. It reads everything first, and a read that fails stops it before it has removed anything;
then it removes the orphans one by one, each failure told and none in the way of the next. Before
each it looks again at the bake's execution, which somebody may have redriven since.
Idempotent because it starts from what exists.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import BaseModel, ConfigDict, Field

from bakery import clock, holds, leases, orphans, waits
from bakery.aws import ec2, events, inventory, ssm, stepfunctions, table
from bakery.errors import BakeryError
from bakery.observability import logger
from bakery.orphans import Execution, Findings, Kind, Tagged
from bakery.settings import JanitorSettings

_TRIES = 4
"""For each that one run may remove: what cannot be removed is not in the way of the rest, and the
run ends in time."""


class Request(BaseModel):
    """What a person or the schedule may ask for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dry_run: bool = Field(default=False, description="Only tell what would be removed.")
    bake: str | None = Field(default=None, description="Look at this bake only.")


class Result(BaseModel):
    """What was done; ``strange`` was not touched because it cannot be attributed to a bake."""

    dry_run: bool
    removed: tuple[str, ...]
    """With ``dry_run``: what would be."""
    left: tuple[str, ...]
    strange: tuple[str, ...]


@dataclass(frozen=True)
class Ended:
    """What executions that have ended have in the table, as it was read before they were."""

    leases: dict[str, str]
    """Recipe to the execution (ARN) that holds it."""
    waits: list[waits.Wait]


@dataclass(frozen=True)
class SecondLook:
    """Whether bakes are still as they were when their orphans were found.

    One that was redriven since works with what it left, or has published it; that it has ended
    again by now is no reason to remove it, because nothing of it was read after that.
    """

    settings: JanitorSettings
    executions: Mapping[str, Execution]
    """As they were then, by name."""
    unknown: dict[str, BakeryError] = field(default_factory=dict)
    """Bakes that could not be looked at: one failure keeps all that is left of such a bake."""

    def finds_it_unchanged(self, bake: str) -> bool:
        """Raises BakeryError when that cannot be told, then and ever after."""
        if bake in self.unknown:
            raise self.unknown[bake].with_traceback(None)  # It would grow with each.
        try:
            now = stepfunctions.find_execution(_arn(self.settings, bake))
        except BakeryError as error:
            self.unknown[bake] = error
            raise
        return now == self.executions[bake]


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Clean the account, or what the status event's execution left; returns what was done."""
    return run(_request(event), JanitorSettings.load()).model_dump(mode="json")


def _request(event: dict[str, Any]) -> Request:
    if "detail-type" in event:
        return Request(bake=event["detail"]["name"])
    return Request.model_validate(event)


def run(request: Request, settings: JanitorSettings) -> Result:
    """Find the orphans and remove as many as one run may; tell when there were any."""
    dry_run = request.dry_run or settings.report_only
    found, again, ended = _look(request, settings)
    removed, left = _remove_all(found.orphans, again, settings.most, dry_run=dry_run)
    result = Result(
        dry_run=dry_run, removed=tuple(removed), left=tuple(left), strange=found.strange
    )
    _tell(result)
    if not dry_run:
        _forget(settings, ended)
    return result


def _look(request: Request, settings: JanitorSettings) -> tuple[Findings, SecondLook, Ended]:
    """The orphans, the second look at their bakes, and the leases and waits of executions that
    have ended."""
    # At synthesis the stack need not know its own Region, which a recipe may name.
    others = [it for it in settings.regions if it != os.environ["AWS_REGION"]]
    tagged = inventory.everything(others)
    published = set[str]().union(*(ssm.published_images(it) for it in (None, *others)))
    # One of another release is ended by its own deadline.
    waiting = [it for _, stored in table.open_waits(settings.table) if (it := waits.read(stored))]
    held = table.holders(settings.table, leases.PREFIX)
    tagged = orphans.candidates(tagged, published=published)
    if request.bake is not None:
        tagged = [it for it in tagged if it.bake == request.bake]
        waiting = [it for it in waiting if it.bake == request.bake]
    # Before the executions: a hold is ended once its bake is redriven, which may just have been.
    kept = holds.kept_bakes(settings.table)
    executions = _executions(settings, {it.bake for it in tagged})
    # And after them: a hold is made before the end of its bake, which may just have come.
    kept |= holds.kept_bakes(settings.table)
    tagged = [it for it in tagged if it.bake not in kept]
    arns = {*held.values(), *(_arn(settings, wait.bake) for wait in waiting)}
    ended = {arn for arn in arns if not stepfunctions.is_running(arn)}
    found = orphans.find(tagged, executions, published=published, now=clock.now())
    return (
        found,
        SecondLook(settings, executions),
        Ended(
            leases={recipe: holder for recipe, holder in held.items() if holder in ended},
            waits=[wait for wait in waiting if _arn(settings, wait.bake) in ended],
        ),
    )


def _executions(settings: JanitorSettings, names: Iterable[str]) -> dict[str, Execution]:
    found = {name: stepfunctions.find_execution(_arn(settings, name)) for name in names}
    return {name: execution for name, execution in found.items() if execution is not None}


def _arn(settings: JanitorSettings, bake: str) -> str:
    return f"{settings.machine.replace(':stateMachine:', ':execution:')}:{bake}"


def _remove_all(
    found: Sequence[Tagged], again: SecondLook, most: int, *, dry_run: bool
) -> tuple[list[str], list[str]]:
    """Remove as many as one run may; returns what is removed, and what is left with the reason.

    What belongs to a bake that was redriven is neither: it is the bake's own business again.
    """
    removed: list[str] = []
    left: list[str] = []
    tries = 0
    for orphan in found[: _TRIES * most]:
        if len(removed) == most:
            break
        tries += 1
        what = f"{orphan.kind} {orphan.id} of bake {orphan.bake}"
        if dry_run or _removed(orphan, what, again, left):
            removed.append(what)
    if (unsaid := len(left) - most) > 0:  # An event takes no more; the log has them all.
        left[most:] = [f"{unsaid} more could not be removed: see the log of this function"]
    if rest := len(found) - tries:
        limit = f"removes {most}" if len(removed) == most else f"tries {tries}"
        left.append(f"{rest} more: one run {limit} at most")
    return removed, left


def _removed(orphan: Tagged, what: str, again: SecondLook, left: list[str]) -> bool:
    try:
        # Before each and not once for a bake: a redriven one that publishes needs seconds only.
        if not again.finds_it_unchanged(orphan.bake):
            logger.info("not removed: its bake was redriven", what=what)
            return False
        _remove(orphan)
    except BakeryError as error:
        logger.exception("could not remove", what=what)
        left.append(f"{what}: {error}")
        return False
    return True


def _remove(orphan: Tagged) -> None:
    match orphan.kind:
        case Kind.SPOT_REQUEST:
            ec2.cancel_spot_request(orphan.id)
        case Kind.INSTANCE:
            ec2.terminate(orphan.id)
        case Kind.VOLUME:
            ec2.delete_volume(orphan.id)
        case Kind.IMAGE:
            ec2.delete_image(orphan.id, orphan.snapshots, region=orphan.region)
        case Kind.SNAPSHOT:
            ec2.delete_snapshot(orphan.id, region=orphan.region)


def _forget(settings: JanitorSettings, ended: Ended) -> None:
    """Give back the leases of ended executions, and forget the waits that nobody waits for.

    Somebody may have redriven one while the orphans were removed: then it needs its lease again,
    and has new waits, which have other tokens than those that were read.
    """
    for recipe, holder in ended.leases.items():
        if not stepfunctions.is_running(holder):
            leases.give_back(settings.table, recipe, holder)
    for wait in ended.waits:
        table.forget_wait(settings.table, wait)


def _tell(result: Result) -> None:
    logger.info("janitor", **result.model_dump(mode="json"))
    if (result.removed or result.left) and not result.dry_run:
        events.announce(
            "Orphans Removed", {"removed": list(result.removed), "left": list(result.left)}
        )
