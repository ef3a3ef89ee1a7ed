"""`bakery diff` and `bakery sbom` against what a stack has kept."""

import json
import uuid
from collections.abc import Callable

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from bakery import inventory
from tests.data.packages import DEBIAN
from tests.functional.cli.conftest import Bakery
from tests.functional.conftest import World
from tests.unit.cli.test_diff import UPDATED, kept

Keep = Callable[..., str]


@pytest.fixture
def keep(world: World) -> Keep:
    """Keep an inventory of an image as a bake does."""

    def keep(output: str, image: str = "", recipe: str = "small") -> str:
        image = image or f"ami-{uuid.uuid4().hex[:17]}"
        content = inventory.pack(kept(output, image_id=image, recipe=recipe))
        world.aws.client("s3").put_object(
            Bucket=world.outputs["InventoryBucket"],
            Key=inventory.key(recipe, image),
            Body=content,
        )
        return image

    return keep


@pytest.fixture(scope="module")
def images(deployed: World) -> tuple[str, str]:
    """The previous and the current image of recipe small."""
    for _ in range(2):
        assert deployed.bake("small", force=True).status == "SUCCEEDED"
    previous, current = deployed.previous("small"), deployed.pointer("small")
    assert previous and current
    return previous, current


def test_two_images_are_compared_though_they_are_gone(bakery: Bakery, keep: Keep) -> None:
    old, new = keep(DEBIAN), keep(UPDATED, recipe="web")
    said = bakery("diff", old, new)
    assert said.code == 0, said.err
    assert said.lines[0].startswith(f"From {old} ")
    assert "Packages    2 updated; 10 packages now" in said.lines
    found = json.loads(bakery("diff", old, new, "--json").out)
    assert found["new"]["image_id"] == new and len(found["packages"]["updated"]) == 2


def test_a_recipe_means_its_previous_and_its_current_image(
    bakery: Bakery, keep: Keep, images: tuple[str, str], world: World
) -> None:
    keep(DEBIAN, images[0])
    keep(UPDATED, images[1])
    world.aws.calls.clear()
    said = bakery("diff", "small")
    assert said.code == 0, said.err
    assert [line.split()[1] for line in said.lines[:2]] == list(images)
    # The images' tags say where their inventories are.
    assert world.calls("ListObjectsV2") == []
    assert "2 updated" in said.out


def test_a_bill_of_materials_is_all_that_is_printed(
    bakery: Bakery, keep: Keep, images: tuple[str, str]
) -> None:
    keep(UPDATED, images[1])
    said = bakery("sbom", images[1])
    assert (said.code, said.err) == (0, "")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(said.out) is None
    assert bakery("sbom", "small").out == said.out


def test_a_first_image_has_nothing_to_be_compared_with(bakery: Bakery, world: World) -> None:
    assert world.bake("thrifty").status == "SUCCEEDED"
    said = bakery("diff", "thrifty")
    assert said.code == 2
    assert f"Image {world.pointer('thrifty')} is the first of recipe 'thrifty'" in said.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("diff", "locked"), "Recipe 'locked' has no image yet"),
        (("sbom", "locked"), "Recipe 'locked' has no image yet"),
        (("diff", "ami-0123456789abcdef0"), "One image cannot be compared."),
        (("diff", "ami-0123456789abcdef0", "small"), "'small' is no image's id."),
        (("sbom", "ami-0123456789abcdef0"), "no inventory of image ami-0123456789abcdef0 in s3://"),
        (("sbom", "ami-0a120230000000064"), "no inventory of image ami-0a120230000000064 in s3://"),
        (("diff", "small", "--local"), "no images are left to look at"),
    ],
)
def test_what_cannot_be_shown_is_said_with_the_remedy(
    bakery: Bakery, arguments: tuple[str, ...], says: str
) -> None:
    said = bakery(*arguments)
    assert (said.code, said.out) == (2, "")
    assert says in said.err and len(said.err.splitlines()) >= 2


def test_a_damaged_inventory_is_named(bakery: Bakery, keep: Keep, world: World) -> None:
    image = keep(DEBIAN)
    key = inventory.key("small", image)
    bucket = world.outputs["InventoryBucket"]
    world.aws.client("s3").put_object(Bucket=bucket, Key=key, Body=b"no gzip")
    said = bakery("sbom", image)
    assert said.code == 2 and f"s3://{bucket}/{key} cannot be read" in said.err


def test_a_stack_of_a_release_before_has_none(
    bakery: Bakery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "scripts.bakery_cli.aws.stack._outputs",
        lambda *_: {"BakeStateMachineArn": "arn", "PlanFunctionName": "plan"},
    )
    said = bakery("diff", "small")
    assert said.code == 2 and "keeps no inventories" in said.err
