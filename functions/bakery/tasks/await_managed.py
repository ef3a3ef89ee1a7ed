"""AwaitManaged: look whether the builder reports to Systems Manager yet.

The agent's registration sends no event, so this state polls: it raises NotManagedYetError, which
the machine retries at a steady pace, until the time budget of the builder's platform is used up,
and then NotManagedError, which nobody retries.
Idempotent because it only reads.
"""

from datetime import datetime

from bakery import budgets, clock, verdicts
from bakery.aws import ec2, ssm
from bakery.bake import State
from bakery.errors import NotManagedError, NotManagedYetError
from bakery.resources import Instance
from bakery.task import lambda_handler

_CLONE_HINT = (
    " A clone of a host reaches only what the context clone_egress names; and it does not boot if "
    "its /etc/fstab wants a volume that the image has not, without nofail (bakery inspect tells)."
)
_GONE = {"shutting-down", "terminated", "stopping", "stopped"}


class Request(State):
    instance_id: str
    entered: datetime
    """When the machine entered the state, the same for all tries."""
    windows: bool = False
    isolated: bool = False
    """Whether it is the clone of a host."""


class Result(State):
    agent_version: str
    platform: str
    platform_version: str


def run(request: Request) -> Result:
    """Return once the agent is online.

    Raises NotManagedYetError while it is not, NotManagedError when its time is up, BuilderLostError
    or BuilderTakenError when the builder is gone: an instance can end seconds after launch, e.g.
    when its volume's key cannot be used.
    """
    builder = ec2.find_instance(request.instance_id)
    if builder is not None and builder.state in _GONE:
        raise verdicts.loss(builder)(
            f"Builder {builder.id} is {builder.state} before it came up: "
            f"{builder.reason_code}: {builder.reason or 'EC2 gives no reason'}{_hint(builder)}"
        )
    managed = ssm.managed_instance(request.instance_id)
    if managed is None or managed.ping != "Online":
        raise _not_managed(request)
    return Result(
        agent_version=managed.agent_version,
        platform=managed.platform,
        platform_version=managed.platform_version,
    )


def _not_managed(request: Request) -> NotManagedYetError | NotManagedError:
    text = f"Builder {request.instance_id} has not reported to Systems Manager"
    budget = budgets.of_agent(windows=request.windows)
    if clock.now() < request.entered + budget:
        return NotManagedYetError(f"{text} yet.")
    return NotManagedError(
        f"{text} within {budget.seconds // 60} minutes. The image must carry the SSM agent (on "
        "Linux 2.3.814 or later, for IMDSv2), and the subnet must reach the endpoints ssm and "
        "ssmmessages, through a NAT gateway, a public address or VPC endpoints."
        f"{_CLONE_HINT if request.isolated else ''}"
    )


def _hint(builder: Instance) -> str:
    """Why a spot builder ends where an on-demand one would not."""
    if not builder.spot or not builder.reason_code.startswith("Client."):
        return ""
    return (
        ". If its volumes or its base image have a customer managed key: the role "
        "AWSServiceRoleForEC2Spot needs a grant for that key"
    )


handler = lambda_handler(Request, run)
