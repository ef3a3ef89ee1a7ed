"""HardenImage: the image asks its instances for IMDSv2, and is what the recipe asks for.

Idempotent because setting what is set changes nothing.
"""

from bakery.aws import ec2
from bakery.bake import State
from bakery.errors import ImageFailedError, NotYetVisibleError
from bakery.resources import Image
from bakery.task import lambda_handler


class Request(State):
    image_id: str
    size_gib: int
    """What the root volume must have, at least."""


def run(request: Request) -> None:
    """Set and read back; raises ImageFailedError naming what is not as asked."""
    ec2.require_imdsv2(request.image_id)
    found = ec2.find_images([request.image_id])
    if not found or found[0].imds is None:
        raise NotYetVisibleError(f"EC2 does not show IMDSv2 on image {request.image_id} yet")
    if wrong := _wrong(found[0], request):
        raise ImageFailedError(
            f"Image {request.image_id} is not as asked: {'; '.join(wrong)}. Start the bake again."
        )


def _wrong(image: Image, request: Request) -> list[str]:
    wrong = [] if image.encrypted else ["not all of its volumes are encrypted"]
    if image.root_size_gib < request.size_gib:
        wrong.append(f"its root volume has {image.root_size_gib} GiB, not {request.size_gib}")
    return wrong


handler = lambda_handler(Request, run)
