"""RunTest: one test on a test instance, ours or the recipe's.

Idempotent because ``commands.send`` adopts the command of an earlier try.
"""

from bakery import commands
from bakery.bake import State
from bakery.commands import CommandRequest, Kind
from bakery.errors import TestFailedError
from bakery.settings import CommandSettings
from bakery.task import lambda_handler


class Request(State):
    token: str
    bake: str
    recipe: str = ""
    instance_id: str
    index: int
    """Position among the checks of the plan."""


def run(request: Request) -> None:
    """Send the test's document, as Plan pinned it, to the test instance.

    The task ends with the command; with TestFailedError, which names the test; or with
    TestInstanceLostError.
    """
    command = commands.of(CommandSettings.load().table, request.bake, Kind.TESTS, request.index)
    commands.send(
        CommandRequest(**request.model_dump(), command=command),
        stage=commands.TEST_STAGE,
        error=TestFailedError,
        on_test=True,
    )


handler = lambda_handler(Request, run)
