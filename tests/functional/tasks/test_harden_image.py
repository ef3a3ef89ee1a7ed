"""HardenImage: IMDSv2, and an image that is not as asked is refused."""

import pytest

from tests.functional.conftest import FunctionFailedError
from tests.functional.making import Making


def test_the_image_asks_for_imdsv2(making: Making) -> None:
    image = making.imaged()
    with making.world.aws.ec2.state.lock:
        region = making.world.aws.ec2.state.region(making.world.aws.region)
        region.images[image].pop("ImdsSupport", None)
    event = {"image_id": image, "size_gib": 8, "bake": making.bake}
    for _ in range(2):
        assert making.world.invoke("harden_image", event) is None
    (found,) = making.world.tagged("image", making.bake)
    assert found["ImdsSupport"] == "v2.0"


def test_a_root_volume_that_is_too_small_is_named(making: Making) -> None:
    image = making.imaged()
    with pytest.raises(FunctionFailedError) as failed:
        making.world.invoke(
            "harden_image", {"image_id": image, "size_gib": 500, "bake": making.bake}
        )
    assert failed.value.name == "ImageFailedError"
    assert "not 500" in failed.value.message


def test_an_image_with_a_volume_that_is_not_encrypted_is_refused(making: Making) -> None:
    image = making.imaged()
    with making.world.aws.ec2.state.lock:
        region = making.world.aws.ec2.state.region(making.world.aws.region)
        region.images[image]["BlockDeviceMappings"][0]["Ebs"]["Encrypted"] = False
    with pytest.raises(FunctionFailedError) as failed:
        making.world.invoke("harden_image", {"image_id": image, "size_gib": 8, "bake": making.bake})
    assert failed.value.name == "ImageFailedError"
    assert "not all of its volumes are encrypted" in failed.value.message
