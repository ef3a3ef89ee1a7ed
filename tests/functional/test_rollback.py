"""A rollback between bakes: it lasts, whatever a schedule asks for, until somebody decides."""

import json
import uuid
from datetime import UTC

import pytest

from bakery.naming import rolled_back_pointer
from tests.functional.conftest import Ended, World

pytestmark = pytest.mark.long

RECIPE = "small"


def move(world: World, **given: object) -> Ended:
    answer = world.aws.client("stepfunctions").start_execution(
        stateMachineArn=world.outputs["MoveStateMachineArn"],
        name=f"move-{uuid.uuid4().hex[:8]}",
        input=json.dumps({"recipe": RECIPE, **given}),
    )
    return world.ended(answer["executionArn"])


def slot(world: World) -> str:
    return f"{world.aws.clock.now().astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


@pytest.fixture(scope="module")
def baked(deployed: World) -> tuple[str, str]:
    """Two images of the same inputs; the second was not wanted, and is rolled back."""
    good, bad = (deployed.bake(RECIPE, force=True) for _ in range(2))
    assert (good.status, bad.status) == ("SUCCEEDED", "SUCCEEDED"), (good.cause, bad.cause)
    ids = good.output["image"]["id"], bad.output["image"]["id"]
    rolled = move(deployed)
    assert rolled.status == "SUCCEEDED", rolled.cause
    return ids


def test_no_night_bakes_again_what_was_rolled_back(world: World, baked: tuple[str, str]) -> None:
    """Not even one that bakes whatever has changed: its force is the schedule's, no person's."""
    good, bad = baked
    # What is current differs from what a bake would make: else it would be unchanged anyway.
    tags = [{"Key": "ami-bakery:fingerprint", "Value": "recipe=of-before"}]
    world.aws.client("ec2").create_tags(Resources=[good], Tags=tags)
    for options in ({}, {"slot": slot(world)}, {"slot": slot(world), "force": True}):
        ended = world.bake(RECIPE, **options)
        assert ended.output["outcome"] == "unchanged", ended.output
        assert ended.output["reason"] == (
            f"nothing has changed since image {bad}, which was rolled back; change the recipe, or "
            "bake with force"
        )
        assert world.pointer(RECIPE) == good
        world.aws.clock.advance(minutes=1)


def test_a_change_ends_the_hold(world: World, baked: tuple[str, str]) -> None:
    good, bad = baked
    world.aws.client("ec2").create_tags(
        Resources=[bad], Tags=[{"Key": "ami-bakery:fingerprint", "Value": "recipe=of-before"}]
    )
    world.aws.client("ec2").create_tags(
        Resources=[good], Tags=[{"Key": "ami-bakery:fingerprint", "Value": "recipe=of-before"}]
    )
    plan = world.invoke("plan", {"bake": "preview", "input": {"recipe": RECIPE}, "preview": True})
    assert plan["bake_needed"]
    assert "recipe changed" in plan["reason"]


@pytest.mark.parametrize("spoilt", [False, True], ids=["gone", "spoilt"])
def test_without_the_parameter_there_is_no_hold(
    world: World, baked: tuple[str, str], spoilt: bool
) -> None:
    """An operator's way to end it; and a value that is no image holds nothing."""
    ssm, name = world.aws.client("ssm"), rolled_back_pointer(RECIPE)
    if world.parameter(name):
        ssm.delete_parameter(Name=name)
    if spoilt:
        ssm.put_parameter(Name=name, Value="x", Type="String")
    plan = world.invoke("plan", {"bake": "preview", "input": {"recipe": RECIPE}, "preview": True})
    assert plan["bake_needed"], plan["reason"]
    if spoilt:
        ssm.delete_parameter(Name=name)


def test_a_person_may_bake_it_all_the_same(world: World, baked: tuple[str, str]) -> None:
    good, _ = baked
    ended = world.bake(RECIPE, force=True)
    assert ended.output["outcome"] == "baked"
    assert ended.output["previous"] == good


def test_after_a_failed_bake_it_goes_back_and_forward_as_before(
    world: World, baked: tuple[str, str]
) -> None:
    """A failed bake that had moved the pointer has put it back; a rollback goes on from there."""
    current, previous = world.pointer(RECIPE), world.previous(RECIPE)
    world.aws.faults.error(
        "ssm", "PutParameter", code="AccessDeniedException", role="KeepPrevious", times=9
    )
    failed = world.bake(RECIPE, force=True)
    assert failed.status == "FAILED"
    world.aws.faults.clear()
    assert (world.pointer(RECIPE), world.previous(RECIPE)) == (current, previous)
    for now, before in ((previous, current), (current, previous)):
        ended = move(world, by="ada")
        assert ended.status == "SUCCEEDED", ended.cause
        assert (world.pointer(RECIPE), world.previous(RECIPE)) == (now, before)
    told = [it["detail"] for it in world.aws.events.of("Pointer Moved")]
    assert [(it["by"], it["from"], it["to"]) for it in told] == [
        ("ada", current, previous),
        ("ada", previous, current),
    ]


def test_a_bake_that_comes_during_a_rollback_waits_for_its_end(world: World) -> None:
    """The lease is an execution's as any other's: the bake queues behind it, and then plans."""
    world.aws.parameters.validation = 600
    try:
        arn = world.aws.client("stepfunctions").start_execution(
            stateMachineArn=world.outputs["MoveStateMachineArn"],
            name=f"move-{uuid.uuid4().hex[:8]}",
            input=json.dumps({"recipe": RECIPE}),
        )["executionArn"]
        world.aws.until(lambda: world.leases().get(RECIPE) == arn, what="the lease")
        bake = world.start({"recipe": RECIPE, "force": True, "when_busy": "join"})
        world.aws.until(
            lambda: any(key.startswith("wait#turn/") for key in world.open_waits()), what="the turn"
        )
    finally:
        world.aws.parameters.validation = 3
    assert world.ended(arn).status in {"SUCCEEDED", "FAILED"}
    ended = world.ended(bake)
    # It joins no rollback: that has made no image.
    assert (ended.status, ended.output.get("outcome")) == ("SUCCEEDED", "baked"), ended.cause
