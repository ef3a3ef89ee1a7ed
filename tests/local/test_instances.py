"""EC2 instances: states in time, idempotency, refusals, volumes, shortage."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from scripts.local import NEVER
from tests.local.bench import AL2023, Bench, refused

ARM = "ami-0a1202300000000a4"


def described(bench: Bench, instance: str) -> dict[str, Any]:
    found = bench.aws.client("ec2").describe_instances(InstanceIds=[instance])
    record: dict[str, Any] = found["Reservations"][0]["Instances"][0]
    return record


def subnets(bench: Bench) -> list[str]:
    found = bench.aws.client("ec2").describe_subnets()["Subnets"]
    return [s["SubnetId"] for s in sorted(found, key=lambda s: str(s["AvailabilityZone"]))]


def launch_error(bench: Bench, **given: Any) -> tuple[str, int, str]:
    image, type_ = given.pop("image", AL2023), given.pop("type_", "t3.micro")
    with pytest.raises(ClientError) as error:
        bench.launch(image, type_, **given)
    answer = error.value.response
    return (
        answer["Error"]["Code"],
        answer["ResponseMetadata"]["HTTPStatusCode"],
        answer["Error"]["Message"],
    )


def test_states_take_time_and_are_announced_in_awss_shape(ec2: Bench) -> None:
    ec2.aws.ec2.durations.pending = 1000
    instance = ec2.launch()
    assert ec2.state(instance) == "pending"
    ec2.in_state(instance, "running")
    client = ec2.aws.client("ec2")
    change = client.stop_instances(InstanceIds=[instance])["StoppingInstances"][0]
    assert (change["PreviousState"]["Name"], change["CurrentState"]["Name"]) == (
        "running",
        "stopping",
    )
    ec2.in_state(instance, "stopped")
    stopped = described(ec2, instance)
    assert stopped["StateReason"]["Code"] == "Client.UserInitiatedShutdown"
    assert stopped["StateTransitionReason"].startswith("User initiated (")
    client.terminate_instances(InstanceIds=[instance])
    ec2.in_state(instance, "terminated")
    events = ec2.aws.events.of("EC2 Instance State-change Notification")
    states = ["pending", "running", "stopping", "stopped", "shutting-down", "terminated"]
    assert [e["detail"]["state"] for e in events] == states
    assert events[0]["resources"] == [f"arn:aws:ec2:us-east-1:123456789012:instance/{instance}"]
    assert {
        "version",
        "id",
        "detail-type",
        "source",
        "account",
        "time",
        "region",
        "resources",
        "detail",
    } == set(events[0])


def test_a_stuck_stop_stays_until_it_is_let_go(ec2: Bench) -> None:
    instance = ec2.in_state(ec2.launch(), "running")
    ec2.aws.ec2.durations.stopping = NEVER
    ec2.aws.client("ec2").stop_instances(InstanceIds=[instance])
    ec2.aws.clock.advance(hours=3)
    assert ec2.state(instance) == "stopping"


def test_what_the_call_asks_for_is_kept(ec2: Bench) -> None:
    tags = [{"Key": "ami-bakery:bake", "Value": "b-1"}]
    instance = ec2.launch(
        MetadataOptions={"HttpTokens": "required", "HttpPutResponseHopLimit": 1},
        InstanceInitiatedShutdownBehavior="stop",
        TagSpecifications=[
            {"ResourceType": k, "Tags": tags} for k in ("instance", "volume", "network-interface")
        ],
        BlockDeviceMappings=[
            {
                "DeviceName": "/dev/xvda",
                "Ebs": {
                    "VolumeSize": 16,
                    "VolumeType": "gp3",
                    "Iops": 6000,
                    "Throughput": 500,
                    "Encrypted": True,
                },
            }
        ],
    )
    record = described(ec2, instance)
    assert record["MetadataOptions"]["HttpTokens"] == "required"
    assert record["Tags"] == tags
    of_instance = [{"Name": "attachment.instance-id", "Values": [instance]}]
    (interface,) = ec2.aws.client("ec2").describe_network_interfaces(Filters=of_instance)[
        "NetworkInterfaces"
    ]
    assert interface["TagSet"] == tags
    volumes = ec2.aws.client("ec2").describe_volumes(Filters=of_instance)
    (volume,) = volumes["Volumes"]
    assert (volume["Size"], volume["VolumeType"], volume["Iops"], volume["Throughput"]) == (
        16,
        "gp3",
        6000,
        500,
    )
    assert (
        volume["Encrypted"]
        and volume["KmsKeyId"].startswith("arn:aws:kms:")
        and volume["Tags"] == tags
    )
    assert volume["SnapshotId"] == "snap-0a120230000000064"


def test_termination_deletes_only_the_volumes_marked_so(ec2: Bench) -> None:
    data = {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 5, "DeleteOnTermination": False}}
    instance = ec2.in_state(ec2.launch(BlockDeviceMappings=[data]), "running")
    assert len(ec2.aws.ec2.all("volumes")) == 2
    ec2.aws.client("ec2").terminate_instances(InstanceIds=[instance])
    ec2.in_state(instance, "terminated")
    (left,) = ec2.aws.ec2.all("volumes")
    assert (left["Size"], left["State"]) == (5, "available")
    ec2.aws.client("ec2").delete_volume(VolumeId=left["VolumeId"])
    assert not ec2.aws.ec2.all("volumes")


def test_a_client_token_makes_one_instance_per_zone(ec2: Bench) -> None:
    first, second = subnets(ec2)[:2]
    given = {"ClientToken": "bake-1", "SubnetId": first}
    instance = ec2.launch(**given)
    assert ec2.launch(**given) == instance
    assert launch_error(ec2, type_="t3.small", **given)[0] == "IdempotentParameterMismatch"
    assert ec2.launch(ClientToken="bake-1", SubnetId=second) != instance
    ec2.in_state(instance, "running")
    ec2.aws.client("ec2").terminate_instances(InstanceIds=[instance])
    assert launch_error(ec2, **given)[0] == "IdempotentInstanceTerminated"


@pytest.mark.parametrize(
    ("image", "type_", "code", "word"),
    [
        (ARM, "t3.micro", "InvalidParameterValue", "architecture"),
        (AL2023, "t4g.micro", "InvalidParameterValue", "architecture"),
        ("ami-0bad0000000000386", "t3.micro", "InvalidParameterValue", "architecture"),
        ("ami-0bad00000000000f1", "t3.micro", "InvalidParameterCombination", "paravirtual"),
        ("ami-0bad00000000000f2", "t2.micro", "InvalidParameterCombination", "root device"),
        ("ami-0bad00000000000f3", "t2.micro", "InvalidParameterCombination", "boot mode"),
        ("ami-0bad00000000000f6", "t3.micro", "InvalidParameterCombination", "ENA"),
        ("ami-0bad00000000000f5", "t3.micro", "InvalidAMIID.Unavailable", "disabled"),
        ("ami-0123456789abcdef0", "t3.micro", "InvalidAMIID.NotFound", "does not exist"),
        ("ami-nonsense", "t3.micro", "InvalidAMIID.Malformed", "Invalid id"),
        (AL2023, "t9.huge", "InvalidParameterValue", "t9.huge"),
    ],
)
def test_what_does_not_go_together_is_refused(
    ec2: Bench, image: str, type_: str, code: str, word: str
) -> None:
    given, _status, message = launch_error(ec2, image=image, type_=type_)
    assert given == code and word in message
    assert not ec2.aws.ec2.all("instances")


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"SubnetId": "subnet-00000000000000000"}, "InvalidSubnetID.NotFound"),
        ({"SecurityGroupIds": ["sg-00000000000000000"]}, "InvalidGroup.NotFound"),
        ({"IamInstanceProfile": {"Name": "none"}}, "InvalidParameterValue"),
        (
            {"BlockDeviceMappings": [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 4}}]},
            "InvalidBlockDeviceMapping",
        ),
        (
            {
                "BlockDeviceMappings": [
                    {"DeviceName": "/dev/xvda", "Ebs": {"VolumeType": "gp2", "Iops": 9000}}
                ]
            },
            "InvalidParameterCombination",
        ),
        ({"ClientToken": "x" * 65}, "InvalidParameterValue"),
        ({"DryRun": True}, "DryRunOperation"),
    ],
)
def test_run_instances_refuses(ec2: Bench, more: dict[str, Any], code: str) -> None:
    assert launch_error(ec2, **more)[0] == code
    assert not ec2.aws.ec2.all("instances")


def test_a_shortage_is_a_server_error_of_one_place(ec2: Bench) -> None:
    full, other = subnets(ec2)[:2]
    ec2.aws.ec2.no_capacity(instance_type="t3.micro", subnet=full)
    assert launch_error(ec2, SubnetId=full)[:2] == ("InsufficientInstanceCapacity", 500)
    ec2.launch(SubnetId=other)
    ec2.launch(type_="t3.small", SubnetId=full)


def test_a_launch_can_fail_after_the_answer(ec2: Bench) -> None:
    ec2.aws.ec2.next_instance_fails("Client.VolumeLimitExceeded", "Volume limit exceeded")
    instance = ec2.in_state(ec2.launch(), "terminated")
    assert described(ec2, instance)["StateReason"]["Code"] == "Client.VolumeLimitExceeded"


def test_an_unusable_key_ends_the_instance(ec2: Bench) -> None:
    ebs = {"Encrypted": True, "KmsKeyId": "alias/none", "VolumeSize": 8}
    instance = ec2.launch(BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": ebs}])
    ec2.in_state(instance, "terminated")
    assert described(ec2, instance)["StateReason"]["Code"] == "Client.InvalidKMSKey.InvalidState"


def test_states_forbid_what_they_forbid(ec2: Bench) -> None:
    client = ec2.aws.client("ec2")
    ec2.aws.ec2.durations.pending = 1000
    instance = ec2.launch()
    with pytest.raises(ClientError) as error:
        client.create_image(InstanceId=instance, Name="too-early")
    assert refused(error) == "IncorrectInstanceState"
    ec2.in_state(instance, "running")
    client.terminate_instances(InstanceIds=[instance])
    ec2.in_state(instance, "terminated")
    for call in (client.stop_instances, client.start_instances):
        with pytest.raises(ClientError) as error:
            call(InstanceIds=[instance])
        assert refused(error) == "IncorrectInstanceState"
    client.terminate_instances(InstanceIds=[instance])


def test_a_start_counts_as_a_launch_but_attaches_nothing_again(ec2: Bench) -> None:
    client = ec2.aws.client("ec2")
    instance = ec2.in_state(ec2.launch(), "running")
    before = described(ec2, instance)
    assert before["NetworkInterfaces"][0]["Attachment"]["AttachTime"] == before["LaunchTime"]
    client.stop_instances(InstanceIds=[instance])
    ec2.in_state(instance, "stopped")
    ec2.aws.clock.advance(hours=1)
    client.start_instances(InstanceIds=[instance])
    after = described(ec2, instance)
    assert after["LaunchTime"] > before["LaunchTime"]
    assert after["NetworkInterfaces"] == before["NetworkInterfaces"]
    assert after["BlockDeviceMappings"] == before["BlockDeviceMappings"]


def test_the_guest_may_power_off_by_itself(ec2: Bench) -> None:
    stays = ec2.in_state(ec2.launch(), "running")
    goes = ec2.in_state(ec2.launch(InstanceInitiatedShutdownBehavior="terminate"), "running")
    ec2.aws.ec2.shut_down_from_inside(stays)
    ec2.aws.ec2.shut_down_from_inside(goes)
    ec2.in_state(stays, "stopped")
    ec2.in_state(goes, "terminated")
    assert described(ec2, stays)["StateReason"]["Code"] == "Client.InstanceInitiatedShutdown"


def test_new_ids_may_be_invisible_at_first(ec2: Bench) -> None:
    ec2.aws.ec2.lag(instances=2)
    instance = ec2.launch()
    client = ec2.aws.client("ec2")
    for _ in range(2):
        with pytest.raises(ClientError) as error:
            client.describe_instances(InstanceIds=[instance])
        assert refused(error) == "InvalidInstanceID.NotFound"
    assert ec2.state(instance) in ("pending", "running")


def test_filters_pages_and_tags(ec2: Bench) -> None:
    client = ec2.aws.client("ec2")
    ids = [ec2.launch() for _ in range(3)]
    client.create_tags(Resources=ids[:2], Tags=[{"Key": "team", "Value": "web one"}])
    by_tag = [
        {"Name": "tag:team", "Values": ["web*"]},
        {"Name": "instance-state-name", "Values": ["pending", "running"]},
    ]
    found = client.describe_instances(Filters=by_tag)["Reservations"]
    assert {r["Instances"][0]["InstanceId"] for r in found} == set(ids[:2])
    client.delete_tags(Resources=[ids[0]], Tags=[{"Key": "team"}])
    assert (
        len(
            client.describe_instances(Filters=[{"Name": "tag-key", "Values": ["team"]}])[
                "Reservations"
            ]
        )
        == 1
    )
    pages = list(
        client.get_paginator("describe_instances").paginate(PaginationConfig={"PageSize": 2})
    )
    assert [len(p["Reservations"]) for p in pages] == [2, 1]
    with pytest.raises(ClientError) as error:
        client.describe_instances(Filters=[{"Name": "no-such-filter", "Values": ["x"]}])
    assert refused(error) == "InvalidParameterValue"


def test_the_console_can_be_written(ec2: Bench) -> None:
    instance = ec2.launch()
    ec2.aws.ec2.console(instance, "Kernel panic\n")
    assert (
        ec2.aws.client("ec2").get_console_output(InstanceId=instance)["Output"] == "Kernel panic\n"
    )


def test_instance_types_carry_what_a_compatibility_check_needs(ec2: Bench) -> None:
    client = ec2.aws.client("ec2")
    filters = [
        {"Name": "instance-type", "Values": ["t3.micro", "m1.small", "t4g.micro", "no.type"]}
    ]
    found = {
        t["InstanceType"]: t
        for t in client.describe_instance_types(Filters=filters)["InstanceTypes"]
    }
    assert set(found) == {"t3.micro", "m1.small", "t4g.micro"}
    nitro, old = found["t3.micro"], found["m1.small"]
    assert nitro["NetworkInfo"]["EnaSupport"] == "required" and nitro["Hypervisor"] == "nitro"
    assert nitro["EbsInfo"]["NvmeSupport"] == "required" and "uefi" in nitro["SupportedBootModes"]
    assert (
        "paravirtual" in old["SupportedVirtualizationTypes"]
        and "i386" in old["ProcessorInfo"]["SupportedArchitectures"]
    )
    offers = client.describe_instance_type_offerings(
        LocationType="availability-zone", Filters=filters[:1]
    )
    assert {o["InstanceType"] for o in offers["InstanceTypeOfferings"]} == {
        "t3.micro",
        "m1.small",
        "t4g.micro",
    }
