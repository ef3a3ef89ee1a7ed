"""PublishPointer: move the recipe's pointer to the new image and wait until it is in force.

Parameter Store validates such a value asynchronously and keeps the old one when it is refused, so
the task ends only when the new value can be read back.
Idempotent because a pointer that holds the image already is left alone.
"""

from bakery import publishing
from bakery.bake import State
from bakery.naming import pointer
from bakery.task import lambda_handler


class Request(State):
    token: str
    bake: str
    recipe: str
    image_id: str


def run(request: Request) -> None:
    """Put the pointer; the task fails with PointerRejectedError when Parameter Store refuses it."""
    publishing.put(
        pointer(request.recipe),
        request.image_id,
        description=f"Current image of recipe {request.recipe}",
        token=request.token,
        bake=request.bake,
        recipe=request.recipe,
    )


handler = lambda_handler(Request, run)
