"""`bakery use`: what it prints runs, on the account in which a recipe has been baked."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from scripts.bakery_cli import use
from tests.functional.cli.conftest import Bakery
from tests.functional.conftest import World
from tests.unit.cli.test_use import called


@pytest.fixture(scope="module")
def baked(deployed: World) -> str:
    assert deployed.bake("small").status == "SUCCEEDED"
    found = deployed.pointer("small")
    assert found
    return found


def printed(said: str) -> list[tuple[str, str, dict[str, Any]]]:
    """The commands in the output."""
    found = [block for block in said.split("\n\n") if "\naws " in f"\n{block}"]
    return [called(block, SUBNETS="subnet-0a") for block in found]


def test_its_commands_launch_the_current_image(bakery: Bakery, baked: str, world: World) -> None:
    said = bakery("use", "small")
    assert (said.code, said.err) == (0, "")
    run, template, group, refresh = printed(said.out)

    ec2 = world.aws.client("ec2")
    (instance,) = ec2.run_instances(**run[2])["Instances"]
    assert instance["ImageId"] == baked
    ec2.terminate_instances(InstanceIds=[instance["InstanceId"]])

    made = ec2.create_launch_template(**template[2])["LaunchTemplate"]
    assert made["LaunchTemplateName"] == "small"
    # Groups of the local AWS launch nothing.
    scaling = world.aws.client("autoscaling")
    scaling.create_auto_scaling_group(**{**group[2], "MinSize": 0, "MaxSize": 0})
    (found,) = scaling.describe_auto_scaling_groups()["AutoScalingGroups"]
    assert found["LaunchTemplate"]["LaunchTemplateName"] == "small"
    assert refresh[2]["AutoScalingGroupName"] == found["AutoScalingGroupName"]
    scaling.delete_auto_scaling_group(AutoScalingGroupName="small")
    ec2.delete_launch_template(LaunchTemplateId=made["LaunchTemplateId"])


def test_of_a_recipe_without_an_image_the_first_command_says_so(
    bakery: Bakery, world: World
) -> None:
    (_, _, parameters), *_ = printed(bakery("use", "locked").out)
    with pytest.raises(ClientError, match="ParameterNotFound"):
        world.aws.client("ec2").run_instances(**parameters)


def test_it_asks_nothing_of_aws(bakery: Bakery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert bakery("use", "small").code == 0


def test_labels_and_recipes_that_are_not_there_are_answered_with_those_that_are(
    bakery: Bakery,
) -> None:
    said = bakery("use", "small", "--label", "nope")
    assert said.code == 2 and "Its labels: none" in said.err
    said = bakery("use", "nope")
    assert said.code == 1 and "Recipes here: " in said.err


def test_the_parameter_is_the_one_that_bakes_move(baked: str, world: World) -> None:
    assert world.parameter(use.parameter("small")) == baked
