"""EndTests: end the test instances as soon as they have passed, while copies may still take hours.

Idempotent because it ends what is there. What it does not end, CleanUp does.
"""

from bakery.aws import ec2
from bakery.bake import State
from bakery.errors import RETRYABLE, BakeryError
from bakery.observability import logger
from bakery.task import lambda_handler


class Request(State):
    bake: str


def run(request: Request) -> None:
    """Terminate every test instance of the bake; one that must not be ended is told by CleanUp."""
    for instance in ec2.test_instances_of_bake(request.bake):
        try:
            ec2.terminate(instance.id)
        except BakeryError as error:
            if type(error).__name__ in RETRYABLE:
                raise
            logger.exception("could not end", instance=instance.id)


handler = lambda_handler(Request, run)
