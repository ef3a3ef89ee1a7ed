"""KeepPrevious: remember the image that was current before in a Region, for a way back.

Like the pointer, the parameter is validated asynchronously, so the task ends only when its value
can be read back. When it fails for good, CleanUp moves the pointer back.
Idempotent because the value comes from the pointer's own history, not from what a first try saw,
and because a parameter that holds it already is left alone.
"""

from bakery import publishing, redriving
from bakery.aws import ec2, ssm, stepfunctions
from bakery.naming import pointer, previous_pointer
from bakery.observability import logger
from bakery.redriving import Publication
from bakery.task import lambda_handler


class Request(Publication):
    token: str
    region: str
    image_id: str | None
    """None: the Region is left out."""


def run(request: Request) -> None:
    """Set ``previous-image`` to what the pointer held before ``image_id``, if anything.

    The task's output has it as ``image``: None for a first image, and for a way back that is none
    because its image is gone; then the parameter stays as it is. Raises what ``redriving.check``
    raises.
    """
    redriving.check(request)
    before = _before(request)
    if before is None:
        stepfunctions.succeed(request.token, {"image": None})
        return
    publishing.put(
        previous_pointer(request.recipe),
        before,
        region=request.region,
        description=f"Previous image of recipe {request.recipe}",
        token=request.token,
        bake=request.bake,
        recipe=request.recipe,
    )


def _before(request: Request) -> str | None:
    if request.image_id is None:
        return None
    name, region = pointer(request.recipe), request.region
    before = ssm.earlier_value(name, request.image_id, region=region)
    if before is None:
        return None
    found = ec2.find_images([before], region=region)
    if found and found[0].state == "available":
        return before
    logger.warning("the image that was current before cannot be launched", image=before)
    return None


handler = lambda_handler(Request, run)
