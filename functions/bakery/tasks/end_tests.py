"""EndTests: end the test instances as soon as they have passed, while copies may still take hours.

Idempotent because it ends what is there. What it does not end, CleanUp does.
"""

from bakery import ending
from bakery.bake import State
from bakery.task import lambda_handler


class Request(State):
    bake: str


def run(request: Request) -> None:
    """Terminate every test instance of the bake; one that must not be ended is told by CleanUp."""
    ending.end_tests(request.bake)


handler = lambda_handler(Request, run)
