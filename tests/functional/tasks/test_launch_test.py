"""LaunchTest: one test instance for each number, adopted and not launched twice."""

import base64
from datetime import datetime

import pytest

from bakery import first_boot
from bakery.naming import TAG_BAKE, TAG_TEST
from tests.functional.conftest import FunctionFailedError
from tests.functional.making import Making, forget_tag

TESTS = "ami-bakery:test"


def tags_of(record: dict[str, list[dict[str, str]]]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in record["Tags"]}


def test_it_boots_the_image_with_imdsv2_only_its_own_role_and_our_tags(making: Making) -> None:
    launched = making.world.invoke("launch_test", making.test_launching())
    (instance,) = making.world.tagged("instance", making.bake)
    assert instance["InstanceId"] == launched["instance_id"]
    assert instance["ImageId"] == making.plan["base_image"]["id"]
    assert instance["MetadataOptions"]["HttpTokens"] == "required"
    assert instance["MetadataOptions"]["HttpPutResponseHopLimit"] == 1
    profile = instance["IamInstanceProfile"]["Arn"]
    assert profile == making.plan["test"]["instance_profile"]
    assert profile != making.plan["launch"]["instance_profile"], "not the builder's role"
    assert tags_of(instance)[TAG_TEST] == "1" and "KeyName" not in instance
    (volume,) = making.world.tagged("volume", making.bake)
    assert volume["Encrypted"] and tags_of(volume)[TAG_BAKE] == making.bake


@pytest.mark.failure(9)
def test_after_a_lost_answer_the_second_try_finds_the_instance_of_the_first(making: Making) -> None:
    making.world.aws.faults.lost_answer("ec2", "RunInstances")
    with pytest.raises(FunctionFailedError, match="ServiceUnavailableError"):
        making.world.invoke("launch_test", making.test_launching())
    launched = making.world.invoke("launch_test", making.test_launching())
    assert making.instances() == [launched["instance_id"]]


def test_whoever_may_tag_makes_no_test_instance(making: Making) -> None:
    """Another machine than the image's would pass its tests."""
    builder = making.world.invoke("launch_builder", making.launching())["instance_id"]
    tags = [{"Key": TAG_TEST, "Value": "1"}]
    making.world.aws.client("ec2").create_tags(Resources=[builder], Tags=tags)
    tested = making.world.invoke("launch_test", making.test_launching())["instance_id"]
    assert tested != builder


def test_whoever_may_tag_makes_no_test_instance_of_another_image_s(making: Making) -> None:
    """Another bake's, of the same profile, that was kept, or that somebody has mended."""
    ec2 = making.world.aws.client("ec2")
    ec2.create_tags(Resources=[WINDOWS], Tags=[{"Key": TAG_BAKE, "Value": "another"}])
    event = {**making.test_launching(image_id=WINDOWS), "bake": "another"}
    other = making.world.invoke("launch_test", event)["instance_id"]
    ec2.create_tags(Resources=[other], Tags=[{"Key": TAG_BAKE, "Value": making.bake}])
    assert other in making.instances()
    assert making.world.invoke("launch_test", making.test_launching())["instance_id"] != other


def test_a_builder_is_not_taken_for_a_test_instance_nor_the_other_way_round(making: Making) -> None:
    tested = making.world.invoke("launch_test", making.test_launching())["instance_id"]
    builder = making.world.invoke("launch_builder", making.launching())["instance_id"]
    assert builder != tested
    again = making.world.invoke("launch_builder", making.launching())["instance_id"]
    assert again == builder and sorted(making.instances()) == sorted([builder, tested])


def test_where_there_is_no_room_it_waits_like_a_builder(making: Making) -> None:
    making.world.aws.ec2.no_capacity()
    with pytest.raises(FunctionFailedError) as failed:
        making.world.invoke("launch_test", making.test_launching())
    assert failed.value.name == "NoCapacityYetError"
    assert "t3.small on-demand" in failed.value.message
    making.world.aws.ec2.state.shortages.clear()
    assert making.world.invoke("launch_test", making.test_launching())["instance_id"]


def test_after_a_redrive_it_boots_anew_though_ec2_remembers_the_token(making: Making) -> None:
    first = making.world.invoke("launch_test", making.test_launching())["instance_id"]
    making.world.aws.client("ec2").terminate_instances(InstanceIds=[first])
    second = making.world.invoke("launch_test", making.test_launching(redrives=1))
    assert second["instance_id"] != first


WINDOWS = "ami-0c202200000000064"


def user_data(making: Making) -> str:
    """What the last instance was launched with."""
    (*_, call) = [it for it in making.world.aws.calls.of("ec2") if it.operation == "RunInstances"]
    return base64.b64decode(call.parameters.get("UserData", "")).decode()


def test_one_of_a_windows_image_has_user_data_that_leaves_a_mark(making: Making) -> None:
    event = making.test_launching(image_id=WINDOWS)
    tags = [{"Key": TAG_BAKE, "Value": "another"}]
    making.world.aws.client("ec2").create_tags(Resources=[WINDOWS], Tags=tags)
    making.world.invoke("launch_test", event)

    entered = datetime.fromisoformat(event["entered"])
    assert user_data(making) == first_boot.user_data(making.bake, entered)


@pytest.mark.failure(10)
def test_a_second_try_has_the_same_user_data_as_its_client_token_asks(making: Making) -> None:
    tags = [{"Key": TAG_BAKE, "Value": "another"}]
    making.world.aws.client("ec2").create_tags(Resources=[WINDOWS], Tags=tags)
    event = making.test_launching(image_id=WINDOWS)
    making.world.aws.faults.lost_answer("ec2", "RunInstances")
    with pytest.raises(FunctionFailedError, match="ServiceUnavailableError"):
        making.world.invoke("launch_test", event)
    (first,) = making.instances()
    forget_tag(making.world, first)

    assert making.world.invoke("launch_test", event)["instance_id"] == first


def test_one_of_a_linux_image_has_none(making: Making) -> None:
    making.world.invoke("launch_test", making.test_launching())
    assert user_data(making) == ""
