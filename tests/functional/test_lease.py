"""One bake of a recipe at a time, and one bake of a name for ever."""

import pytest

from tests.functional.conftest import FunctionFailedError, World


def test_a_second_bake_of_a_recipe_is_refused_while_the_first_runs(world: World) -> None:
    world.aws.agent.script("AmiBakery.small.packages", seconds=600)
    first = world.start({"recipe": "small", "force": True})
    world.aws.until(lambda: world.calls("RunInstances"), what="the first builder")
    second = world.bake("small", force=True)
    assert second.error == "RecipeBusyError"
    assert first.rpartition(":")[2] in second.cause
    assert world.ended(first).status == "SUCCEEDED"
    assert len(world.calls("RunInstances")) == 1


def test_another_recipe_is_not_kept_out(world: World) -> None:
    world.aws.agent.script("AmiBakery.small.packages", seconds=600)
    first = world.start({"recipe": "small", "force": True})
    world.aws.until(lambda: world.calls("RunInstances"), what="the first builder")
    assert world.bake("web", force=True).status == "SUCCEEDED"
    assert world.ended(first).status == "SUCCEEDED"


def test_a_failed_bake_gives_its_lease_back(world: World) -> None:
    world.aws.agent.script("AmiBakery.small.packages", exit_code=1)
    assert world.bake("small", force=True).status == "FAILED"
    assert world.bake("small", force=True).status == "SUCCEEDED"


def test_a_bake_that_was_stopped_by_hand_does_not_keep_the_next_one_out(world: World) -> None:
    world.aws.agent.script("AmiBakery.small.packages", status="InProgress")
    first = world.start({"recipe": "small", "force": True})
    world.aws.until(lambda: len(world.calls("SendCommand")) == 2)
    world.aws.client("stepfunctions").stop_execution(executionArn=first)
    (builder,) = world.tagged("instance", first.rpartition(":")[2])
    world.aws.client("ec2").terminate_instances(InstanceIds=[builder["InstanceId"]])
    assert world.bake("small", force=True).status == "SUCCEEDED"


def test_a_name_that_an_earlier_bake_had_is_refused_and_its_image_stays(world: World) -> None:
    """Step Functions lets a name be used again after 90 days; tags last longer."""
    earlier = world.bake("small", force=True)
    image = earlier.output["image"]["id"]
    with pytest.raises(FunctionFailedError, match=image) as refused:
        world.invoke("plan", {"bake": earlier.name, "input": {"recipe": "small"}})
    assert refused.value.name == "InvalidInputError"
    world.invoke(
        "clean_up",
        {
            "bake": earlier.name,
            "state": {"failure": {"Error": "InvalidInputError", "Cause": "name used"}},
        },
    )
    assert [found["ImageId"] for found in world.tagged("image", earlier.name)] == [image]
    assert world.pointer("small") == image
