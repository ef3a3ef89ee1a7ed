"""CreateImage: make the image from the stopped builder and wait until it is available.

Idempotent because an image with this bake's tag is adopted; CreateImage has no client token, so
its unique name is what stops a second one. An image of that name with another bake's tag is an
error, never adopted: a name alone proves nothing.
"""

from datetime import timedelta

from bakery import budgets, clock, waiting
from bakery.aws import ec2
from bakery.bake import State
from bakery.errors import BuilderLostError, ImageFailedError, NotYetVisibleError
from bakery.naming import TAG_BAKE
from bakery.settings import WaitSettings
from bakery.task import lambda_handler
from bakery.waits import Kind, Wait

BUDGET = timedelta(hours=24)
"""AWS documents up to 24 hours for large volumes. Source: EC2 user guide, "Create an AMI"."""


class Request(State):
    token: str
    bake: str
    instance_id: str
    image_name: str
    description: str
    image_tags: dict[str, str]
    recipe: str = ""


def run(request: Request) -> None:
    """Create or adopt the image; the task stays open until it is available or has failed."""
    image_id = _adopt(request) or _create(request)
    now = clock.now()
    waiting.begin(
        WaitSettings.load().table,
        Wait(
            kind=Kind.IMAGE,
            target=image_id,
            token=request.token,
            bake=request.bake,
            begun=now,
            expected=now + budgets.IMAGE_EXPECTED,
            deadline=now + BUDGET,
            label="Creating the image",
            recipe=request.recipe,
        ),
    )


def _adopt(request: Request) -> str | None:
    made = ec2.images_of_bake(request.bake)
    return made[0].id if made else None


def _create(request: Request) -> str:
    builder = ec2.find_instance(request.instance_id)
    if builder is None or builder.state != "stopped":
        # A running builder would be rebooted by CreateImage and make a new identity for itself.
        state = builder.state if builder else "gone"
        raise BuilderLostError(
            f"Builder {request.instance_id} is {state}, not stopped; it is not imaged. "
            "Start the bake again."
        )
    try:
        return ec2.create_image(
            request.instance_id,
            name=request.image_name,
            description=request.description,
            tags=request.image_tags,
        )
    except ec2.NameTakenError:
        return _owner_of_name(request)


def _owner_of_name(request: Request) -> str:
    """The image that has our name if this bake made it (its answer was lost)."""
    named = ec2.own_images_named(request.image_name)
    if not named:
        raise NotYetVisibleError(
            f"The name '{request.image_name}' is taken, and EC2 does not show by which image yet"
        )
    for image in named:
        if image.tags.get(TAG_BAKE) == request.bake:
            return image.id
    raise ImageFailedError(
        f"The name '{request.image_name}' was taken by another image since the bake began. "
        "Put {time} or {bake} into the recipe's image_name, then start again."
    )


handler = lambda_handler(Request, run)
