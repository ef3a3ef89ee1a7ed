"""ReleaseImage: once the image has passed its tests, let others in a Region use it.

Hardens the copy like the image itself, gives it its day of deprecation, and shares it and its
snapshots with whom the recipe names. Idempotent because setting what is set changes nothing.
"""

import os
from datetime import timedelta

from bakery import catalogue, clock, planning
from bakery.aws import ec2
from bakery.bake import State
from bakery.errors import NotYetVisibleError
from bakery.task import lambda_handler


class Request(State):
    recipe: str
    region: str
    image_id: str | None
    """None: the Region is left out."""


def run(request: Request) -> None:
    """Set everything and read IMDSv2 back; raises NotYetVisibleError until EC2 shows it."""
    if request.image_id is None:
        return
    recipe, region = catalogue.load(request.recipe), request.region
    place = planning.destination(recipe, region)
    if region != os.environ["AWS_REGION"]:
        ec2.require_imdsv2(request.image_id, region=region)
    days = recipe.retention.deprecate_after_days if recipe.retention else None
    if days:
        moment = clock.now() + timedelta(days=days)
        ec2.deprecate_image(request.image_id, moment, region=region)
    found = ec2.find_images([request.image_id], region=region)
    if not found or found[0].imds is None:
        raise NotYetVisibleError(f"EC2 does not show IMDSv2 on {request.image_id} in {region} yet")
    ec2.share_image(
        found[0], accounts=place.accounts, organizations=place.organizations, region=region
    )


handler = lambda_handler(Request, run)
