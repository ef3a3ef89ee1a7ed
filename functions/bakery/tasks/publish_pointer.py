"""PublishPointer: move the recipe's pointer to the new image and wait until it is in force.

Parameter Store validates such a value asynchronously and keeps the old one when it is refused, so
the task ends only when the new value can be read back.
Idempotent because a pointer that holds the image already is left alone.
"""

from datetime import timedelta

from bakery import clock, waiting
from bakery.aws import ssm
from bakery.bake import State
from bakery.naming import pointer
from bakery.settings import WaitSettings
from bakery.task import lambda_handler
from bakery.waits import Kind, Wait

BUDGET = timedelta(minutes=10)


class Request(State):
    token: str
    bake: str
    recipe: str
    image_id: str


def run(request: Request) -> None:
    """Put the pointer; the task fails with PointerRejectedError when Parameter Store refuses it."""
    name = pointer(request.recipe)
    if ssm.get_parameter(name) != request.image_id:
        ssm.put_image_parameter(name, request.image_id, f"Current image of recipe {request.recipe}")
    waiting.begin(
        WaitSettings.load().table,
        Wait(
            kind=Kind.POINTER,
            target=name,
            token=request.token,
            bake=request.bake,
            deadline=clock.now() + BUDGET,
            label="Publishing the pointer",
            image_id=request.image_id,
        ),
    )


handler = lambda_handler(Request, run)
