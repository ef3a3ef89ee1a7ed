"""RemoveIdentity: take the OpsWorks agent, Chef and their remains off the builder.

Idempotent because ``commands.send`` adopts the command of an earlier try.
"""

from bakery import commands
from bakery.errors import IdentityRemovalFailedError
from bakery.task import lambda_handler


def run(request: commands.CommandRequest) -> None:
    """Send ``remove-opsworks-identity`` to the builder.

    The task ends with the command, or with IdentityRemovalFailedError.
    """
    commands.send(request, stage="remove-identity", error=IdentityRemovalFailedError)


handler = lambda_handler(commands.CommandRequest, run)
