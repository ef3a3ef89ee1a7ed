"""LaunchBuilder: start the builder, on the first instance type and subnet that has room.

Idempotent because a live instance of this image, with the recipe's profile and the tags of this
bake and attempt, launched since Plan, is adopted, and because the client token of each cell is
derived from bake, attempt, market, type and subnet: EC2 answers a repeated call with the same
instance. The token must differ for each cell: EC2 scopes it to the zone, and one token with other
parameters is an error; and for each attempt, because the token of an instance that has ended is an
error, too. Source: EC2 developer guide, "Ensuring idempotency".
"""

from datetime import datetime, timedelta

from bakery import budgets, launching
from bakery.aws import ec2
from bakery.bake import BaseImage, HostPlan, LaunchPlan, State
from bakery.capacity import Cell
from bakery.errors import NotYetVisibleError
from bakery.launching import Launched
from bakery.naming import TAG_ATTEMPT, bake_tags
from bakery.resources import Instance, LaunchSpec, RootVolumeSpec
from bakery.settings import LaunchSettings
from bakery.task import lambda_handler

_CLOCKS_DIFFER = timedelta(minutes=1)
"""EC2's and Step Functions', at most; and EC2 tells of a launch in whole seconds."""


class Request(State):
    bake: str
    entered: datetime
    """When the machine entered the state, the same for all tries."""
    planned: datetime
    """When it entered Plan: no builder of the bake is older."""
    recipe: str
    base_image: BaseImage
    host: HostPlan | None = None
    """The host that ``base_image`` stands for; it was imaged by CloneHost."""
    launch: LaunchPlan


def run(request: Request) -> Launched:
    """Launch or adopt the builder; raises what ``launching.first_with_room`` raises."""
    for it in ec2.builders_of_bake(request.bake):
        if it.attempt == request.launch.attempt and _is_ours(it, request):
            return Launched(instance_id=it.id, instance_type=it.instance_type, market=it.market)
    settings, base = LaunchSettings.load(), _base(request)
    return launching.first_with_room(
        request.launch,
        lambda cell: _spec(request, settings, base, cell),
        table_name=settings.table,
        who=request.bake,
        entered=request.entered,
    )


def _is_ours(builder: Instance, request: Request) -> bool:
    """Whoever may tag can tag anything as a builder; to pass the role of the profile takes a right
    that nobody has by the way. A builder of another bake has it, too: one that was kept is older.
    The clone of a host may be gone when its builder is there."""
    of_image = request.host is not None or builder.image_id == request.base_image.id
    since = request.planned - _CLOCKS_DIFFER
    fresh = builder.launched is not None and builder.launched >= since
    return of_image and fresh and builder.profile == request.launch.instance_profile


def _base(request: Request) -> BaseImage:
    """The base image; of a host its clone, with what that has for volumes."""
    if request.host is None:
        return request.base_image
    host = request.host.instance_id
    made = ("available", host, request.host.image_name)
    clones = (
        it
        for it in ec2.clones_of_bake(request.bake)
        if (it.state, it.source_instance, it.name) == made
    )
    if (clone := next(clones, None)) is None:
        raise NotYetVisibleError(
            f"EC2 does not show the image of host {host} that this bake has made. If somebody has "
            "deregistered it, start the bake again."
        )
    update = {"id": clone.id, "data_volumes": clone.data_volumes}
    return request.base_image.model_copy(update=update)


def _spec(request: Request, settings: LaunchSettings, base: BaseImage, cell: Cell) -> LaunchSpec:
    launch = request.launch
    tags = {TAG_ATTEMPT: str(launch.attempt), **bake_tags(request.recipe, request.bake)}
    return LaunchSpec(
        image_id=base.id,
        instance_type=cell.instance_type,
        subnet=cell.subnet,
        security_group=launching.security_group(launch, settings),
        instance_profile=launch.instance_profile,
        root_volume=RootVolumeSpec(
            device=base.root_device,
            size_gib=launch.size_gib,
            iops=launch.iops,
            throughput=launch.throughput,
            kms_key=launch.kms_key or settings.kms_key or None,
        ),
        data_volumes=base.data_volumes,
        tags={**launch.tags, "Name": f"ami-bakery {request.recipe}", **tags},
        client_token=launching.client_token(
            request.bake, launch.attempt, cell.market, cell.instance_type, cell.subnet.id
        ),
        spot=cell.spot,
        spot_until=request.entered + budgets.WHOLE_BAKE,
    )


handler = lambda_handler(Request, run)
