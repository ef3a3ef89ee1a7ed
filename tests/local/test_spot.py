"""Spot requests: the states that they go through, and the instance that they launch again."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.bench import Bench, refused

PERSISTENT = {
    "MarketType": "spot",
    "SpotOptions": {"SpotInstanceType": "persistent", "InstanceInterruptionBehavior": "stop"},
}
ONE_TIME = {"MarketType": "spot"}
TAGS = [{"ResourceType": "spot-instances-request", "Tags": [{"Key": "k", "Value": "v"}]}]


def launched(ec2: Bench, market: dict[str, Any] = PERSISTENT) -> str:
    instance = ec2.launch(InstanceMarketOptions=market, TagSpecifications=TAGS)
    return ec2.in_state(instance, "running")


def request(ec2: Bench) -> dict[str, Any]:
    """The only request, as its tag finds it."""
    filters = [{"Name": "tag:k", "Values": ["v"]}]
    found = ec2.aws.client("ec2").describe_spot_instance_requests(Filters=filters)
    (record,) = found["SpotInstanceRequests"]
    return dict(record)


def cancel(ec2: Bench) -> None:
    id_ = request(ec2)["SpotInstanceRequestId"]
    ec2.aws.client("ec2").cancel_spot_instance_requests(SpotInstanceRequestIds=[id_])


def described(ec2: Bench, instance: str) -> dict[str, Any]:
    found = ec2.aws.client("ec2").describe_instances(InstanceIds=[instance])
    return dict(found["Reservations"][0]["Instances"][0])


def test_a_launch_on_spot_makes_a_request_with_the_tags_of_the_call(ec2: Bench) -> None:
    instance = launched(ec2)
    made = request(ec2)
    assert made["State"] == "active"
    assert made["Status"]["Code"] == "fulfilled"
    assert made["InstanceId"] == instance
    assert made["Type"] == "persistent"
    record = described(ec2, instance)
    assert record["InstanceLifecycle"] == "spot"
    assert record["SpotInstanceRequestId"] == made["SpotInstanceRequestId"]


def test_a_launch_on_demand_makes_none_and_takes_no_tags_for_one(ec2: Bench) -> None:
    ec2.launch()
    assert ec2.aws.client("ec2").describe_spot_instance_requests()["SpotInstanceRequests"] == []
    with pytest.raises(ClientError, match="no Spot instances requests"):
        ec2.launch(TagSpecifications=TAGS)


@pytest.mark.parametrize(("type_", "behavior"), [("one-time", "stop"), ("persistent", "terminate")])
def test_what_does_not_go_together_is_refused(ec2: Bench, type_: str, behavior: str) -> None:
    options = {"SpotInstanceType": type_, "InstanceInterruptionBehavior": behavior}
    with pytest.raises(ClientError) as error:
        ec2.launch(InstanceMarketOptions={"MarketType": "spot", "SpotOptions": options})
    assert refused(error) == "InvalidParameterCombination"


def test_an_instance_of_a_persistent_request_stops_starts_and_its_request_follows(
    ec2: Bench,
) -> None:
    instance = launched(ec2)
    client, first = ec2.aws.client("ec2"), described(ec2, instance)["LaunchTime"]
    client.stop_instances(InstanceIds=[instance])
    ec2.in_state(instance, "stopped")
    assert request(ec2)["State"] == "disabled"
    client.start_instances(InstanceIds=[instance])
    ec2.in_state(instance, "running")
    assert request(ec2)["State"] == "active"
    assert described(ec2, instance)["LaunchTime"] > first


def test_no_other_instance_on_spot_can_be_stopped(ec2: Bench) -> None:
    instance = launched(ec2, ONE_TIME)
    with pytest.raises(ClientError) as error:
        ec2.aws.client("ec2").stop_instances(InstanceIds=[instance])
    assert refused(error) == "UnsupportedOperation"


def test_a_persistent_request_launches_another_when_its_instance_ends(ec2: Bench) -> None:
    """Without tags: nobody finds it by them."""
    instance = launched(ec2)
    ec2.aws.client("ec2").terminate_instances(InstanceIds=[instance])
    ec2.in_state(instance, "terminated")
    again = ec2.aws.until(lambda: request(ec2).get("InstanceId"), what="another instance")
    assert again != instance
    assert request(ec2)["State"] == "active"
    record = described(ec2, again)
    assert "Tags" not in record
    assert record["SpotInstanceRequestId"] == request(ec2)["SpotInstanceRequestId"]


def test_a_one_time_request_is_closed_with_its_instance(ec2: Bench) -> None:
    instance = launched(ec2, ONE_TIME)
    ec2.aws.client("ec2").terminate_instances(InstanceIds=[instance])
    ec2.in_state(instance, "terminated")
    assert request(ec2)["State"] == "closed"


def test_a_cancelled_request_launches_nothing_and_leaves_what_runs(ec2: Bench) -> None:
    instance = launched(ec2)
    cancel(ec2)
    assert request(ec2)["State"] == "cancelled"
    assert ec2.state(instance) == "running"
    with pytest.raises(ClientError) as error:
        ec2.aws.client("ec2").stop_instances(InstanceIds=[instance])
    assert refused(error) == "UnsupportedOperation"
    ec2.aws.client("ec2").terminate_instances(InstanceIds=[instance])
    ec2.in_state(instance, "terminated")
    ec2.aws.clock.advance(minutes=10)
    assert len(ec2.aws.ec2.all("instances")) == 1


def test_cancelling_ends_an_instance_that_is_stopped(ec2: Bench) -> None:
    instance = launched(ec2)
    ec2.aws.client("ec2").stop_instances(InstanceIds=[instance])
    ec2.in_state(instance, "stopped")
    cancel(ec2)
    ec2.in_state(instance, "terminated")


def test_an_unknown_request_is_refused(ec2: Bench) -> None:
    with pytest.raises(ClientError) as error:
        ec2.aws.client("ec2").cancel_spot_instance_requests(SpotInstanceRequestIds=["sir-1"])
    assert refused(error) == "InvalidSpotInstanceRequestID.NotFound"


def test_an_interruption_warns_then_stops_and_only_ec2_starts_again(ec2: Bench) -> None:
    instance = launched(ec2)
    ec2.aws.ec2.interrupt(instance)
    assert ec2.state(instance) == "running"
    (warning,) = ec2.aws.events.of("EC2 Spot Instance Interruption Warning")
    assert warning["detail"] == {"instance-id": instance, "instance-action": "stop"}
    ec2.in_state(instance, "stopped")
    assert described(ec2, instance)["StateReason"]["Code"] == "Server.SpotInstanceShutdown"
    assert request(ec2)["State"] == "open"
    with pytest.raises(ClientError) as error:
        ec2.aws.client("ec2").start_instances(InstanceIds=[instance])
    assert refused(error) == "IncorrectSpotRequestState"
    ec2.aws.ec2.capacity_returns(instance)
    ec2.in_state(instance, "running")
    assert request(ec2)["State"] == "active"
    states = [
        event["detail"]["state"]
        for event in ec2.aws.events.of("EC2 Instance State-change Notification")
    ]
    assert states == ["pending", "running", "stopping", "stopped", "pending", "running"]


def test_an_interruption_of_a_one_time_request_terminates(ec2: Bench) -> None:
    instance = launched(ec2, ONE_TIME)
    ec2.aws.ec2.interrupt(instance, notice=0)
    ec2.in_state(instance, "terminated")
    assert described(ec2, instance)["StateReason"]["Code"] == "Server.SpotInstanceTermination"
    assert request(ec2)["State"] == "closed"


def test_a_retired_host_stops_its_instance(ec2: Bench) -> None:
    instance = ec2.in_state(ec2.launch(), "running")
    ec2.aws.ec2.retire(instance)
    ec2.in_state(instance, "stopped")
    assert described(ec2, instance)["StateReason"]["Code"] == "Server.ScheduledStop"
