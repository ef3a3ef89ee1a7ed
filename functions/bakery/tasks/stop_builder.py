"""StopBuilder: shut the builder down cleanly and wait until it is stopped.

Idempotent because StopInstances on a stopping or stopped instance changes nothing, and the wait
sees the state that is there.
"""

from datetime import timedelta

from bakery import budgets, clock, waiting
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


def run(request: Request) -> None:
    """Ask for the stop; the task ends when EC2 reports it, or with BuilderLostError or
    BuilderTakenError."""
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
        ),
    )


handler = lambda_handler(Request, run)
