"""RemoveIdentity: take the OpsWorks agent, Chef and their remains off the builder.

Idempotent because ``commands.send`` adopts the command of an earlier try.
"""

from bakery import commands
from bakery.aws import stepfunctions
from bakery.bake import Command, State
from bakery.commands import CommandRequest
from bakery.errors import IdentityRemovalFailedError
from bakery.task import lambda_handler


class Request(State):
    token: str
    bake: str
    recipe: str = ""
    instance_id: str
    command: Command | None
    """None: there is nothing to remove, as on Windows."""
    index: int = 0


def run(request: Request) -> None:
    """Send ``remove-opsworks-identity`` to the builder, if the plan asks for it.

    The task ends with the command, or with IdentityRemovalFailedError; without one at once.
    """
    if request.command is None:
        stepfunctions.succeed(request.token, {"command_id": ""})
        return
    sent = CommandRequest(**request.model_dump())
    commands.send(sent, stage="remove-identity", error=IdentityRemovalFailedError)


handler = lambda_handler(Request, run)
