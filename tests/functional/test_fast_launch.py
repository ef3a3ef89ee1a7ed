"""A whole bake of a Windows recipe with fast launch: it comes after the publication, and no failure
of it undoes that."""

from collections.abc import Iterator

import pytest

from bakery.naming import pointer
from scripts.bakery_cli.synthesis import synthesize
from scripts.local import LocalAws
from tests.functional.conftest import World
from tests.functional.tasks.test_retire_fast_launch import RECIPES, REGION, template

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def deployed() -> Iterator[World]:
    assembly = synthesize(RECIPES, lambda _: None)
    with LocalAws.start(assembly, region="eu-west-1", scale=240.0) as aws:
        template(aws)
        yield World(aws, aws.deploy())


def fast(world: World) -> dict[str, str]:
    found = world.aws.client("ec2", REGION).describe_fast_launch_images()["FastLaunchImages"]
    return {it["ImageId"]: it["State"] for it in found}


@pytest.mark.failure(69)
def test_a_failure_of_it_is_told_and_the_next_bake_makes_it_good(world: World) -> None:
    world.aws.faults.error("ec2", "EnableFastLaunch", code="ResourceLimitExceeded")

    first = world.bake("swift", seconds=180)

    assert first.status == "SUCCEEDED", first.cause
    image = first.output["copies"][REGION]
    assert world.parameter(pointer("swift"), REGION) == image
    assert any("ResourceLimitExceeded" in it for it in first.output["left"])
    assert fast(world) == {}

    second = world.bake("swift", force=True, seconds=180)

    assert second.status == "SUCCEEDED", second.cause
    assert second.output["left"] == []
    newer = second.output["copies"][REGION]
    assert fast(world) == {newer: "enabling"}
    assert (
        f"{REGION}: {newer}: enable fast launch: it is the current image"
        in (second.output["retired"])
    )
