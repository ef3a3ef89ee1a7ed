"""CreateImage: make the image from the stopped builder and wait until it is available.

Idempotent because an image of this builder with this bake's tag is adopted; CreateImage has no
client token, so its unique name is what stops a second one. An image of that name with another
bake's tag is an error, never adopted: a name alone proves nothing.
"""

from datetime import datetime

from bakery import clock, verdicts, waiting
from bakery.aws import ec2
from bakery.bake import State
from bakery.errors import BuilderTakenError, ImageFailedError, NotYetVisibleError
from bakery.naming import TAG_BAKE
from bakery.resources import Image, Instance
from bakery.settings import WaitSettings
from bakery.task import lambda_handler


class Request(State):
    token: str
    bake: str
    instance_id: str
    image_name: str
    description: str
    image_tags: dict[str, str]
    recipe: str = ""
    verified: datetime | None = None
    """When VerifyIdentity began."""
    redrives: int = 0


def run(request: Request) -> None:
    """Create or adopt the image; the task stays open until it is available or has failed."""
    image_id = _adopt(request) or _create(request)
    waiting.begin_image(
        WaitSettings.load().table,
        image_id,
        token=request.token,
        bake=request.bake,
        recipe=request.recipe,
        label="Creating the image",
    )


def _adopt(request: Request) -> str | None:
    # Of this builder: an image of one that AWS took may still be shown.
    made = (
        _of_verified(request, image)
        for image in ec2.images_of_bake(request.bake)
        if image.source_instance == request.instance_id
    )
    return next(made, None)


def _of_verified(request: Request, image: Image) -> str:
    """The image's id; raises what the builder is when it was started between its verification and
    the image: a first try of this task may have ended before it saw that."""
    builder, redriven = ec2.find_instance(request.instance_id), request.redrives > 0
    again = verdicts.started_again(builder, verified=request.verified, redriven=redriven)
    if again and builder and builder.launched and builder.launched <= clock.parse(image.created):
        raise again
    return image.id


def _create(request: Request) -> str:
    builder, redriven = ec2.find_instance(request.instance_id), request.redrives > 0
    if again := verdicts.started_again(builder, verified=request.verified, redriven=redriven):
        raise again
    if builder is None or builder.state != "stopped":
        # A running builder would be rebooted by CreateImage and make a new identity for itself.
        raise _not_stopped(request, builder)
    try:
        image_id = ec2.create_image(
            request.instance_id,
            name=request.image_name,
            description=request.description,
            tags=request.image_tags,
        )
    except ec2.NameTakenError:
        return _owner_of_name(request)
    if builder.spot and (now := ec2.find_instance(request.instance_id)) and now.state != "stopped":
        # Interrupted before it was asked to stop, it may be started by EC2 at any moment.
        raise _not_stopped(request, now)
    return image_id


def _not_stopped(request: Request, builder: Instance | None) -> Exception:
    # Who can start a spot builder that EC2 has stopped is EC2 alone, while nobody else is at work.
    started = builder is not None and builder.spot and builder.state in {"pending", "running"}
    error = BuilderTakenError if started and not request.redrives else verdicts.loss(builder)
    state = builder.state if builder else "gone"
    return error(
        f"Builder {request.instance_id} is {state}, not stopped; it is not imaged. "
        "Start the bake again."
    )


def _owner_of_name(request: Request) -> str:
    """The image that has our name if this bake made it of this builder (its answer was lost)."""
    named = ec2.own_images_named(request.image_name)
    if not named:
        raise NotYetVisibleError(
            f"The name '{request.image_name}' is taken, and EC2 does not show by which image yet"
        )
    for image in named:
        if image.tags.get(TAG_BAKE) != request.bake:
            continue
        if image.source_instance == request.instance_id:
            return _of_verified(request, image)
        ec2.delete_image(image.id, image.snapshots)
        raise NotYetVisibleError(
            f"Image {image.id} of a builder that AWS took still had the name; it is deleted"
        )
    raise ImageFailedError(
        f"The name '{request.image_name}' was taken by another image since the bake began. "
        "Put {time} or {bake} into the recipe's image_name, then start again."
    )


handler = lambda_handler(Request, run)
