"""LaunchTest: boot a test instance from the image, on the first type and subnet that has room.

On-demand, as the builder's network allows, with a role of its own that can do less than a
builder's; one of a Windows image with user data, which its test looks for (``bakery.first_boot``).
Idempotent because a live instance of this image, with the profile of tests and the tags of this
bake and number, is adopted, and because of its client token, as for a builder; a redriven bake has
other tokens, because its first test instances have ended.
"""

from datetime import datetime

from bakery import first_boot, launching
from bakery.aws import ec2
from bakery.bake import LaunchPlan, State, TestMachine
from bakery.capacity import Cell
from bakery.errors import NotYetVisibleError
from bakery.launching import Launched
from bakery.naming import TAG_TEST, bake_tags
from bakery.resources import Image, LaunchSpec, RootVolumeSpec
from bakery.settings import LaunchSettings
from bakery.task import lambda_handler

_IOPS, _THROUGHPUT = 3000, 125
"""What gp3 has at no cost; the recipe's are for baking."""


class Request(State):
    bake: str
    entered: datetime
    """When the machine entered the state, the same for all tries."""
    recipe: str
    image_id: str
    number: int
    """Which of the test instances it is, from 0."""
    machine: TestMachine
    launch: LaunchPlan
    """The builder's; the subnets and the patience are the same."""
    instance_profile: str
    redrives: int = 0


def run(request: Request) -> Launched:
    """Launch or adopt the instance; raises what ``launching.first_with_room`` raises."""
    wanted = (_name(request), request.instance_profile, request.image_id)
    for it in ec2.test_instances_of_bake(request.bake):
        if (it.test, it.profile, it.image_id) == wanted:
            return Launched(instance_id=it.id, instance_type=it.instance_type, market=it.market)
    found = ec2.find_images([request.image_id])
    if not found:
        raise NotYetVisibleError(f"EC2 does not show image {request.image_id}")
    settings = LaunchSettings.load()
    plan = request.launch.model_copy(
        update={"instance_types": request.machine.instance_types, "spot": False}
    )
    return launching.first_with_room(
        plan,
        lambda cell: _spec(request, settings, found[0], cell),
        table_name=settings.table,
        who=f"{request.bake}/test-{_name(request)}",
        entered=request.entered,
    )


def _name(request: Request) -> str:
    return str(request.number + 1)


def _spec(request: Request, settings: LaunchSettings, image: Image, cell: Cell) -> LaunchSpec:
    tags = {TAG_TEST: _name(request), **bake_tags(request.recipe, request.bake)}
    return LaunchSpec(
        image_id=image.id,
        instance_type=cell.instance_type,
        subnet=cell.subnet,
        security_group=launching.security_group(request.launch, settings),
        instance_profile=request.instance_profile,
        root_volume=RootVolumeSpec(
            device=image.root_device_name,
            size_gib=image.root_size_gib,
            iops=_IOPS,
            throughput=_THROUGHPUT,
            kms_key=request.launch.kms_key or settings.kms_key or None,
        ),
        data_volumes=image.data_volumes,
        tags={**request.launch.tags, "Name": f"ami-bakery test of {request.recipe}", **tags},
        client_token=launching.client_token(
            request.bake,
            "test",
            _name(request),
            request.redrives,
            cell.instance_type,
            cell.subnet.id,
        ),
        user_data=first_boot.user_data(request.bake, request.entered) if image.is_windows else "",
    )


handler = lambda_handler(Request, run)
