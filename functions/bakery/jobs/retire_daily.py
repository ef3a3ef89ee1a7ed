"""Let old images go on days without a bake, too: RetireImages for each recipe and Region.

A bake lets them go at its end, and there may be weeks to the next one. But a grace period ends on
any day, and what EC2 reports on the use of a shared image, a day after one run has asked for it,
says too little a week later: the next run would ask again, and so on for ever.
A recipe that is being baked, or rolled back, is left for the next day: the image of a bake that
will fail counts among the newest.
Idempotent because RetireImages is.
"""

import os
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from bakery import catalogue, leases, planning
from bakery.aws import lambdas
from bakery.errors import BakeryError
from bakery.observability import logger
from bakery.settings import RetireSettings


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> None:
    """Start RetireImages for every recipe that says which images to keep.

    One that cannot be started keeps no other from it; the first error is raised after all, so that
    Lambda tries again.
    """
    settings, home = RetireSettings.load(), os.environ["AWS_REGION"]
    errors: list[BakeryError] = []
    for name, recipe in catalogue.all_recipes().items():
        if recipe.retention is None:
            continue
        try:
            if holder := leases.holder(settings.table, name):
                logger.info("is busy", recipe=name, holder=holder)
                continue
            for region in planning.regions_of(home, recipe):
                lambdas.start(settings.function, {"recipe": name, "region": region})
        except BakeryError as error:
            logger.exception("could not start", recipe=name)
            errors.append(error)
    if errors:
        raise errors[0]
