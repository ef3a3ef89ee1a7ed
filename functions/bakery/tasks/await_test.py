"""AwaitTest: look whether the test instance has booted and reports to Systems Manager.

Like AwaitManaged it polls, by the machine's Retry, because the agent's registration sends no event.
Idempotent because it only reads.
"""

from datetime import datetime

from bakery import budgets, clock
from bakery.aws import ec2, ssm
from bakery.bake import State
from bakery.errors import (
    BakeryError,
    NotManagedYetError,
    TestFailedError,
    TestInstanceLostError,
)
from bakery.resources import Instance
from bakery.task import lambda_handler

_GONE = {"shutting-down", "terminated", "stopping", "stopped"}
_BY_OTHERS = ("Server.", "Client.UserInitiated")


class Request(State):
    instance_id: str
    entered: datetime
    """When the machine entered the state, the same for all tries."""
    windows: bool = False


class Result(State):
    agent_version: str


def run(request: Request) -> Result:
    """Return once the agent is online.

    Raises NotManagedYetError while it is not, and TestFailedError when the instance has ended by
    itself, or the agent is not there in time: then the image does not boot, or not to the end.
    TestInstanceLostError when somebody, or AWS, has ended the instance.
    """
    instance = ec2.find_instance(request.instance_id)
    if instance is not None and instance.state in _GONE:
        raise _ended(instance)
    managed = ssm.managed_instance(request.instance_id)
    if managed is not None and managed.ping == "Online":
        return Result(agent_version=managed.agent_version)
    text = f"test instance {request.instance_id} has not reported to Systems Manager"
    budget = budgets.of_agent(windows=request.windows)
    if clock.now() < request.entered + budget:
        raise NotManagedYetError(f"The {text} yet")
    if instance is None:
        # EC2 shows an instance for about an hour after its end, and no longer.
        raise TestInstanceLostError(
            f"Test instance {request.instance_id} is not there any more. Start the bake again."
        )
    raise TestFailedError(
        f"Test 'it boots' failed: {text} within {budget.seconds // 60} minutes, though the builder "
        "had. What the bake has done to the image keeps it from booting, from the network, or the "
        "agent from starting. Bake with on_failure: keep, and look at its console output."
    )


def _ended(instance: Instance) -> BakeryError:
    """Of one that another hand has ended nothing is known about the image: a bake that was stopped,
    and is redriven, finds that the janitor has. Source: EC2 API reference, StateReason."""
    how = f"{instance.reason_code}: {instance.reason or 'EC2 gives no reason'}"
    if instance.reason_code.startswith(_BY_OTHERS):
        return TestInstanceLostError(
            f"Test instance {instance.id} is {instance.state}: {how}. Start the bake again."
        )
    return TestFailedError(
        f"Test 'it boots' failed: test instance {instance.id} is {instance.state}: {how}"
    )


handler = lambda_handler(Request, run)
