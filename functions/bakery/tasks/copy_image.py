"""CopyImage: bring the image to a Region, and wait until it is available there.

For the Region of the stack there is nothing to do. A copy is private until ReleaseImages. Its
events stay in its own Region, so the sweeper ends the wait: within a minute, of the many that a
copy takes.
Idempotent because a copy of the image with this bake's tag is adopted, and by CopyImage's client
token.
"""

import os
from datetime import datetime

from bakery import budgets, catalogue, clock, launching, planning, verdicts, waiting
from bakery.aws import ec2, stepfunctions
from bakery.bake import State
from bakery.errors import RETRYABLE, BakeryError, CopyFailedError, CopyLimitError
from bakery.settings import WaitSettings
from bakery.task import lambda_handler


class Request(State):
    token: str
    bake: str
    entered: datetime
    """When the machine entered the state, the same for all tries."""
    recipe: str
    region: str
    image_id: str
    """The image, in the Region of the stack."""
    image_name: str
    description: str
    image_tags: dict[str, str]
    redrives: int = 0


def run(request: Request) -> None:
    """Begin or adopt the copy; the task stays open until it is available or has failed.

    Its output is ``bake.Copied``: with the reason instead of an image if the recipe publishes to
    any Region and this one has failed. Else it fails with CopyFailedError. While the Region takes
    no more copies it fails with CopyLimitError, which the machine retries with growing pauses,
    until ``budgets.COPY_PATIENCE`` is over.
    """
    home = os.environ["AWS_REGION"]
    if request.region == home:
        stepfunctions.succeed(request.token, verdicts.copied(home, request.image_id).output)
        return
    recipe = catalogue.load(request.recipe)
    optional = recipe.publish.regions == "any"
    try:
        copy_id = _adopt(request, home) or _begin(
            request, home, planning.destination(recipe, request.region).kms_key
        )
    except BakeryError as error:
        if _worth_another_try(error, request.entered, optional=optional):
            raise
        text = f"{request.region} could not be given its copy: {error}"
        if not optional:
            raise CopyFailedError(text) from error
        failed = verdicts.copied(request.region, None, failed=text)
        stepfunctions.succeed(request.token, failed.output)
        return
    waiting.begin_image(
        WaitSettings.load().table,
        copy_id,
        token=request.token,
        bake=request.bake,
        recipe=request.recipe,
        label=f"Copying the image to {request.region}",
        region=request.region,
        optional=optional,
    )


def _worth_another_try(error: BakeryError, entered: datetime, *, optional: bool) -> bool:
    """The machine's last try does not know that it is the last: it would end the bake, and not the
    Region."""
    waited = clock.now() - entered
    if isinstance(error, CopyLimitError):
        return waited < budgets.COPY_PATIENCE
    transient = type(error).__name__ in RETRYABLE
    return transient and not (optional and waited >= budgets.ANSWER_PATIENCE)


def _adopt(request: Request, home: str) -> str | None:
    """Nobody boots a copy: whoever may tag must not put another image in its place."""
    made = ec2.images_of_bake(request.bake, region=request.region)
    return next((it.id for it in made if it.copy_of == (request.image_id, home)), None)


def _begin(request: Request, home: str, kms_key: str | None) -> str:
    return ec2.copy_image(
        request.image_id,
        home,
        region=request.region,
        name=request.image_name,
        description=request.description,
        tags=request.image_tags,
        kms_key=kms_key,
        # A redriven bake's first copy is gone: its token would bring back the id of that.
        client_token=launching.client_token(
            request.bake, request.image_id, request.region, request.redrives
        ),
    )


handler = lambda_handler(Request, run)
