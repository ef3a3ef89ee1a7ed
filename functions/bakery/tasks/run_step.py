"""RunStep: one step of the recipe.

Idempotent because ``commands.send`` adopts the command of an earlier try.
"""

from bakery import commands
from bakery.errors import CustomizationFailedError
from bakery.task import lambda_handler


def run(request: commands.CommandRequest) -> None:
    """Send the step's document to the builder.

    The task ends with the command, or with CustomizationFailedError.
    """
    commands.send(request, stage="step", error=CustomizationFailedError)


handler = lambda_handler(commands.CommandRequest, run)
