"""LaunchBuilder: start the builder, on the first instance type and subnet that has room.

Idempotent because a live instance with the tags of this bake and attempt is adopted, and because
the client token of each cell is derived from bake, attempt, market, type and subnet: EC2 answers a
repeated call with the same instance. The token must differ for each cell: EC2 scopes it to the
zone, and one token with other parameters is an error; and for each attempt, because the token of an
instance that has ended is an error, too. Source: EC2 developer guide, "Ensuring idempotency".
"""

import hashlib
from datetime import datetime, timedelta

from bakery import budgets, clock
from bakery.aws import ec2, table
from bakery.bake import BaseImage, LaunchPlan, State
from bakery.capacity import Attempts, Cell
from bakery.errors import BakeryError, NoCapacityError, NoCapacityYetError
from bakery.naming import TAG_ATTEMPT, bake_tags
from bakery.resources import LaunchSpec, RootVolumeSpec
from bakery.settings import LaunchSettings
from bakery.task import lambda_handler

_DAYS = 3
"""How long the table remembers attempts."""

_LONGEST_TRY = timedelta(minutes=2)
"""Less than the function has: of a round through very many places, it does a part."""


class Request(State):
    bake: str
    entered: datetime
    """When the machine entered the state, the same for all tries."""
    recipe: str
    base_image: BaseImage
    launch: LaunchPlan


class Result(State):
    instance_id: str
    instance_type: str
    market: str


def run(request: Request) -> Result:
    """Launch or adopt the builder.

    When nothing has room it raises NoCapacityYetError, which the machine retries with growing
    pauses, and NoCapacityError with all attempts once the recipe's patience is at its end, or at
    once where waiting is in vain.
    """
    for it in ec2.builders_of_bake(request.bake):
        if it.attempt == request.launch.attempt:
            return Result(instance_id=it.id, instance_type=it.instance_type, market=it.market)
    settings = LaunchSettings.load()
    began, no_spot = clock.now(), ""
    attempts = before = _remembered(settings.table, request.bake)
    try:
        for cell in attempts.rest_of_round(request.launch):
            if clock.now() - began > _LONGEST_TRY:
                raise NoCapacityYetError(f"Not through all places yet:\n{attempts.listing()}")
            if cell.spot and no_spot:
                attempts = attempts.plus(cell, f"not asked, because of {no_spot}")
                continue
            try:
                instance_id = ec2.launch_builder(_spec(request, settings, cell))
            except ec2.NoRoomError as error:
                attempts = attempts.plus(cell, str(error))
                no_spot = str(error) if isinstance(error, ec2.NoSpotError) else no_spot
            else:
                return Result(
                    instance_id=instance_id, instance_type=cell.instance_type, market=cell.market
                )
    finally:
        if attempts != before:
            _remember(settings.table, request.bake, attempts)
    raise _no_room(request, attempts)


def _no_room(request: Request, attempts: Attempts) -> BakeryError:
    patience = timedelta(minutes=request.launch.patience_minutes)
    hope = any(attempts.worth_trying(request.launch))
    if hope and clock.now() < request.entered + patience:
        return NoCapacityYetError(f"No room yet:\n{attempts.listing()}")
    return NoCapacityError(
        "No instance type of the recipe has room in any subnet. Bake later, raise "
        "builder.patience_minutes, or add types to builder.instance_types or subnets in other "
        f"zones. Tried:\n{attempts.listing()}"
    )


def _remembered(table_name: str, bake: str) -> Attempts:
    stored = table.recall(table_name, _key(bake))
    return Attempts.model_validate_json(stored) if stored else Attempts()


def _remember(table_name: str, bake: str, attempts: Attempts) -> None:
    text = attempts.model_dump_json()
    table.remember(table_name, _key(bake), text, clock.now(), days=_DAYS)


def _key(bake: str) -> str:
    return f"attempts#{bake}"


def _spec(request: Request, settings: LaunchSettings, cell: Cell) -> LaunchSpec:
    launch = request.launch
    parts = (request.bake, launch.attempt, cell.market, cell.instance_type, cell.subnet.id)
    token = "/".join(map(str, parts))
    tags = {TAG_ATTEMPT: str(launch.attempt), **bake_tags(request.recipe, request.bake)}
    return LaunchSpec(
        image_id=request.base_image.id,
        instance_type=cell.instance_type,
        subnet=cell.subnet,
        security_group=settings.security_group,
        instance_profile=launch.instance_profile,
        root_volume=RootVolumeSpec(
            device=request.base_image.root_device,
            size_gib=launch.size_gib,
            iops=launch.iops,
            throughput=launch.throughput,
            kms_key=settings.kms_key or None,
        ),
        data_volumes=request.base_image.data_volumes,
        tags={"Name": f"ami-bakery {request.recipe}", **tags},
        client_token=hashlib.sha256(token.encode()).hexdigest(),
        spot=cell.spot,
        spot_until=request.entered + budgets.WHOLE_BAKE,
    )


handler = lambda_handler(Request, run)
