"""AWS's errors become the product's; the class decides what is tried again."""

from typing import Any

import pytest
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ParamValidationError,
    ReadTimeoutError,
)

from bakery.aws.failures import code_of, is_gone, translated
from bakery.errors import (
    RETRYABLE,
    AccessDeniedError,
    AwsCallFailedError,
    BakeryError,
    NoCapacityError,
    QuotaExceededError,
    ServiceUnavailableError,
    ThrottledError,
)


def refused(code: str, status: int = 400, message: str = "no") -> ClientError:
    return ClientError(
        {
            "Error": {"Code": code, "Message": message},
            "ResponseMetadata": {
                "HTTPStatusCode": status,
                "RequestId": "r",
                "HostId": "",
                "HTTPHeaders": {},
                "RetryAttempts": 0,
            },
        },
        "RunInstances",
    )


def translation(error: Exception, subject: str = "i-1") -> BakeryError:
    with pytest.raises(BakeryError) as raised, translated("ec2:RunInstances", subject):
        raise error
    return raised.value


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("RequestLimitExceeded", 503, ThrottledError),
        ("Throttling", 400, ThrottledError),
        ("ThrottlingException", 400, ThrottledError),
        ("TooManyUpdates", 400, ThrottledError),
        ("ProvisionedThroughputExceededException", 400, ThrottledError),
        ("SnapshotCreationPerVolumeRateExceeded", 400, ThrottledError),
        ("InternalError", 500, ServiceUnavailableError),
        ("InternalFailure", 500, ServiceUnavailableError),
        ("Unavailable", 503, ServiceUnavailableError),
        ("ServiceUnavailable", 503, ServiceUnavailableError),
        ("InternalServerError", 500, ServiceUnavailableError),
        ("VcpuLimitExceeded", 400, QuotaExceededError),
        ("InstanceLimitExceeded", 400, QuotaExceededError),
        ("ResourceLimitExceeded", 400, QuotaExceededError),
        ("ConcurrentSnapshotLimitExceeded", 400, QuotaExceededError),
        ("UnauthorizedOperation", 403, AccessDeniedError),
        ("AccessDenied", 403, AccessDeniedError),
        ("AccessDeniedException", 400, AccessDeniedError),
        ("OptInRequired", 403, AccessDeniedError),
        ("AuthFailure", 401, AccessDeniedError),
        ("IdempotentParameterMismatch", 400, AwsCallFailedError),
        ("IdempotentInstanceTerminated", 400, AwsCallFailedError),
        ("InvalidAMIName.Duplicate", 400, AwsCallFailedError),
        ("InvalidAMIName.Malformed", 400, AwsCallFailedError),
        ("InvalidParameterValue", 400, AwsCallFailedError),
        ("InvalidParameterCombination", 400, AwsCallFailedError),
        ("InvalidBlockDeviceMapping", 400, AwsCallFailedError),
        ("IncorrectInstanceState", 400, AwsCallFailedError),
        ("InvalidAMIID.Unavailable", 400, AwsCallFailedError),
        ("OperationNotPermitted", 400, AwsCallFailedError),
        ("InvalidSnapshot.InUse", 400, AwsCallFailedError),
        ("Something.New", 400, AwsCallFailedError),
        ("Something.New", 502, ServiceUnavailableError),
    ],
)
def test_an_answer_of_aws_becomes_the_error_that_says_what_to_do(
    code: str, status: int, kind: type[BakeryError]
) -> None:
    assert type(translation(refused(code, status))) is kind


@pytest.mark.parametrize(
    "error",
    [
        EndpointConnectionError(endpoint_url="https://ec2"),
        ConnectTimeoutError(endpoint_url="https://ec2"),
        ReadTimeoutError(endpoint_url="https://ec2"),
        ConnectionClosedError(endpoint_url="https://ec2"),
    ],
)
def test_no_answer_at_all_is_worth_another_try(error: BotoCoreError) -> None:
    found = translation(error)
    assert type(found).__name__ in RETRYABLE
    assert str(found).startswith("ec2:RunInstances i-1: no answer from AWS: ")


@pytest.mark.parametrize("error", [ParamValidationError(report="bad"), NoCredentialsError()])
def test_a_call_that_was_never_sent_is_not_tried_again(error: BotoCoreError) -> None:
    found = translation(error)
    assert type(found) is AwsCallFailedError
    assert str(error) in str(found)


def test_the_message_names_the_call_its_subject_and_what_aws_said() -> None:
    found = translation(refused("InvalidParameterValue", message="Value (x) is invalid"))
    assert str(found) == (
        "ec2:RunInstances i-1 failed: InvalidParameterValue: Value (x) is invalid"
    )
    assert str(translation(refused("X"), subject="")).startswith("ec2:RunInstances failed: X")


def test_a_denied_call_says_where_to_look() -> None:
    assert "service control policies" in str(translation(refused("UnauthorizedOperation", 403)))


def test_the_original_error_stays_as_the_cause() -> None:
    error = refused("X")
    assert translation(error).__cause__ is error


def test_an_error_of_ours_passes_unchanged() -> None:
    error = NoCapacityError("full")
    assert translation(error) is error


def test_a_defect_is_not_disguised_as_an_answer_of_aws() -> None:
    with pytest.raises(KeyError), translated("ec2:RunInstances"):
        raise KeyError("Instances")


def test_an_error_without_a_code_is_unknown() -> None:
    assert code_of(refused("InvalidAMIID.NotFound")) == "InvalidAMIID.NotFound"
    assert code_of(ClientError({}, "RunInstances")) == "Unknown"


@pytest.mark.parametrize(
    ("code", "look", "expected"),
    [
        ("InvalidAMIID.NotFound", None, True),
        ("InvalidSnapshot.NotFound", None, True),
        ("InvalidVolume.NotFound", None, True),
        ("InvalidSnapshot.InUse", None, False),
        # Refused: what is gone has no tag of ours.
        ("UnauthorizedOperation", [], True),
        ("UnauthorizedOperation", "InvalidAMIID.NotFound", True),
        ("UnauthorizedOperation", [{"ImageId": "ami-1"}], False),
    ],
)
def test_what_is_gone_need_not_be_removed(code: str, look: Any, expected: bool) -> None:
    def looking() -> list[object]:
        assert look is not None, "EC2 had told"
        if isinstance(look, str):
            raise refused(look)
        return list(look)

    assert is_gone(refused(code), looking) is expected


@pytest.mark.parametrize(
    ("answer", "error"),
    [("RequestLimitExceeded", ThrottledError), ("UnauthorizedOperation", AccessDeniedError)],
)
def test_whether_it_is_gone_nobody_knows_while_the_look_is_refused(
    answer: str, error: type[BakeryError]
) -> None:
    """The class of its own answer decides whether it is tried again, and its words are told."""
    looked = refused(answer, message="is not authorized to perform: ec2:DescribeSnapshots")

    def looking() -> list[object]:
        raise looked

    told = pytest.raises(error, match="DeleteSnapshot .*DescribeSnapshots")
    with told, translated("ec2:DeleteSnapshot", "snap-1"):
        is_gone(refused("UnauthorizedOperation"), looking)
