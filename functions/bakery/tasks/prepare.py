"""Prepare: make the builder ready for customization (cloud-init done, package manager free).

Idempotent because ``commands.send`` adopts the command of an earlier try.
"""

from bakery import commands
from bakery.errors import PreparationFailedError
from bakery.task import lambda_handler


def run(request: commands.CommandRequest) -> None:
    """Send ``prepare-linux`` to the builder.

    The task ends with the command, or with PreparationFailedError.
    """
    commands.send(request, stage="prepare", error=PreparationFailedError)


handler = lambda_handler(commands.CommandRequest, run)
