"""CopyImage: one copy for each Region, adopted and not begun twice."""

import json
from datetime import timedelta
from typing import Any

import pytest

from bakery import budgets
from bakery.naming import TAG_BAKE
from tests.functional.conftest import FunctionFailedError, World
from tests.functional.making import NOBODY, Making, resumed

THERE = "eu-central-1"


LIMIT = {"code": "ResourceLimitExceeded"}
SILENCE = {"code": "InternalError", "status": 503, "times": 5}


@pytest.fixture
def wide(quiet: World) -> tuple[Making, str]:
    making = Making.begin(quiet, "wide")
    return making, making.imaged()


def copies(making: Making, region: str = THERE) -> list[str]:
    return [it["ImageId"] for it in making.world.tagged("image", making.bake, region)]


def test_it_copies_with_the_recipes_key_the_images_tags_and_waits(
    wide: tuple[Making, str],
) -> None:
    making, image = wide
    assert making.world.invoke("copy_image", making.copying(image, THERE)) is None
    (call,) = making.world.calls("CopyImage")
    assert call["KmsKeyId"] == "alias/images" and call["Encrypted"] is True
    assert call["SourceImageId"] == image and call["SourceRegion"] == "eu-west-1"
    (copy,) = making.world.tagged("image", making.bake, THERE)
    (snapshot,) = making.world.tagged("snapshot", making.bake, THERE)
    for made in (copy, snapshot):
        tags = {tag["Key"]: tag["Value"] for tag in made["Tags"]}
        assert tags == making.plan["image_tags"]
    wait = making.world.waits()[f"wait#image/{copy['ImageId']}"]
    assert (wait["region"], wait["optional"], wait["token"]) == (THERE, False, NOBODY)


def test_its_end_is_seen_by_the_sweeper_though_no_event_comes(wide: tuple[Making, str]) -> None:
    making, image = wide
    copy = making.copied(image, THERE)
    making.world.invoke("resume_waits", {})
    told = [json.loads(it["output"]) for it in resumed(making.world)]
    assert {"region": THERE, "image_id": copy, "failed": None} in told


def test_the_region_of_the_stack_has_its_image(wide: tuple[Making, str]) -> None:
    making, image = wide
    making.world.invoke("copy_image", making.copying(image, "eu-west-1"))
    assert making.world.calls("CopyImage") == []
    (told,) = resumed(making.world)
    assert json.loads(told["output"])["image_id"] == image


def test_a_copy_that_has_failed_at_the_second_try_is_told_at_once(
    wide: tuple[Making, str],
) -> None:
    making, image = wide
    making.world.aws.ec2.next_copy_fails(THERE, "Server.InternalError: snapshot limit")
    making.world.invoke("copy_image", making.copying(image, THERE, token="first"))

    def has_failed() -> bool:
        (copy,) = making.world.tagged("image", making.bake, THERE)
        return bool(copy["State"] == "failed")

    making.world.aws.until(has_failed)
    making.world.invoke("copy_image", making.copying(image, THERE))
    (told,) = resumed(making.world)
    assert told["error"] == "CopyFailedError"
    assert "snapshot limit" in told["cause"]


@pytest.mark.failure(49)
def test_after_a_lost_answer_the_second_try_adopts_the_copy(wide: tuple[Making, str]) -> None:
    making, image = wide
    making.world.aws.faults.lost_answer("ec2", "CopyImage", times=5)
    with pytest.raises(FunctionFailedError, match="ServiceUnavailableError"):
        making.world.invoke("copy_image", making.copying(image, THERE))
    making.world.aws.faults.clear()
    making.world.invoke("copy_image", making.copying(image, THERE))
    assert len(copies(making)) == 1


def test_whoever_may_tag_makes_no_copy(wide: tuple[Making, str]) -> None:
    """Nobody boots a copy before it is published."""
    making, image = wide
    ec2 = making.world.aws.client("ec2", THERE)
    foreign = ec2.copy_image(
        SourceImageId="ami-0a120230000000064",
        SourceRegion=THERE,
        Name="foreign",
        TagSpecifications=[
            {"ResourceType": "image", "Tags": [{"Key": TAG_BAKE, "Value": making.bake}]}
        ],
    )["ImageId"]
    making.world.invoke("copy_image", making.copying(image, THERE))
    (copy,) = set(copies(making)) - {foreign}
    (found,) = ec2.describe_images(ImageIds=[copy])["Images"]
    assert found["SourceImageId"] == image
    ec2.deregister_image(ImageId=foreign)


def test_with_its_tag_not_shown_yet_the_client_token_finds_it(wide: tuple[Making, str]) -> None:
    making, image = wide
    making.world.invoke("copy_image", making.copying(image, THERE))
    (copy,) = copies(making)
    making.world.aws.ec2.state.lags[copy] = 1
    making.world.invoke("copy_image", making.copying(image, THERE))
    assert copies(making) == [copy]


