"""ReleaseImages: once the image has passed its tests, let others use it in every Region.

Hardens the copies like the image itself, gives them their day of deprecation, and shares them and
their snapshots with whom the recipe names. Idempotent because setting what is set changes nothing.
"""

import os
from datetime import timedelta

from bakery import catalogue, clock, planning
from bakery.aws import ec2
from bakery.bake import Copied, State
from bakery.errors import NotYetVisibleError
from bakery.recipe import Recipe
from bakery.task import lambda_handler


class Request(State):
    bake: str
    recipe: str
    copies: tuple[Copied, ...]


def run(request: Request) -> None:
    """Set everything and read IMDSv2 back; raises NotYetVisibleError until EC2 shows it."""
    recipe = catalogue.load(request.recipe)
    for copy in request.copies:
        if copy.image_id:
            _release(recipe, copy.image_id, copy.region)


def _release(recipe: Recipe, image_id: str, region: str) -> None:
    place = planning.destination(recipe, region)
    if region != os.environ["AWS_REGION"]:
        ec2.require_imdsv2(image_id, region=region)
    days = recipe.retention.deprecate_after_days if recipe.retention else None
    if days:
        ec2.deprecate_image(image_id, clock.now() + timedelta(days=days), region=region)
    found = ec2.find_images([image_id], region=region)
    if not found or found[0].imds is None:
        raise NotYetVisibleError(f"EC2 does not show IMDSv2 on {image_id} in {region} yet")
    ec2.share_image(
        found[0], accounts=place.accounts, organizations=place.organizations, region=region
    )


handler = lambda_handler(Request, run)
