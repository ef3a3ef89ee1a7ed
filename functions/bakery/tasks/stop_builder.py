"""StopBuilder: shut the builder down cleanly and wait until it is stopped.

A Windows builder that is to be generalized with Sysprep is shut down by that, see
``bakery.sysprep``; nobody else stops it, and nobody starts it again before it is imaged.

Idempotent because StopInstances on a stopping or stopped instance changes nothing, the command that
starts Sysprep is found by its comment, and the wait sees the state that is there. Only a redriven
bake starts Sysprep once more, on a builder that the failed one has left running.
"""

from datetime import datetime, timedelta

from bakery import budgets, clock, commands, sysprep, verdicts, waiting
from bakery.aws import ec2, ssm
from bakery.bake import Command, State
from bakery.commands import CommandRequest
from bakery.resources import Instance
from bakery.settings import CommandSettings, WaitSettings
from bakery.task import lambda_handler
from bakery.waits import Kind, Wait

BUDGET = timedelta(minutes=15)

_STAGE = "sysprep"


class Request(State):
    token: str
    bake: str
    instance_id: str
    recipe: str = ""
    verified: datetime | None = None
    """When VerifyIdentity began."""
    redrives: int = 0
    sysprep: Command | None = None
    """What starts Sysprep, which then stops the builder."""


def run(request: Request) -> None:
    """Ask for the stop, or start Sysprep; the task ends when EC2 reports the stop, or with
    BuilderLostError, BuilderTakenError or GeneralizationFailedError. A builder that was started
    since it was verified is not stopped either."""
    builder, redriven = ec2.find_instance(request.instance_id), request.redrives > 0
    if again := verdicts.started_again(builder, verified=request.verified, redriven=redriven):
        raise again
    if request.sysprep:
        wait = _sysprep(request, request.sysprep, builder)
    else:
        ec2.stop(request.instance_id)
        wait = _wait(request, "Stopping the builder", budgets.STOP_EXPECTED, BUDGET)
    waiting.begin(WaitSettings.load().table, wait)


def _sysprep(request: Request, command: Command, builder: Instance | None) -> Wait:
    settings = CommandSettings.load()
    sent = CommandRequest(
        token=request.token,
        bake=request.bake,
        instance_id=request.instance_id,
        command=command,
        index=request.redrives,
        recipe=request.recipe,
    )
    started = _that_came_late(request, builder) or commands.start(sent, settings, stage=_STAGE)
    wait = _wait(request, command.label, budgets.SYSPREP_EXPECTED, budgets.SYSPREP)
    update = {
        "instance_id": request.instance_id,
        "sentinel": sysprep.mark(request.bake),
        "sysprep": started,
        "log_group": settings.command_log_group,
    }
    return wait.model_copy(update=update)


def _that_came_late(request: Request, builder: Instance | None) -> str | None:
    """The newest command of a redriven bake whose stop was late, and has come since."""
    if builder is None or builder.state not in ("stopping", "stopped"):
        return None
    comments = (
        commands.comment_of(request.bake, _STAGE, index)
        for index in range(request.redrives, -1, -1)
    )
    found = (ssm.find_command(request.instance_id, comment) for comment in comments)
    return next((command for command in found if command), None)


def _wait(request: Request, label: str, expected: timedelta, budget: timedelta) -> Wait:
    now = clock.now()
    return Wait(
        kind=Kind.STOP,
        target=request.instance_id,
        token=request.token,
        bake=request.bake,
        begun=now,
        expected=now + expected,
        deadline=now + budget,
        label=label,
        recipe=request.recipe,
        verified=request.verified,
        redriven=request.redrives > 0,
    )


handler = lambda_handler(Request, run)
