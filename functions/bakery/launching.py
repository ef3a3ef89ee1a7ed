"""Launching one instance where there is room: what LaunchBuilder and LaunchTest share."""

import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta

from bakery import clock
from bakery.aws import ec2, table
from bakery.bake import LaunchPlan, State
from bakery.capacity import Attempts, Cell
from bakery.errors import (
    AwsCallFailedError,
    BakeryError,
    NoCapacityError,
    NoCapacityYetError,
)
from bakery.resources import LaunchSpec
from bakery.settings import LaunchSettings

_DAYS = 3
"""How long the table remembers attempts."""

_LONGEST_TRY = timedelta(minutes=2)
"""Less than the functions have: of a round through very many places, they do a part."""


class Launched(State):
    instance_id: str
    instance_type: str
    market: str


def first_with_room(
    plan: LaunchPlan,
    spec: Callable[[Cell], LaunchSpec],
    *,
    table_name: str,
    who: str,
    entered: datetime,
) -> Launched:
    """Launch what ``spec`` says of the first cell of the plan that has room.

    When nothing has room it raises NoCapacityYetError, which the machine retries with growing
    pauses, and NoCapacityError with all attempts once the recipe's patience, which began when the
    state was ``entered``, is at its end, or at once where waiting is in vain. The table remembers
    the attempts of ``who`` from one try to the next.
    """
    began, no_spot = clock.now(), ""
    attempts = before = _remembered(table_name, who)
    try:
        for cell in attempts.rest_of_round(plan):
            if clock.now() - began > _LONGEST_TRY:
                raise NoCapacityYetError(f"Not through all places yet:\n{attempts.listing()}")
            if cell.spot and no_spot:
                attempts = attempts.plus(cell, f"not asked, because of {no_spot}")
                continue
            try:
                instance_id = ec2.launch(spec(cell))
            except ec2.NoRoomError as error:
                attempts = attempts.plus(cell, str(error))
                no_spot = str(error) if isinstance(error, ec2.NoSpotError) else no_spot
            else:
                return Launched(
                    instance_id=instance_id, instance_type=cell.instance_type, market=cell.market
                )
    finally:
        if attempts != before:
            _remember(table_name, who, attempts)
    raise _no_room(plan, attempts, entered)


def security_group(plan: LaunchPlan, settings: LaunchSettings) -> str:
    """That of clones of hosts, and of test instances of their images, which run the same services;
    else the ordinary one. Raises AwsCallFailedError where the deployment no longer has the first.
    """
    if not plan.isolated:
        return settings.security_group
    if not settings.isolated_group:
        raise AwsCallFailedError(
            "This deployment has no security group for clones of hosts; deploy with the context "
            "clone_egress"
        )
    return settings.isolated_group


def client_token(*parts: object) -> str:
    """The same for the same parts; EC2 takes 64 characters."""
    return hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()


def _no_room(plan: LaunchPlan, attempts: Attempts, entered: datetime) -> BakeryError:
    patience = timedelta(minutes=plan.patience_minutes)
    hope = any(attempts.worth_trying(plan))
    if hope and clock.now() < entered + patience:
        return NoCapacityYetError(f"No room yet:\n{attempts.listing()}")
    return NoCapacityError(
        "No instance type of the recipe has room in any subnet. Bake later, raise "
        "builder.patience_minutes, or add types to builder.instance_types or subnets in other "
        f"zones. Tried:\n{attempts.listing()}"
    )


def _remembered(table_name: str, who: str) -> Attempts:
    stored = table.recall(table_name, _key(who))
    return Attempts.model_validate_json(stored) if stored else Attempts()


def _remember(table_name: str, who: str, attempts: Attempts) -> None:
    table.remember(table_name, _key(who), attempts.model_dump_json(), clock.now(), days=_DAYS)


def _key(who: str) -> str:
    return f"attempts#{who}"
