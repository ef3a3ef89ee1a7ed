"""ReleaseImages: what a copy gets before anybody is pointed to it."""

import pytest

from tests.functional.conftest import FunctionFailedError, World
from tests.functional.making import Making

THERE = "eu-central-1"


@pytest.fixture
def copy(quiet: World) -> tuple[Making, str]:
    making = Making.begin(quiet, "wide")
    return making, making.copied(making.imaged(), THERE)


def release(making: Making, image: str | None, region: str = THERE) -> None:
    event = {
        "bake": making.bake,
        "recipe": making.plan["recipe"],
        "copies": [{"region": region, "image_id": image}],
    }
    assert making.world.invoke("release_images", event) is None


def permissions(making: Making, image: str) -> list[dict[str, str]]:
    ec2 = making.world.aws.client("ec2", THERE)
    found = ec2.describe_image_attribute(ImageId=image, Attribute="launchPermission")
    return list(found["LaunchPermissions"])


def test_a_copy_is_private_before_and_hardened_and_shared_after(copy: tuple[Making, str]) -> None:
    making, image = copy
    assert permissions(making, image) == []
    for _ in range(2):
        release(making, image)
    assert len(permissions(making, image)) == 3
    (found,) = making.world.tagged("image", making.bake, THERE)
    assert found["ImdsSupport"] == "v2.0"


def test_a_region_that_is_left_out_is_left_alone(copy: tuple[Making, str]) -> None:
    making, _ = copy
    making.world.aws.calls.clear()
    release(making, None)
    assert making.world.aws.calls.of("ec2") == []


@pytest.mark.failure(41)
def test_an_account_that_is_none_is_named(copy: tuple[Making, str]) -> None:
    making, image = copy
    making.world.aws.faults.error(
        "ec2",
        "ModifyImageAttribute",
        code="InvalidAMIAttributeItemValue",
        message='Invalid attribute item value "444455556666" for userId item type.',
        when=lambda call: call["Attribute"] == "launchPermission",
    )
    with pytest.raises(FunctionFailedError) as failed:
        release(making, image)
    assert failed.value.name == "AwsCallFailedError"
    assert image in failed.value.message and "444455556666" in failed.value.message


def test_a_refusal_is_the_bakes_failure(copy: tuple[Making, str]) -> None:
    making, image = copy
    making.world.aws.faults.error("ec2", "ModifySnapshotAttribute", code="UnauthorizedOperation")
    with pytest.raises(FunctionFailedError, match="AccessDeniedError"):
        release(making, image)
