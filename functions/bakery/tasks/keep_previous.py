"""KeepPrevious: remember the image that was current before, for a way back.

Like the pointer, the parameter is validated asynchronously, so the task ends only when its value
can be read back. When it fails for good, CleanUp moves the pointer back.
Idempotent because the value comes from the pointer's own history, not from what a first try saw,
and because a parameter that holds it already is left alone.
"""

from bakery import publishing
from bakery.aws import ec2, ssm, stepfunctions
from bakery.bake import State
from bakery.naming import pointer, previous_pointer
from bakery.observability import logger
from bakery.task import lambda_handler


class Request(State):
    token: str
    bake: str
    recipe: str
    image_id: str


def run(request: Request) -> None:
    """Set ``previous-image`` to what the pointer held before ``image_id``, if anything.

    The task's output has it as ``image``: None for a first image, and for a way back that is none
    because its image is gone; then the parameter stays as it is.
    """
    name = previous_pointer(request.recipe)
    before = ssm.earlier_value(pointer(request.recipe), request.image_id)
    if before is None or not _is_there(before):
        stepfunctions.succeed(request.token, {"parameter": name, "image": None})
        return
    publishing.put(
        name,
        before,
        description=f"Previous image of recipe {request.recipe}",
        token=request.token,
        bake=request.bake,
        recipe=request.recipe,
    )


def _is_there(image_id: str) -> bool:
    found = ec2.find_images([image_id])
    if found and found[0].state == "available":
        return True
    logger.warning("the image that was current before cannot be launched", image=image_id)
    return False


handler = lambda_handler(Request, run)
