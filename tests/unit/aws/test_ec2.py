"""What the calls of EC2 may hold."""

from collections.abc import Iterator
from dataclasses import replace

import boto3
import pytest
from botocore.stub import Stubber

from bakery.aws import clients, ec2
from tests.unit.samples import IMAGE

ACCOUNTS = [f"{number:012}" for number in range(1000)]


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stubber]:
    client = boto3.client(
        "ec2", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x"
    )
    monkeypatch.setattr(clients, "ec2", lambda _region: client)
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def test_a_snapshot_is_shared_with_no_more_accounts_in_one_call_than_ec2_takes(
    stub: Stubber,
) -> None:
    shared = replace(IMAGE, snapshots=("snap-1",))
    grants = [{"UserId": it} for it in ACCOUNTS]
    stub.add_response(
        "modify_image_attribute",
        {},
        {
            "ImageId": shared.id,
            "Attribute": "launchPermission",
            "LaunchPermission": {"Add": grants},
        },
    )
    for part in (ACCOUNTS[:500], ACCOUNTS[500:]):
        stub.add_response(
            "modify_snapshot_attribute",
            {},
            {
                "SnapshotId": "snap-1",
                "Attribute": "createVolumePermission",
                "OperationType": "add",
                "UserIds": part,
            },
        )
    ec2.share_image(shared, accounts=ACCOUNTS, organizations=())