@pytest.mark.failure(38)
def test_too_many_copies_under_way_are_waited_for(wide: tuple[Making, str]) -> None:
    making, image = wide
    making.world.aws.faults.error("ec2", "CopyImage", code="ResourceLimitExceeded")
    with pytest.raises(FunctionFailedError) as failed:
        making.world.invoke("copy_image", making.copying(image, THERE))
    assert failed.value.name == "CopyLimitError" and copies(making) == []


def test_a_refusal_fails_the_bake_and_names_the_region(wide: tuple[Making, str]) -> None:
    making, image = wide
    making.world.aws.faults.error("ec2", "CopyImage", code="UnauthorizedOperation")
    with pytest.raises(FunctionFailedError) as failed:
        making.world.invoke("copy_image", making.copying(image, THERE))
    assert failed.value.name == "CopyFailedError"
    assert failed.value.message.startswith(f"{THERE} could not be given its copy")


def test_where_any_region_will_do_a_refusal_leaves_the_region_out(quiet: World) -> None:
    making = Making.begin(quiet, "anywhere")
    image = making.imaged()
    quiet.aws.faults.error("ec2", "CopyImage", code="UnauthorizedOperation")
    making.world.invoke("copy_image", making.copying(image, THERE))
    (told,) = resumed(making.world)
    output = json.loads(told["output"])
    assert (output["region"], output["image_id"]) == (THERE, None)
    assert "UnauthorizedOperation" in output["failed"]


def after(making: Making, image: str, patience: timedelta) -> dict[str, Any]:
    """A try when the state was entered that long ago."""
    entered = making.world.aws.clock.now() - patience
    return {**making.copying(image, THERE), "entered": entered.isoformat()}


@pytest.mark.failure(38)
def test_too_many_copies_under_way_are_not_waited_for_without_end(
    wide: tuple[Making, str],
) -> None:
    making, image = wide
    making.world.aws.faults.error("ec2", "CopyImage", **LIMIT)  # type: ignore[arg-type]
    with pytest.raises(FunctionFailedError) as failed:
        making.world.invoke("copy_image", after(making, image, budgets.COPY_PATIENCE))
    assert failed.value.name == "CopyFailedError"
    assert f"{THERE} takes no more copies now" in failed.value.message


def test_a_region_that_does_not_answer_is_tried_as_long_as_the_machine_does(
    wide: tuple[Making, str],
) -> None:
    making, image = wide
    making.world.aws.faults.error("ec2", "CopyImage", **SILENCE)  # type: ignore[arg-type]
    with pytest.raises(FunctionFailedError, match="ServiceUnavailableError"):
        making.world.invoke("copy_image", after(making, image, budgets.COPY_PATIENCE))


@pytest.mark.failure(37, 38)
@pytest.mark.parametrize(
    ("fault", "patience", "name"),
    [
        (LIMIT, budgets.COPY_PATIENCE, "CopyLimitError"),
        (SILENCE, budgets.ANSWER_PATIENCE, "ServiceUnavailableError"),
    ],
)
def test_where_any_region_will_do_one_that_is_waited_for_in_vain_is_left_out(
    quiet: World, fault: dict[str, Any], patience: timedelta, name: str
) -> None:
    making = Making.begin(quiet, "anywhere")
    image = making.imaged()
    quiet.aws.faults.error("ec2", "CopyImage", **fault)
    with pytest.raises(FunctionFailedError) as failed:
        quiet.invoke("copy_image", after(making, image, patience - timedelta(minutes=2)))
    assert failed.value.name == name and resumed(quiet) == []
    quiet.aws.faults.error("ec2", "CopyImage", **fault)
    quiet.invoke("copy_image", after(making, image, patience))
    (told,) = resumed(quiet)
    output = json.loads(told["output"])
    assert (output["region"], output["image_id"]) == (THERE, None)
    assert fault["code"] in output["failed"]


@pytest.mark.failure(39)
def test_a_key_that_was_disabled_since_the_plan_fails_the_copy_with_ec2s_reason(
    wide: tuple[Making, str],
) -> None:
    """KMS looks at it after CopyImage has answered."""
    making, image = wide
    kms = making.world.aws.client("kms", THERE)
    key = kms.describe_key(KeyId="alias/images")["KeyMetadata"]["KeyId"]
    kms.disable_key(KeyId=key)
    try:
        making.world.invoke("copy_image", making.copying(image, THERE, token="late"))
    finally:
        kms.enable_key(KeyId=key)

    def has_failed() -> bool:
        (found,) = making.world.tagged("image", making.bake, THERE)
        return bool(found["State"] == "failed")

    making.world.aws.until(has_failed, what="the failure")
    making.world.invoke("resume_waits", {})
    (failure,) = resumed(making.world, "late")
    assert failure["error"] == "CopyFailedError"
    assert THERE in failure["cause"] and "KMS" in failure["cause"], failure
