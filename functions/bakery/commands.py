"""Running one document on the builder: what Prepare, RunStep and the identity tasks share."""

from bakery import clock, verdicts, waiting
from bakery.aws import ec2, ssm
from bakery.bake import Command, State
from bakery.budgets import DELIVERY_SECONDS, of_command
from bakery.errors import BakeryError, NotYetVisibleError
from bakery.settings import CommandSettings
from bakery.waits import Kind, Wait


class CommandRequest(State):
    """What a task that runs a document gets."""

    token: str
    bake: str
    instance_id: str
    command: Command
    index: int = 0
    """Position of the step in the recipe; two steps may run the same document."""


def send(request: CommandRequest, *, stage: str, error: type[BakeryError]) -> None:
    """Send the command and begin to wait for its end; a failure is reported as ``error``.

    Idempotent because the command's comment names bake, stage and index: a second try adopts the
    command that the first one sent, running or ended, instead of running its script again.
    """
    settings = CommandSettings.load()
    command = request.command
    comment = f"{request.bake}/{stage}/{request.index}"
    command_id = ssm.find_command(request.instance_id, comment) or _send(request, settings, comment)
    budget = of_command(command.timeout_seconds)
    now = clock.now()
    waiting.begin(
        settings.table,
        Wait(
            kind=Kind.COMMAND,
            target=command_id,
            token=request.token,
            bake=request.bake,
            begun=now,
            deadline=now + budget,
            instance_id=request.instance_id,
            label=command.label,
            error=error.__name__,
            sentinel=command.sentinel,
        ),
    )


def _send(request: CommandRequest, settings: CommandSettings, comment: str) -> str:
    command = request.command
    try:
        return ssm.send_command(
            instance_id=request.instance_id,
            document=command.document,
            version=command.version,
            content_hash=command.hash,
            parameters=command.parameters,
            comment=comment,
            log_group=settings.command_log_group,
            delivery_seconds=DELIVERY_SECONDS,
        )
    except NotYetVisibleError:
        # Systems Manager knows no instance that is not running: it may be gone for good.
        builder = ec2.find_instance(request.instance_id)
        if lost := verdicts.ended_during(command.label, builder):
            raise lost from None
        raise
