"""CloneHost: one image of the running host, though the call has no client token; nothing else."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from bakery.naming import TAG_BAKE, TAG_CLONE_OF, clone_tags
from tests.functional.conftest import FunctionFailedError, World
from tests.functional.hosting import (
    HOST,
    OTHER,
    change,
    deployed_with_a_host,
    everything,
    host,
    record,
)
from tests.functional.making import NOBODY, NOT_YET, Making, forget_tag, resumed


@pytest.fixture(scope="module")
def deployed() -> Iterator[World]:
    with deployed_with_a_host() as world:
        host(world)
        yield world


@pytest.fixture
def making(quiet: World) -> Iterator[Making]:
    making = Making.begin(quiet, "host")
    before = everything(quiet)
    yield making
    assert everything(quiet) == before


def payload(making: Making, token: str = NOBODY) -> dict[str, Any]:
    parts = {"bake": making.bake, "recipe": making.plan["recipe"], "host": making.plan["host"]}
    return {"token": token, **parts}


def clone(making: Making, *, token: str = NOBODY) -> None:
    assert making.world.invoke("clone_host", payload(making, token)) is None


def refused(making: Making) -> FunctionFailedError:
    with pytest.raises(FunctionFailedError) as failed:
        clone(making)
    return failed.value


def wait_of(making: Making) -> dict[str, Any]:
    (image_id,) = making.images()
    return wait_of_image(making, image_id)


def wait_of_image(making: Making, image_id: str) -> dict[str, Any]:
    return making.world.waits()[f"wait#image/{image_id}"]


@pytest.mark.parametrize("tags", [{"CostCenter": "1234"}, {}, None])
def test_image_and_snapshots_have_the_deployments_tags_beside_ours(
    making: Making, tags: dict[str, str] | None
) -> None:
    """A plan of an earlier release has no word of them."""
    event = payload(making)
    planned = {key: value for key, value in event["host"].items() if key != "tags"}
    host_plan = planned if tags is None else {**planned, "tags": tags}
    making.world.invoke("clone_host", {**event, "host": host_plan})
    (call,) = making.world.calls("CreateImage")
    expected = {**(tags or {}), **clone_tags(making.plan["recipe"], making.bake, HOST)}
    for specification in call["TagSpecifications"]:
        assert {it["Key"]: it["Value"] for it in specification["Tags"]} == expected


def made_by_somebody(making: Making, tags: dict[str, str]) -> str:
    """An image with the planned name, made past the task."""
    pairs = [{"Key": key, "Value": value} for key, value in tags.items()]
    specifications = [{"ResourceType": kind, "Tags": pairs} for kind in ("image", "snapshot")]
    answer = making.world.aws.client("ec2").create_image(
        InstanceId=HOST,
        Name=making.plan["host"]["image_name"],
        NoReboot=True,
        TagSpecifications=specifications if tags else [],
    )
    return str(answer["ImageId"])


def test_it_images_the_running_host_as_it_runs_and_waits_for_a_day(making: Making) -> None:
    making.world.aws.ec2.durations.image = NOT_YET
    before = making.world.aws.clock.now()
    clone(making)
    (made,) = making.world.tagged("image", making.bake)
    assert made["Name"] == f"ami-bakery-clone/{making.bake}"
    assert made["SourceInstanceId"] == HOST
    assert made["Description"] == f"Clone of {HOST} for bake {making.bake}; goes with it"
    tags = clone_tags("host", making.bake, HOST)
    assert {tag["Key"]: tag["Value"] for tag in made["Tags"]} == tags
    (snapshot,) = making.world.tagged("snapshot", making.bake)  # of the root alone
    assert {tag["Key"]: tag["Value"] for tag in snapshot["Tags"]} == tags
    (call,) = making.world.calls("CreateImage")
    assert call["NoReboot"] is True
    wait = wait_of(making)
    assert (wait["kind"], wait["token"]) == ("image", NOBODY)
    assert wait["label"] == f"Imaging host {HOST}"
    budget = datetime.fromisoformat(wait["deadline"]) - before
    assert timedelta(hours=24) <= budget < timedelta(hours=24, minutes=2)


def test_called_twice_it_makes_one_image_and_the_newest_token_waits(making: Making) -> None:
    making.world.aws.ec2.durations.image = NOT_YET
    clone(making, token="first")
    clone(making, token="second")
    assert len(making.images()) == len(making.world.aws.calls.of("ec2", "CreateImage")) == 1
    assert wait_of(making)["token"] == "second"


def test_a_lost_answer_is_adopted(making: Making) -> None:
    making.world.aws.faults.lost_answer("ec2", "CreateImage", times=1)
    assert refused(making).name == "ServiceUnavailableError"
    clone(making)
    assert len(making.images()) == 1
    assert len(making.world.aws.calls.of("ec2", "CreateImage")) == 1


def test_one_whose_tags_are_not_shown_yet_is_adopted_by_its_name(making: Making) -> None:
    making.world.aws.ec2.durations.image = NOT_YET
    tags = clone_tags("host", making.bake, HOST)

    def made_meanwhile() -> None:
        made_by_somebody(making, tags)

    making.world.aws.faults.after("ec2", "DescribeImages", made_meanwhile)
    clone(making)
    (made,) = making.images()
    assert wait_of(making)["target"] == made


def test_a_taken_name_whose_image_ec2_does_not_show_yet_is_asked_again(making: Making) -> None:
    making.world.aws.faults.error("ec2", "CreateImage", code="InvalidAMIName.Duplicate")
    error = refused(making)
    assert error.name == "NotYetVisibleError"
    clone(making)
    assert len(making.images()) == 1


@pytest.mark.parametrize(
    "tags",
    [{}, {TAG_BAKE: "another-bake"}, {TAG_BAKE: "ours"}, {TAG_BAKE: "ours", TAG_CLONE_OF: OTHER}],
)
def test_an_image_of_that_name_that_this_bake_did_not_make_is_never_adopted(
    making: Making, tags: dict[str, str]
) -> None:
    named = {key: making.bake if value == "ours" else value for key, value in tags.items()}
    made = made_by_somebody(making, named)
    error = refused(making)
    assert error.name == "ImageFailedError"
    assert f"is that of image {made}, which this bake has not made" in error.message
    assert f"wait#image/{made}" not in making.world.waits()


@pytest.mark.parametrize("state", ["pending", "stopping", "shutting-down", "terminated"])
def test_a_host_that_is_on_its_way_elsewhere_is_not_imaged(making: Making, state: str) -> None:
    usual = record(making.world)["State"]
    change(making.world, State={**usual, "Name": state})
    error = refused(making)
    change(making.world, State=usual)
    assert error.name == "HostGoneError"
    assert f"Host {HOST} is {state}, not running or stopped" in error.message
    assert making.world.aws.calls.of("ec2", "CreateImage") == []


def test_a_host_that_is_gone_is_told(making: Making) -> None:
    making.world.aws.faults.error("ec2", "DescribeInstances", code="InvalidInstanceID.NotFound")
    error = refused(making)
    assert (error.name, f"Host {HOST} is gone" in error.message) == ("HostGoneError", True)


@pytest.mark.parametrize(
    ("code", "status", "name"),
    [
        ("SnapshotCreationPerVolumeRateExceeded", 400, "ThrottledError"),
        ("InternalError", 500, "ServiceUnavailableError"),
        ("UnauthorizedOperation", 403, "AccessDeniedError"),
        ("ResourceLimitExceeded", 400, "QuotaExceededError"),
    ],
)
def test_a_refused_call_is_told_by_its_class_and_may_be_tried_again(
    making: Making, code: str, status: int, name: str
) -> None:
    making.world.aws.faults.error("ec2", "CreateImage", code=code, message="why", status=status)
    error = refused(making)
    assert error.name == name
    assert f"ec2:CreateImage {HOST} failed: {code}: why" in error.message
    clone(making)
    assert len(making.images()) == 1


def test_an_image_that_fails_is_told_with_ec2s_reason(making: Making) -> None:
    making.world.aws.ec2.next_image_fails("Server.InternalError: disk on fire")
    clone(making, token="first")
    making.world.aws.until(
        lambda: making.world.tagged("image", making.bake)[0]["State"] == "failed"
    )
    clone(making)
    (failure,) = resumed(making.world)
    assert failure["error"] == "ImageFailedError"
    assert "disk on fire" in failure["cause"]


def test_an_image_that_is_available_at_the_second_try_is_told_at_once(making: Making) -> None:
    clone(making, token="first")
    (made,) = making.images()
    making.world.aws.until(
        lambda: making.world.tagged("image", making.bake)[0]["State"] == "available"
    )
    clone(making)
    (told,) = resumed(making.world)
    assert json.loads(told["output"])["image_id"] == made


def test_a_builder_is_launched_from_the_clone_only_when_it_is_shown(making: Making) -> None:
    launching = {**making.launching(), "host": making.plan["host"]}
    with pytest.raises(FunctionFailedError) as failed:
        making.world.invoke("launch_builder", launching)
    assert failed.value.name == "NotYetVisibleError"
    assert f"the image of host {HOST}" in failed.value.message
    clone(making)
    (made,) = making.images()
    making.world.aws.until(
        lambda: making.world.tagged("image", making.bake)[0]["State"] == "available"
    )
    making.world.invoke("launch_builder", launching)
    (launch,) = making.world.launches()
    assert launch["ImageId"] == made
    forget_tag(making.world, made)  # nothing of it is needed any more
    making.world.invoke("launch_builder", launching)
    assert len(making.world.launches()) == 1
    making.tag(made)


@pytest.mark.parametrize("of_host", [False, True])
def test_whoever_may_tag_makes_no_clone(making: Making, of_host: bool) -> None:
    """Neither is another image taken for the host's of this bake, an old one of that host least of
    all, nor is a builder launched from one."""
    ec2 = making.world.aws.client("ec2")
    tags = [{"Key": k, "Value": v} for k, v in clone_tags("host", making.bake, HOST).items()]
    tagged: dict[str, Any] = {
        "Name": "foreign",
        "TagSpecifications": [{"ResourceType": "image", "Tags": tags}],
    }
    if of_host:
        answer = ec2.create_image(InstanceId=HOST, NoReboot=True, **tagged)
    else:
        source = {"SourceImageId": "ami-0a120230000000064", "SourceRegion": "eu-west-1"}
        answer = ec2.copy_image(**source, **tagged)
    foreign = answer["ImageId"]
    making.world.aws.until(
        lambda: making.world.tagged("image", making.bake)[0]["State"] == "available"
    )
    clone(making)
    (made,) = set(making.images()) - {foreign}
    assert wait_of_image(making, made)["label"] == f"Imaging host {HOST}"
    forget_tag(making.world, made)
    with pytest.raises(FunctionFailedError) as failed:
        launching = {**making.launching(), "host": making.plan["host"]}
        making.world.invoke("launch_builder", launching)
    making.tag(made)
    assert failed.value.name == "NotYetVisibleError"
    assert making.world.launches() == []
    ec2.deregister_image(ImageId=foreign)
