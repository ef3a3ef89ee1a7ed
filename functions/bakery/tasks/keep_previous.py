"""KeepPrevious: remember the image that was current before, for a way back.

Idempotent because the value comes from the pointer's own history, not from what a first try saw.
When it fails for good, CleanUp moves the pointer back.
"""

from bakery.aws import ssm
from bakery.bake import State
from bakery.naming import pointer, previous_pointer
from bakery.task import lambda_handler


class Request(State):
    recipe: str
    image_id: str


class Result(State):
    previous: str | None


def run(request: Request) -> Result:
    """Set ``previous-image`` to what the pointer held before ``image_id``, if anything."""
    before = ssm.earlier_value(pointer(request.recipe), request.image_id)
    if before is not None:
        ssm.put_image_parameter(
            previous_pointer(request.recipe), before, f"Previous image of recipe {request.recipe}"
        )
    return Result(previous=before)


handler = lambda_handler(Request, run)
