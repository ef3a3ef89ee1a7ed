"""Bake what builds on an image that was published: start each recipe that has it as its base.

Driven by our own event ``Bake Succeeded``, so a bake that changed nothing starts nothing. The bakes
that it starts announce their ends, and so a chain goes on. The event is only a hint: each of them
looks at the pointer itself, and ends as ``unchanged`` if it has that image as its base already.
Idempotent because the name of an execution tells recipe and base image, and Step Functions takes a
name once in 90 days.
"""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from bakery import catalogue
from bakery.aws import stepfunctions
from bakery.errors import BakeryError
from bakery.naming import dependent_bake
from bakery.observability import logger
from bakery.settings import DependentsSettings


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> None:
    """Start a bake of every recipe that follows the one of the event.

    One that cannot be started keeps no other from it; the first error is raised after all, so that
    Lambda tries again.
    """
    baked, image = event["detail"]["recipe"], event["detail"]["image"]["id"]
    machine = DependentsSettings.load().machine
    errors: list[BakeryError] = []
    for recipe in catalogue.followers(baked):
        name = dependent_bake(recipe, image)
        try:
            # Whatever the recipe says: to be refused would leave it on the old base image.
            new = stepfunctions.start(machine, name, {"recipe": recipe, "when_busy": "queue"})
        except BakeryError as error:
            logger.exception("could not start", bake=name)
            errors.append(error)
        else:
            logger.info("started" if new else "was started before", bake=name)
    if errors:
        raise errors[0]
