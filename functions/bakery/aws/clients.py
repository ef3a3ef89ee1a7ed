"""boto3 clients, one of each kind and Region per Lambda environment.

Without a Region: that of the function.
"""

from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_kms import KMSClient
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_ssm import SSMClient
    from mypy_boto3_stepfunctions import SFNClient

# Not "standard": its quota of retries belongs to the client, which outlives an invocation. After a
# few bad minutes of AWS a warm function would not try again at all.
_CONFIG = Config(
    retries={"mode": "legacy", "total_max_attempts": 5}, connect_timeout=5, read_timeout=20
)
# InsufficientInstanceCapacity comes as HTTP 500, so the SDK's own retries would ask the same
# full Availability Zone again and again; the launch task moves on to the next one instead.
_ONE_TRY = Config(retries={"mode": "standard", "total_max_attempts": 1}, read_timeout=60)


@cache
def ec2(region: str | None = None) -> "EC2Client":
    return boto3.client("ec2", region_name=region, config=_CONFIG)


@cache
def ec2_one_try(region: str | None = None) -> "EC2Client":
    return boto3.client("ec2", region_name=region, config=_ONE_TRY)


@cache
def ssm(region: str | None = None) -> "SSMClient":
    return boto3.client("ssm", region_name=region, config=_CONFIG)


@cache
def ssm_one_try() -> "SSMClient":
    """For SendCommand, which has no client token: an SDK retry could run a script twice."""
    return boto3.client("ssm", config=_ONE_TRY)


@cache
def autoscaling(region: str | None = None) -> Any:
    return boto3.client("autoscaling", region_name=region, config=_CONFIG)


@cache
def functions() -> Any:
    return boto3.client("lambda", config=_CONFIG)


@cache
def kms(region: str | None = None) -> "KMSClient":
    return boto3.client("kms", region_name=region, config=_CONFIG)


@cache
def stepfunctions() -> "SFNClient":
    return boto3.client("stepfunctions", config=_CONFIG)


@cache
def dynamodb() -> "DynamoDBClient":
    return boto3.client("dynamodb", config=_CONFIG)


@cache
def events() -> "EventBridgeClient":
    return boto3.client("events", config=_CONFIG)


@cache
def logs() -> "CloudWatchLogsClient":
    return boto3.client("logs", config=_CONFIG)


@cache
def s3() -> "S3Client":
    return boto3.client("s3", config=_CONFIG)
