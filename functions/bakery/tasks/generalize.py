"""Generalize: take the builder's own identity off, so that each child makes its own.

Idempotent because ``commands.send`` adopts the command of an earlier try.
"""

from bakery import commands
from bakery.errors import GeneralizationFailedError
from bakery.task import lambda_handler


def run(request: commands.CommandRequest) -> None:
    """Send ``generalize-linux`` to the builder.

    The task ends with the command, or with GeneralizationFailedError.
    """
    commands.send(request, stage="generalize", error=GeneralizationFailedError)


handler = lambda_handler(commands.CommandRequest, run)
