"""StopBuilder: shut the builder down cleanly and wait until it is stopped.

Idempotent because StopInstances on a stopping or stopped instance changes nothing, and the wait
sees the state that is there.
"""

from datetime import datetime, timedelta

from bakery import budgets, clock, verdicts, waiting
from bakery.aws import ec2
from bakery.bake import State
from bakery.settings import WaitSettings
from bakery.task import lambda_handler
from bakery.waits import Kind, Wait

BUDGET = timedelta(minutes=15)


class Request(State):
    token: str
    bake: str
    instance_id: str
    recipe: str = ""
    verified: datetime | None = None
    """When VerifyIdentity began."""
    redrives: int = 0


def run(request: Request) -> None:
    """Ask for the stop; the task ends when EC2 reports it, or with BuilderLostError or
    BuilderTakenError: a builder that was started since it was verified is not stopped either."""
    builder, redriven = ec2.find_instance(request.instance_id), request.redrives > 0
    if again := verdicts.started_again(builder, verified=request.verified, redriven=redriven):
        raise again
    ec2.stop(request.instance_id)
    now = clock.now()
    waiting.begin(
        WaitSettings.load().table,
        Wait(
            kind=Kind.STOP,
            target=request.instance_id,
            token=request.token,
            bake=request.bake,
            begun=now,
            expected=now + budgets.STOP_EXPECTED,
            deadline=now + BUDGET,
            label="Stopping the builder",
            recipe=request.recipe,
            verified=request.verified,
            redriven=redriven,
        ),
    )


handler = lambda_handler(Request, run)
