"""Executions of the mover that are stopped by hand half way: what they had done stays so."""

from collections.abc import Callable

from scripts.local.faults import Predicate
from tests.functional.conftest import World

ROLE = "MoverMovePointerRole"


def cut_short(
    world: World,
    start: Callable[[], str],
    operation: str,
    *,
    skip: int = 0,
    when: Predicate | None = None,
) -> str:
    """Start an execution, and stop it, and its function, when a call has had its effect; its ARN.

    That call must be one that nobody but the mover makes meanwhile.
    """
    states = world.aws.client("stepfunctions")

    def stop() -> None:
        running = states.list_executions(
            stateMachineArn=world.outputs["MoveStateMachineArn"], statusFilter="RUNNING"
        )["executions"]
        states.stop_execution(executionArn=running[0]["executionArn"], cause="by hand")

    stopped = world.aws.faults.after("*", operation, stop, when=when)
    stopped.skip, stopped.role = skip, ROLE
    killed = world.aws.faults.crash(ROLE, operation, after=True, skip=skip)
    killed.when = when
    arn = start()
    assert world.ended(arn).status == "ABORTED"
    world.aws.until(lambda: world.aws.lambdas.idle, what="the end of all functions")
    assert (stopped.matched, killed.matched) == (1, 1)
    return arn


def redriven(world: World, arn: str) -> None:
    world.aws.client("stepfunctions").redrive_execution(executionArn=arn)
