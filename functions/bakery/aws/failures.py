"""botocore's errors as the product's."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    IncompleteReadError,
)
from botocore.exceptions import (
    ConnectionError as NoConnectionError,
)

from bakery.errors import (
    AccessDeniedError,
    AwsCallFailedError,
    BakeryError,
    QuotaExceededError,
    ServiceUnavailableError,
    ThrottledError,
)

_THROTTLED = {
    "RequestLimitExceeded",
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "TooManyUpdates",
    "TooManyRequestsException",
    "ProvisionedThroughputExceededException",
    "SnapshotCreationPerVolumeRateExceeded",
}
_DENIED = {
    "UnauthorizedOperation",
    "AccessDenied",
    "AccessDeniedException",
    "OptInRequired",
    "AuthFailure",
    "AuthFailure.ServiceLinkedRoleCreationNotPermitted",
}
_QUOTA = {
    "VcpuLimitExceeded",
    "InstanceLimitExceeded",
    "ResourceLimitExceeded",
    "MaxSpotInstanceCountExceeded",
    "ConcurrentSnapshotLimitExceeded",
    "SnapshotLimitExceeded",
    "VolumeLimitExceeded",
}


_GONE = {
    "InvalidAMIID.NotFound",
    "InvalidAMIID.Unavailable",
    "InvalidInstanceID.NotFound",
    "InvalidSnapshot.NotFound",
    "InvalidSpotInstanceRequestID.NotFound",
    "InvalidVolume.NotFound",
}


def code_of(error: ClientError) -> str:
    """AWS's own error code, e.g. ``InvalidAMIName.Duplicate``."""
    return error.response.get("Error", {}).get("Code", "Unknown")


def is_gone(error: ClientError, look: Callable[[], Sequence[object]]) -> bool:
    """Whether what a call was to end or remove is not there any more.

    EC2 says so, or it refuses: what is gone has no tags, and we may only touch what has ours. AWS
    documents neither, so after a refusal ``look`` finds out. Raises what that is answered if it
    does not find out either, as when it is throttled: then nobody knows yet.
    """
    if code_of(error) != "UnauthorizedOperation":
        return code_of(error) in _GONE
    try:
        return not look()
    except ClientError as answer:
        if code_of(answer) in _GONE:
            return True
        raise


@contextmanager
def translated(call: str, subject: str = "") -> Iterator[None]:
    """Raise what fails inside as a BakeryError that names ``call`` and ``subject``.

    Classes follow ``aws-facts`` section G: throttling and server errors are retryable, all else
    is final.
    """
    what = f"{call} {subject}".strip()
    try:
        yield
    except ClientError as error:
        raise _from_client_error(error, what) from error
    except (NoConnectionError, HTTPClientError, IncompleteReadError) as error:
        # AWS may or may not have acted, which every task tolerates.
        raise ServiceUnavailableError(f"{what}: no answer from AWS: {error}") from error
    except BotoCoreError as error:
        # The SDK has not asked at all, e.g. because a parameter has the wrong shape.
        raise AwsCallFailedError(f"{what} failed before it was sent: {error}") from error


def _from_client_error(error: ClientError, call: str) -> BakeryError:
    code = code_of(error)
    message = error.response.get("Error", {}).get("Message", "")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    text = f"{call} failed: {code}: {message}"
    if code in _THROTTLED:
        return ThrottledError(text)
    if code in _DENIED:
        return AccessDeniedError(
            f"{text} (check the task's role, service control policies and boundaries)"
        )
    if code in _QUOTA:
        return QuotaExceededError(text)
    if status >= 500:
        return ServiceUnavailableError(text)
    return AwsCallFailedError(text)
