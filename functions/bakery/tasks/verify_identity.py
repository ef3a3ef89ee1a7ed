"""VerifyIdentity: prove, read-only and last before the stop, that no residue is left.

Idempotent because ``commands.send`` adopts the command of an earlier try.
"""

from bakery import commands
from bakery.errors import IdentityLeftError
from bakery.task import lambda_handler


def run(request: commands.CommandRequest) -> None:
    """Send ``verify-identity`` to the builder; a residue fails the bake by name.

    The task ends with the command, or with IdentityLeftError.
    """
    commands.send(request, stage="verify-identity", error=IdentityLeftError)


handler = lambda_handler(commands.CommandRequest, run)
