"""CloneHost: image the running host that is the base, and wait until that image is available.

Only for a recipe whose base is an instance. The builder is then launched from the image, which is
no result: it goes with the bake, however that ends. The host itself is imaged and described; no
other call names it. Without a restart, unless the recipe asks for one.
Idempotent because an image with this bake's tag as a clone of that host is adopted; CreateImage has
no client token, so its name, which has the bake's, is what stops a second one. An image of that
name with another bake's tag is an error, never adopted.
"""

from bakery import waiting
from bakery.aws import ec2
from bakery.bake import HostPlan, State
from bakery.errors import HostGoneError, ImageFailedError, NotYetVisibleError
from bakery.naming import TAG_CLONE_OF, clone_tags
from bakery.resources import Image
from bakery.settings import WaitSettings
from bakery.task import lambda_handler

_IMAGED = {"running", "stopped"}


class Request(State):
    token: str
    bake: str
    recipe: str
    host: HostPlan


def run(request: Request) -> None:
    """Image the host or adopt its image; the task stays open until that is available or failed.

    Raises HostGoneError when the host has ended, or is on its way to another state, since Plan.
    """
    image_id = _adopt(request) or _create(request)
    waiting.begin_image(
        WaitSettings.load().table,
        image_id,
        token=request.token,
        bake=request.bake,
        recipe=request.recipe,
        label=f"Imaging host {request.host.instance_id}",
    )


def _adopt(request: Request) -> str | None:
    made = (it.id for it in ec2.clones_of_bake(request.bake) if _is_ours(it, request))
    return next(made, None)


def _is_ours(image: Image, request: Request) -> bool:
    """Whoever may tag can tag any image of the host, such as one of last year with all its disks.
    A name is given once, and the clone's has the bake's."""
    host = request.host
    tags = clone_tags(request.recipe, request.bake, host.instance_id)
    tagged = all(image.tags.get(key) == value for key, value in tags.items())
    made = (image.source_instance, image.name) == (host.instance_id, host.image_name)
    return tagged and made


def _create(request: Request) -> str:
    host = request.host
    found = ec2.find_instance(host.instance_id)
    if found is None or found.state not in _IMAGED:
        state = found.state if found else "gone"
        raise HostGoneError(
            f"Host {host.instance_id} is {state}, not running or stopped; it is not imaged. Wait "
            "until it is, or name another base, then start the bake again."
        )
    try:
        return ec2.create_image(
            host.instance_id,
            name=host.image_name,
            description=f"Clone of {host.instance_id} for bake {request.bake}; goes with it",
            tags={
                **host.tags,
                **clone_tags(request.recipe, request.bake, host.instance_id),
            },
            without=host.leave_out,
            reboot=host.reboot,
        )
    except ec2.NameTakenError:
        return _owner_of_name(request)


def _owner_of_name(request: Request) -> str:
    """The image that has our name if this bake made it of this host (its answer was lost)."""
    named = ec2.own_images_named(request.host.image_name)
    if not named:
        raise NotYetVisibleError(
            f"The name '{request.host.image_name}' is taken, and EC2 does not show by which image "
            "yet"
        )
    for image in named:
        if _is_ours(image, request):
            return image.id
    raise ImageFailedError(
        f"The name '{request.host.image_name}' is that of image {named[0].id}, which this bake has "
        f"not made: it lacks its tag {TAG_CLONE_OF}. Deregister it, or start the bake again."
    )


handler = lambda_handler(Request, run)
