"""The end of a bake's test instances, before CleanUp sees to what is left of them."""

from bakery.aws import ec2
from bakery.errors import RETRYABLE, BakeryError
from bakery.observability import logger
from bakery.resources import Instance


def end_tests(bake: str) -> list[Instance]:
    """Terminate every test instance of the bake; safe to repeat.

    Returns those that must not be ended: any may be anybody's that has the tags of one, and CleanUp
    tells it. Raises a retryable error of AWS at once.
    """
    left: list[Instance] = []
    for instance in ec2.test_instances_of_bake(bake):
        try:
            ec2.terminate(instance.id)
        except BakeryError as error:
            if type(error).__name__ in RETRYABLE:
                raise
            logger.exception("could not end", instance=instance.id)
            left.append(instance)
    return left
