"""PublishPointer: move one parameter to the new image of its Region, and wait until it is in force.

It is the recipe's pointer, or one of its labels. Parameter Store validates such a value
asynchronously and keeps the old one when it is refused, so the task ends only when the new value
can be read back. A failure sends the bake to CleanUp, which moves back all that have moved.
Idempotent because a parameter that holds the image already is left alone.
"""

from bakery import publishing, redriving
from bakery.aws import stepfunctions
from bakery.bake import Pointer
from bakery.naming import pointer
from bakery.redriving import Publication
from bakery.task import lambda_handler


class Request(Publication):
    token: str
    pointer: Pointer


def run(request: Request) -> None:
    """Put the parameter; the task fails with PointerRejectedError when Parameter Store refuses it.

    One of a Region that is left out stays as it is. Raises what ``redriving.check`` raises.
    """
    redriving.check(request)
    it = request.pointer
    image_id = next((copy.image_id for copy in request.copies if copy.region == it.region), None)
    if image_id is None:
        stepfunctions.succeed(request.token, {})
        return
    what = "Current image" if it.name == pointer(request.recipe) else "Labelled image"
    publishing.put(
        it.name,
        image_id,
        region=it.region,
        description=f"{what} of recipe {request.recipe}",
        token=request.token,
        bake=request.bake,
        recipe=request.recipe,
    )


handler = lambda_handler(Request, run)
