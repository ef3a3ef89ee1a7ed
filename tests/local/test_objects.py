"""Downloads from S3: the agent's reading of a URL, with the rights of the instance's role."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from scripts.local.download import DownloadError
from scripts.local.hosts import HereHost
from scripts.local.objects import bucket_and_key, fetcher, fill
from tests.local.bench import refused

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from scripts.local import LocalAws
    from scripts.local.machines import Machine
    from tests.local.bench import Bench

BUCKET = "artefacts"
ARCHIVE = b"\x1f\x8b\x00\xff archive\n"
KEY = "app/1.0+b=2/app.tar.gz"
URL = f"https://s3.us-east-1.amazonaws.com/{BUCKET}/{KEY.replace('+', '%2B')}"


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("https://s3.amazonaws.com/b/k", ("b", "k")),
        ("https://s3.eu-west-1.amazonaws.com/b/a/k.tar.gz", ("b", "a/k.tar.gz")),
        ("https://s3-eu-west-1.amazonaws.com/b/k", ("b", "k")),
        ("https://s3.cn-north-1.amazonaws.com.cn/b/k", ("b", "k")),
        ("https://b.s3.eu-west-1.amazonaws.com/a/k", ("b", "a/k")),
        ("https://my.bucket.s3.amazonaws.com/k", ("my.bucket", "k")),
        ("https://s3.amazonaws.com/b/a%2Bb", ("b", "a+b")),
        ("https://s3.amazonaws.com/b/a+b", ("b", "a b")),
        ("https://s3.amazonaws.com/b", ("b", "")),
    ],
)
def test_a_url_is_read_as_the_agent_reads_it(url: str, found: tuple[str, str]) -> None:
    assert bucket_and_key(url) == found


@pytest.mark.parametrize("url", ["https://example.com/b/k", "s3://b/k", "b/k"])
def test_other_urls_are_no_objects(url: str) -> None:
    with pytest.raises(DownloadError, match="invalid S3 path"):
        bucket_and_key(url)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    file = tmp_path / "objects" / BUCKET / KEY
    file.parent.mkdir(parents=True)
    file.write_bytes(ARCHIVE)
    return tmp_path / "objects"


def role(aws: LocalAws, *statements: Mapping[str, Any]) -> str:
    iam = aws.client("iam")
    arn: str = iam.create_role(RoleName="reader", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    policy = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
    iam.put_role_policy(RoleName="reader", PolicyName="p", PolicyDocument=policy)
    return arn


READ = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{BUCKET}/{KEY}"}
LIST = {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": f"arn:aws:s3:::{BUCKET}"}
OTHER = {**READ, "Resource": f"arn:aws:s3:::{BUCKET}/other.tar.gz"}


@pytest.mark.parametrize(
    ("statements", "words"),
    [
        ([READ, LIST], ""),
        ([OTHER, LIST], "AccessDenied: User: .* s3:GetObject on resource: arn:aws:s3:::artefacts/"),
        ([READ], "AccessDenied: User: .* s3:ListBucket on resource: arn:aws:s3:::artefacts "),
    ],
)
def test_the_roles_rights_decide(
    statements: list[Mapping[str, Any]], words: str, bare: LocalAws, folder: Path
) -> None:
    fill(bare.client("s3"), folder, bare.region)
    arn = role(bare, *statements)
    fetch = fetcher(lambda: bare.client_as(arn, "s3"))
    if not words:
        assert fetch("S3", {"path": URL}) == ARCHIVE
        return
    with pytest.raises(DownloadError, match=words):
        fetch("S3", {"path": URL})


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (f"https://s3.amazonaws.com/{BUCKET}/no", "NoSuchKey: .*--objects FOLDER"),
        ("https://s3.amazonaws.com/nowhere/no", "NoSuchBucket: .*--objects FOLDER"),
        (f"https://s3.amazonaws.com/{BUCKET}/app/", "files, not folders"),
        (f"https://s3.amazonaws.com/{BUCKET}", "files, not folders"),
    ],
)
def test_what_is_not_there_is_said_with_the_remedy(
    path: str, words: str, bare: LocalAws, folder: Path
) -> None:
    fill(bare.client("s3"), folder, bare.region)
    with pytest.raises(DownloadError, match=words):
        fetcher(lambda: bare.client("s3"))("S3", {"path": path})


def test_other_sources_go_the_ordinary_way(bare: LocalAws) -> None:
    with pytest.raises(DownloadError, match="only https"):
        fetcher(lambda: bare.client("s3"))("HTTP", {"url": "http://localhost/x"})


def test_a_commands_download_has_the_rights_of_its_instance(
    bench: Bench, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The builder's role of the small stack may write logs: not a word of S3."""
    hosts: dict[str, HereHost] = {}

    def host(_: object, machine: Machine) -> HereHost:
        return hosts.setdefault(machine.instance_id, HereHost(tmp_path / machine.instance_id))

    monkeypatch.setattr("scripts.local.machines.CheckOnly.host", host)
    fill(bench.aws.client("s3"), folder, bench.aws.region)
    content = {
        "schemaVersion": "2.2",
        "mainSteps": [
            {
                "action": "aws:downloadContent",
                "name": "get",
                "inputs": {
                    "sourceType": "S3",
                    "sourceInfo": json.dumps({"path": URL}),
                    "destinationPath": f"{tmp_path}/",
                },
            }
        ],
    }
    bench.aws.client("ssm").create_document(
        Name="Get", Content=json.dumps(content), DocumentType="Command"
    )
    instance = bench.managed()

    def get() -> dict[str, Any]:
        return bench.done(bench.send(instance, "Get", Parameters={}), instance)

    denied = get()
    assert denied["Status"] == "Failed"
    assert "AccessDenied" in denied["StandardErrorContent"]

    (name,) = [
        r["RoleName"]
        for r in bench.aws.client("iam").list_roles()["Roles"]
        if "Builder" in r["RoleName"]
    ]
    bench.aws.client("iam").put_role_policy(
        RoleName=name,
        PolicyName="p",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [READ, LIST]}),
    )
    done = get()
    assert done["Status"] == "Success", done


