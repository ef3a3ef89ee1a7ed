"""UpdateTemplate: a launch template gets a version with the image, and perhaps a new default.

The version is the latest one with another image. Its description names the bake and the default of
before, so that CleanUp of a bake that fails later can put both back.
Idempotent because a version with this bake's description is adopted.
"""

from bakery import catalogue, launching
from bakery.aws import templates
from bakery.bake import Copied, State
from bakery.task import lambda_handler


class Request(State):
    bake: str
    recipe: str
    region: str
    id: str
    """Of the launch template."""
    copies: tuple[Copied, ...]
    redrives: int = 0


class Result(State):
    version: int | None
    """None: the Region is left out."""


def run(request: Request) -> Result:
    """Make the version, and the default if the recipe says so."""
    image_id = next((it.image_id for it in request.copies if it.region == request.region), None)
    if image_id is None:
        return Result(version=None)
    made = templates.version_by(request.bake, request.id, region=request.region)
    version = (
        made.number
        if made
        else templates.add_version(
            request.id,
            image_id,
            by=request.bake,
            client_token=launching.client_token(
                request.bake, request.id, image_id, request.redrives
            ),
            region=request.region,
        )
    )
    if catalogue.load(request.recipe).publish.default_version:
        templates.set_default(request.id, version, region=request.region)
    return Result(version=version)


handler = lambda_handler(Request, run)
