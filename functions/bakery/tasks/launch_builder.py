"""LaunchBuilder: start the builder, on the first instance type and subnet that has room.

Idempotent because a live instance with this bake's tag is adopted, and because the client token
of each attempt is derived from bake, type and subnet: EC2 answers a repeated call with the same
instance. The token must differ for each cell: EC2 scopes it to the zone, and one token with other
parameters is an error. Source: EC2 developer guide, "Ensuring idempotency".
"""

import hashlib

from bakery.aws import ec2
from bakery.bake import BaseImage, LaunchPlan, State
from bakery.errors import NoCapacityError
from bakery.naming import bake_tags
from bakery.resources import LaunchSpec, RootVolumeSpec, Subnet
from bakery.settings import LaunchSettings
from bakery.task import lambda_handler


class Request(State):
    bake: str
    recipe: str
    base_image: BaseImage
    launch: LaunchPlan


class Result(State):
    instance_id: str
    instance_type: str


def run(request: Request) -> Result:
    """Launch or adopt the builder. Raises NoCapacityError with every attempt when none has room."""
    if live := ec2.builders_of_bake(request.bake):
        return Result(instance_id=live[0].id, instance_type=live[0].instance_type)
    settings = LaunchSettings.load()
    attempts: list[str] = []
    for instance_type in request.launch.instance_types:
        for subnet in request.launch.subnets:
            spec = _spec(request, settings, instance_type, subnet)
            try:
                return Result(instance_id=ec2.launch_builder(spec), instance_type=instance_type)
            except ec2.NoRoomError as error:
                attempts.append(f"- {instance_type} in {subnet.id} ({subnet.zone}): {error}")
    raise NoCapacityError(
        "No instance type of the recipe has room in any subnet. Bake later, or add types to "
        "builder.instance_types or subnets in other zones. Tried:\n" + "\n".join(attempts)
    )


def _spec(
    request: Request, settings: LaunchSettings, instance_type: str, subnet: Subnet
) -> LaunchSpec:
    launch = request.launch
    cell = f"{request.bake}/{instance_type}/{subnet.id}"
    return LaunchSpec(
        image_id=request.base_image.id,
        instance_type=instance_type,
        subnet=subnet,
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
        tags={"Name": f"ami-bakery {request.recipe}", **bake_tags(request.recipe, request.bake)},
        client_token=hashlib.sha256(cell.encode()).hexdigest(),
    )


handler = lambda_handler(Request, run)