@pytest.mark.parametrize(
    ("statements", "code"), [([READ], "AccessDenied"), ([READ, LIST], "NoSuchKey")]
)
def test_only_who_may_list_a_bucket_is_told_that_an_object_is_missing(
    statements: list[Mapping[str, Any]], code: str, bare: LocalAws
) -> None:
    bare.client("s3").create_bucket(Bucket=BUCKET)
    client = bare.client_as(role(bare, *statements), "s3")
    with pytest.raises(ClientError) as error:
        client.get_object(Bucket=BUCKET, Key=KEY)
    assert refused(error) == code


def test_that_a_bucket_is_missing_everybody_is_told(bare: LocalAws) -> None:
    client = bare.client_as(role(bare, READ), "s3")
    with pytest.raises(ClientError) as error:
        client.get_object(Bucket=BUCKET, Key=KEY)
    assert refused(error) == "NoSuchBucket"


@pytest.mark.parametrize(
    ("condition", "denied"), [({}, True), ({"Bool": {"aws:SecureTransport": "false"}}, False)]
)
def test_a_bucket_policy_denies_what_it_denies_to_all_and_leaves_conditions_alone(
    condition: Mapping[str, Any], denied: bool, bare: LocalAws, folder: Path
) -> None:
    s3 = bare.client("s3")
    fill(s3, folder, bare.region)
    statement: dict[str, Any] = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": f"arn:aws:s3:::{BUCKET}/*",
    }
    if condition:
        statement["Condition"] = condition
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    s3.put_bucket_policy(Bucket=BUCKET, Policy=json.dumps(policy))
    if denied:
        with pytest.raises(ClientError):
            s3.put_object(Bucket=BUCKET, Key="new", Body=b"x")
        return
    s3.put_object(Bucket=BUCKET, Key="new", Body=b"x")
    assert s3.get_object(Bucket=BUCKET, Key="new")["Body"].read() == b"x"
