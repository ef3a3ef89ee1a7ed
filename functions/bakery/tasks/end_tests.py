"""EndTests: end the test instances as soon as they have passed, while copies may still take hours.

Idempotent because it ends what is there. What it does not end, CleanUp does.
"""

from bakery.aws import ec2
from bakery.bake import State
from bakery.task import lambda_handler


class Request(State):
    bake: str


def run(request: Request) -> None:
    """Terminate every test instance of the bake."""
    for instance in ec2.test_instances_of_bake(request.bake):
        ec2.terminate(instance.id)


handler = lambda_handler(Request, run)
