"""UpdateTemplates: each launch template gets a version with the image, and perhaps a new default.

A version is like the latest one, or like the default if it is to become that, with another image.
Its description names the bake and the default of before, so that CleanUp of a bake that fails later
can put both back.
Idempotent because a version with this bake's description is adopted.
"""

from bakery import catalogue, launching, redriving
from bakery.aws import templates
from bakery.bake import Template
from bakery.redriving import Publication
from bakery.task import lambda_handler


class Request(Publication):
    templates: tuple[Template, ...]


def run(request: Request) -> None:
    """Make the versions, and the defaults if the recipe says so; not in a Region left out. See
    ``redriving.check``."""
    redriving.check(request)
    images = {copy.region: copy.image_id for copy in request.copies if copy.image_id}
    default = catalogue.load(request.recipe).publish.default_version
    for it in request.templates:
        if it.region in images:
            _update(request, it, images[it.region], default=default)


def _update(request: Request, template: Template, image_id: str, *, default: bool) -> None:
    templates.give_version(
        template.id,
        image_id,
        by=request.bake,
        client_token=launching.client_token(request.bake, template.id, image_id, request.redrives),
        default=default,
        region=template.region,
    )


handler = lambda_handler(Request, run)
