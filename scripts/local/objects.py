"""aws:downloadContent from S3: the agent's reading of the object's URL, the instance role's rights,
and the objects that a user brings along."""

from __future__ import annotations

import re
import urllib.parse
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from scripts.local import moto_seam
from scripts.local.conditions import context
from scripts.local.download import DownloadError, Fetch, fetch_http
from scripts.local.errors import AwsError
from scripts.local.policies import evaluate, statements_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from scripts.local.calls import Answer, Call, Handler

_ENDPOINT = re.compile(r"(?:(?P<bucket>.+)\.)?s3[.-](?P<region>[a-z0-9-]+)\.")


def bucket_and_key(url: str) -> tuple[str, str]:
    """What the agent takes an object's URL for (`agent/s3util/s3uri.go`)."""
    # A + is a space to the agent, as in S3's own URLs: one that belongs to a key comes as %2B.
    parts = urllib.parse.urlsplit(url.replace("+", "%20"))
    endpoint = _ENDPOINT.match(parts.netloc)
    if endpoint is None:
        raise DownloadError(f"invalid S3 path parameter: {url}")
    path = urllib.parse.unquote(parts.path).removeprefix("/")
    if endpoint["bucket"]:
        return endpoint["bucket"], path
    bucket, _, key = path.partition("/")
    return bucket, key


def fetcher(client: Callable[[], Any]) -> Fetch:
    """Fetch from S3 by a client that has the instance role's rights, and else over HTTP."""

    def fetch(kind: str, info: Mapping[str, Any]) -> bytes:
        if kind != "S3":
            return fetch_http(kind, info)
        bucket, key = bucket_and_key(str(info["path"]))
        if not key or key.endswith("/"):
            raise DownloadError(f"{info['path']}: the local runner downloads files, not folders")
        try:
            # Is it a folder? Agents before 3.1 give up when they may not ask; so do we.
            client().list_objects(Bucket=bucket, Prefix=f"{key}/")
            return bytes(client().get_object(Bucket=bucket, Key=key)["Body"].read())
        except ClientError as error:
            raise DownloadError(f"s3://{bucket}/{key}: {_reason(error)}") from error

    return fetch


def reading(may: Callable[[Call, str, str], bool]) -> dict[str, Handler]:
    """S3's answers about objects that are not there, which moto gives to everybody alike."""

    def read(call: Call) -> Answer:
        raw = call.proceed()
        bucket = f"arn:aws:s3:::{call.get('Bucket')}"
        missing = raw.status == 404 and moto_seam.error_code(raw) != "NoSuchBucket"
        if missing and not may(call, "s3:ListBucket", bucket):
            # Else somebody without the right to list a bucket could find out what is in it.
            raise AwsError("AccessDenied", "Access Denied", 403)
        return raw

    return {"GetObject": read, "HeadObject": read}


def permission(bucket: Any, action: str, resource: str) -> Any:
    """What a bucket's policy says, in place of moto's ``FakeBucket.get_permission``, to which a
    Deny whose condition does not hold is one all the same. Every request here came over TLS."""
    from moto.iam.access_control import PermissionResult

    documents = [bucket.policy.decode()] if bucket.policy else []
    keys = context({"aws:SecureTransport": True, "s3:TlsVersion": "1.3"})
    decision = evaluate(statements_of(documents), action, resource, keys)
    denied = not decision.allowed and "explicit deny" in decision.reason
    return PermissionResult.DENIED if denied else PermissionResult.NEUTRAL


def fill(client: Any, folder: Path, region: str) -> None:
    """Make a bucket of each folder in `folder`, and an object of each file below that."""
    # us-east-1 is the one Region that must not be named.
    place = {"LocationConstraint": region}
    where = {} if region == "us-east-1" else {"CreateBucketConfiguration": place}
    for bucket in sorted(path for path in folder.iterdir() if path.is_dir()):
        client.create_bucket(Bucket=bucket.name, **where)
        for file in sorted(path for path in bucket.rglob("*") if path.is_file()):
            key = file.relative_to(bucket).as_posix()
            client.put_object(Bucket=bucket.name, Key=key, Body=file.read_bytes())


def _reason(error: ClientError) -> str:
    answer = error.response["Error"]
    text = f"{answer.get('Code')}: {answer.get('Message')}"
    if answer.get("Code") in ("NoSuchBucket", "NoSuchKey"):
        text += "; put the file to FOLDER/<bucket>/<key> and say `bakery --local --objects FOLDER`"
    return text
