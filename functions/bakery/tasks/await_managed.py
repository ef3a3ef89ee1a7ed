"""AwaitManaged: look whether the builder reports to Systems Manager yet.

The agent's registration sends no event, so this is the one state that polls: it raises
NotManagedError, which the machine retries at a steady pace until the time budget is used up.
Idempotent because it only reads.
"""

from bakery import verdicts
from bakery.aws import ec2, ssm
from bakery.bake import State
from bakery.errors import NotManagedError
from bakery.resources import Instance
from bakery.task import lambda_handler

_CLONE_HINT = (
    " A clone of a host reaches only what the context clone_egress names; and it does not boot if "
    "its /etc/fstab wants a volume that the image has not, without nofail (bakery inspect tells)."
)
_GONE = {"shutting-down", "terminated", "stopping", "stopped"}


class Request(State):
    instance_id: str
    isolated: bool = False
    """Whether it is the clone of a host."""


class Result(State):
    agent_version: str
    platform: str
    platform_version: str


def run(request: Request) -> Result:
    """Return once the agent is online.

    Raises NotManagedError while it is not, BuilderLostError or BuilderTakenError when the builder
    is gone: an instance can end seconds after launch, e.g. when its volume's key cannot be used.
    """
    builder = ec2.find_instance(request.instance_id)
    if builder is not None and builder.state in _GONE:
        raise verdicts.loss(builder)(
            f"Builder {builder.id} is {builder.state} before it came up: "
            f"{builder.reason_code}: {builder.reason or 'EC2 gives no reason'}{_hint(builder)}"
        )
    managed = ssm.managed_instance(request.instance_id)
    if managed is None or managed.ping != "Online":
        raise NotManagedError(
            f"Builder {request.instance_id} has not reported to Systems Manager. The image must "
            "carry the SSM agent, and the subnet must reach the endpoints ssm and ssmmessages, "
            "through a NAT gateway, a public address or VPC endpoints."
            f"{_CLONE_HINT if request.isolated else ''}"
        )
    return Result(
        agent_version=managed.agent_version,
        platform=managed.platform,
        platform_version=managed.platform_version,
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
