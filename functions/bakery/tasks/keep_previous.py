"""KeepPrevious: remember in each Region the image that was current before, for a way back.

Like the pointers, the parameters are validated asynchronously, so the task ends only when their
values can be read back. When it fails for good, CleanUp moves the pointers back.
Idempotent because the values come from the pointers' own history, not from what a first try saw,
and because a parameter that holds its value already is left alone.
"""

import os
from datetime import datetime

from bakery import publishing, redriving
from bakery.aws import ec2, ssm
from bakery.bake import Copied, State
from bakery.naming import pointer, previous_pointer
from bakery.observability import logger
from bakery.publishing import Move
from bakery.redriving import Publication
from bakery.task import lambda_handler


class Request(Publication):
    entered: datetime
    """When the machine entered the state, the same for all tries."""


class Result(State):
    image: str | None
    """In the Region of the stack; None for a first image, and for one that is no way back because
    it is gone: then the parameter stays as it is."""


def run(request: Request) -> Result:
    """Set ``previous-image`` to what the pointer held before; see ``redriving.check`` and
    ``publishing.settle``."""
    redriving.check(request)
    befores = {copy.region: _before(request.recipe, copy) for copy in request.copies}
    moves = [
        Move(
            region=region,
            name=previous_pointer(request.recipe),
            image_id=before,
            description=f"Previous image of recipe {request.recipe}",
        )
        for region, before in befores.items()
        if before
    ]
    publishing.settle(moves, request.entered)
    return Result(image=befores.get(os.environ["AWS_REGION"]))


def _before(recipe: str, copy: Copied) -> str | None:
    if copy.image_id is None:
        return None
    before = ssm.earlier_value(pointer(recipe), copy.image_id, region=copy.region)
    if before is None:
        return None
    found = ec2.find_images([before], region=copy.region)
    if found and found[0].state == "available":
        return before
    logger.warning("the image that was current before cannot be launched", image=before)
    return None


handler = lambda_handler(Request, run)
