"""Whole bakes say what has changed in their image, or why that is not known."""

import pytest

from bakery import inventory
from tests.functional.conftest import Ended, World


def kept(world: World, image: str) -> inventory.Inventory:
    """The inventory of an image of recipe small."""
    found = world.aws.client("s3").get_object(
        Bucket=world.outputs["InventoryBucket"], Key=inventory.key("small", image)
    )
    return inventory.unpack(found["Body"].read())


def baked(world: World) -> Ended:
    ended = world.bake("small", force=True, seconds=120)
    assert ended.status == "SUCCEEDED", (ended.error, ended.cause)
    return ended


def listed(world: World, **packages: str) -> Ended:
    """A bake on whose test instances report-packages finds these."""
    name = f"listed-{len(world.aws.commands.all)}"
    lines = [
        f"package\trpm\t{package}\t{version}\tx86_64\t\t" for package, version in packages.items()
    ]
    text = "\n".join([*lines, f"packages\t{len(lines)}", f"ami-bakery: {name} done", ""])
    world.aws.agent.script("AmiBakery-report-packages", stdout=text, times=float("inf"))
    ended = world.ended(world.start({"recipe": "small", "force": True}, name=name), seconds=120)
    assert ended.status == "SUCCEEDED", (ended.error, ended.cause)
    return ended


def test_two_bakes_of_the_same_differ_in_no_package(world: World) -> None:
    first, second = baked(world).output, baked(world).output
    assert second["previous"] == first["image"]["id"]
    assert second["changes"] == "no package of 2 has changed"
    found = kept(world, second["image"]["id"])
    assert found.image_name == second["image"]["name"]
    assert found.base_image.id == "ami-0a120230000000064"
    assert found.size_gib == 8 and "bakery=" in found.fingerprint
    assert found.packages == kept(world, first["image"]["id"]).packages


def test_what_has_changed_is_in_the_report(world: World) -> None:
    listed(world, bash="5.1-1", openssl="3.0.13-1", old="1-1")
    world.aws.agent.scripts.clear()
    ended = listed(world, bash="5.1-1", openssl="3.0.13-2", new="1-1")
    assert ended.output["changes"] == (
        "1 updated, 1 added, 1 removed; "
        "openssl 3.0.13-1 to 3.0.13-2, new 1-1 added, old 1-1 removed"
    )


def test_a_list_that_systems_manager_does_not_show_to_its_end_is_kept_whole(world: World) -> None:
    packages = {f"package-{n:04}": f"{n}-1.amzn2023.0.1" for n in range(1_500)}
    ended = listed(world, **packages)
    assert len(kept(world, ended.output["image"]["id"]).packages) == 1_500


@pytest.mark.parametrize(
    ("operation", "code"), [("PutObject", "AccessDenied"), ("PutObject", "NoSuchBucket")]
)
def test_an_inventory_that_cannot_be_kept_is_told_and_fails_no_bake(
    world: World, operation: str, code: str
) -> None:
    world.aws.faults.error("s3", operation, code=code, status=403, times=float("inf"))
    output = baked(world).output
    assert output["changes"].startswith("not recorded: ") and code in output["changes"]
    assert world.pointer("small") == output["image"]["id"]
    world.aws.faults.clear()
    again = baked(world).output
    assert again["changes"].endswith(f"of {output['image']['id']} no inventory was kept")


def test_a_log_that_is_late_is_waited_for(world: World) -> None:
    baked(world)
    fault = world.aws.faults.error(
        "logs", "GetLogEvents", code="ResourceNotFoundException", times=2
    )
    assert baked(world).output["changes"] == "no package of 2 has changed"
    assert fault.matched == 2
