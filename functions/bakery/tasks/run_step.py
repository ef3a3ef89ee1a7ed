"""RunStep: one step of the recipe.

Idempotent because ``commands.send`` adopts the command of an earlier try.
"""

from bakery import commands
from bakery.bake import State
from bakery.commands import CommandRequest, Kind
from bakery.errors import CustomizationFailedError
from bakery.settings import CommandSettings
from bakery.task import lambda_handler


class Request(State):
    token: str
    bake: str
    recipe: str = ""
    instance_id: str
    index: int
    """Position of the step in the recipe."""


def run(request: Request) -> None:
    """Send the step's document, as Plan pinned it, to the builder.

    The task ends with the command, or with CustomizationFailedError.
    """
    command = commands.of(CommandSettings.load().table, request.bake, Kind.STEPS, request.index)
    commands.send(
        CommandRequest(**request.model_dump(), command=command),
        stage="step",
        error=CustomizationFailedError,
    )


handler = lambda_handler(Request, run)
