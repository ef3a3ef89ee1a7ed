"""The faults of one call: killed before or after it, refused, or done and not answered."""

from collections.abc import Mapping

from scripts.local.faults import Fault, Faults
from tests.functional.faults.points import Point

CRASHES = ("killed before", "killed after")
KINDS = ("throttled", "server error", "lost answer", "denied", "not found")

_SDK_TRIES = 5
"""What `bakery.aws.clients` asks of the SDK: a loss that the product shall see is one of all."""

_THROTTLED = {
    "ec2": ("RequestLimitExceeded", 503),
    "dynamodb": ("ProvisionedThroughputExceededException", 400),
}
_DENIED = {"ec2": ("UnauthorizedOperation", 403)}

_NOT_FOUND: Mapping[str, str] = {
    "DescribeDocument": "InvalidDocument",
    "DescribeExecution": "ExecutionDoesNotExist",
    "DescribeImages": "InvalidAMIID.NotFound",
    "DescribeInstanceTypes": "InvalidInstanceType",
    "DescribeInstances": "InvalidInstanceID.NotFound",
    "DescribeSnapshots": "InvalidSnapshot.NotFound",
    "DescribeSpotInstanceRequests": "InvalidSpotInstanceRequestID.NotFound",
    "DescribeSubnets": "InvalidSubnetID.NotFound",
    "DescribeVolumes": "InvalidVolume.NotFound",
    "CancelSpotInstanceRequests": "InvalidSpotInstanceRequestID.NotFound",
    "CreateImage": "InvalidInstanceID.NotFound",
    "DeleteParameter": "ParameterNotFound",
    "DeleteSnapshot": "InvalidSnapshot.NotFound",
    "DeleteVolume": "InvalidVolume.NotFound",
    "DeregisterImage": "InvalidAMIID.NotFound",
    "GetCommandInvocation": "InvocationDoesNotExist",
    "GetDocument": "InvalidDocument",
    "GetParameter": "ParameterNotFound",
    "GetParameterHistory": "ParameterNotFound",
    "ListCommandInvocations": "InvalidCommandId",
    "RunInstances": "InvalidAMIID.NotFound",
    "SendCommand": "InvalidInstanceId",
    "SendTaskFailure": "TaskDoesNotExist",
    "SendTaskSuccess": "TaskDoesNotExist",
    "StopInstances": "InvalidInstanceID.NotFound",
    "TerminateInstances": "InvalidInstanceID.NotFound",
}
"""What AWS answers while, or because, it does not see what the call names; the rest (tables, buses,
lists) has the services' general ResourceNotFoundException."""


UNREAL = {
    # An image that was current for a while is shown by EC2, or is gone; then it is no way back.
    ("TasksKeepPreviousRole", "DescribeImages", "not found"),
    # A token that Step Functions has just given is known to it.
    ("TasksFailBakeRole", "SendTaskFailure", "not found"),
    ("TasksFailBakeRole", "SendTaskSuccess", "not found"),
}


def inject(faults: Faults, kind: str, point: Point) -> Fault:
    """Let the call fail in this way when the function makes it again."""
    service, operation, skip, role = point.service, point.operation, point.occurrence, point.role
    region = point.region
    match kind:
        case "killed before" | "killed after":
            after = kind == "killed after"
            return faults.crash(role, operation, after=after, skip=skip, region=region)
        case "lost answer":
            return faults.lost_answer(
                service, operation, times=_SDK_TRIES, skip=skip, role=role, region=region
            )
        case "throttled":
            code, status = _THROTTLED.get(service, ("ThrottlingException", 400))
            times = 3.0
        case "server error":
            code, status, times = "InternalError", 500, 3.0
        case "denied":
            code, status = _DENIED.get(service, ("AccessDeniedException", 400))
            times = float("inf")
        case "not found":
            code, status = _NOT_FOUND.get(operation, "ResourceNotFoundException"), 400
            times = 3.0
        case _:
            raise ValueError(kind)
    return faults.error(
        service,
        operation,
        code=code,
        status=status,
        times=times,
        skip=skip,
        role=role,
        region=region,
    )
