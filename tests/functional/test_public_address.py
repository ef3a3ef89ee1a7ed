"""Whole bakes where every subnet gives its instances a public address."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.bakery_cli.synthesis import synthesize
from scripts.local import LocalAws
from tests.functional.conftest import World

pytestmark = pytest.mark.long

RECIPES = Path(__file__).parent / "public"


@pytest.fixture(scope="module")
def deployed() -> Iterator[World]:
    with LocalAws.start(
        synthesize(RECIPES, lambda _: None), region="eu-west-1", scale=120.0
    ) as aws:
        world = World(aws, aws.deploy())
        ec2 = aws.client("ec2")
        for subnet in ec2.describe_subnets()["Subnets"]:
            ec2.modify_subnet_attribute(
                SubnetId=subnet["SubnetId"], MapPublicIpOnLaunch={"Value": True}
            )
        yield world


def test_a_recipe_that_says_so_builds_and_tests_with_an_address(world: World) -> None:
    ended = world.bake("public")
    assert ended.status == "SUCCEEDED", ended.cause
    asked = [it["NetworkInterfaces"][0] for it in world.calls("RunInstances")]
    assert len(asked) > 1
    assert {it["AssociatePublicIpAddress"] for it in asked} == {True}


def test_another_recipe_of_the_same_deployment_is_refused_before_anything_is_launched(
    world: World,
) -> None:
    ended = world.bake("private")
    assert (ended.status, ended.error) == ("FAILED", "InvalidRecipeError")
    assert "builder.public_address" in ended.cause
    assert world.calls("RunInstances") == []
