"""S3: objects of our own bucket."""

from botocore.exceptions import ClientError

from bakery.aws import clients
from bakery.aws.failures import code_of, translated


def put(bucket: str, key: str, content: bytes, *, media_type: str) -> None:
    """Make the object, or replace it."""
    with translated("s3:PutObject", f"s3://{bucket}/{key}"):
        clients.s3().put_object(Bucket=bucket, Key=key, Body=content, ContentType=media_type)


def get(bucket: str, key: str) -> bytes | None:
    """The object's content, or None if there is none of that key.

    Whoever may not list the bucket is denied instead. Source: S3 API reference, GetObject,
    "Permissions".
    """
    with translated("s3:GetObject", f"s3://{bucket}/{key}"):
        try:
            return clients.s3().get_object(Bucket=bucket, Key=key)["Body"].read()
        except ClientError as error:
            if code_of(error) == "NoSuchKey":
                return None
            raise
