"""PublishPointers: move the recipe's pointers and labels to the new image, in every Region at once.

The task ends only when every value can be read back, or when it is clear that one will never be,
and then the bake goes to CleanUp, which moves back all that have moved.
Idempotent because a parameter that holds the image already is left alone.
"""

from datetime import datetime

from bakery import publishing, redriving
from bakery.bake import Pointer
from bakery.naming import pointer
from bakery.publishing import Move
from bakery.redriving import Publication
from bakery.task import lambda_handler


class Request(Publication):
    entered: datetime
    """When the machine entered the state, the same for all tries."""
    pointers: tuple[Pointer, ...]


def run(request: Request) -> None:
    """Put the parameters; see ``redriving.check`` and ``publishing.settle``. Those of a Region that
    is left out stay."""
    redriving.check(request)
    images = {copy.region: copy.image_id for copy in request.copies if copy.image_id}
    current = pointer(request.recipe)
    moves = [
        Move(
            region=it.region,
            name=it.name,
            image_id=images[it.region],
            description=f"{'Current' if it.name == current else 'Labelled'} image of recipe "
            f"{request.recipe}",
        )
        for it in request.pointers
        if it.region in images
    ]
    publishing.settle(moves, request.entered)


handler = lambda_handler(Request, run)
