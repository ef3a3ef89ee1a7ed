"""Bakes that are stopped by hand, or time out, in each state: no Catch runs, the janitor does."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from bakery import budgets
from bakery.naming import TAG_BAKE
from scripts.bakery_cli.stages import STAGES
from tests.functional.conftest import Ended, World
from tests.functional.faults.invariants import OWN_ERRORS

pytestmark = pytest.mark.long

TESTING = ("LaunchTest", "AwaitTest", "RunTest", "RecordInventory", "EndTests")
STATES = [*(stage.state for stage in STAGES), "RunStep", *TESTING, "Report", "FailBake"]
MORE_STATES = ["CopyImage", "CompareIdentity", "RetireImages"]
"""Which only a bake of all that a recipe can ask for has, in three Regions."""
ALL_STATES = [*(("small", it) for it in STATES), *(("wide", it) for it in MORE_STATES)]
ELSEWHERE = {
    "AwaitTurn": "test_a_bake_in_a_state_that_few_bakes_have_leaves_nothing",
    "ReplaceBuilder": "test_a_bake_in_a_state_that_few_bakes_have_leaves_nothing",
    "CloneHost": "test_hosts.py",
}
LAST = ("Retire", "RetireImages", "CleanUp", "Report", "FailBake")
"""A bake may have ended in the moment that it is seen there."""


def begun(world: World, state: str, recipe: str = "small") -> str:
    """An execution that is in the state, or just behind it."""
    if state == "FailBake":
        world.aws.agent.script("AmiBakery.small.packages", exit_code=7)
    arn = world.start({"recipe": recipe, "force": True})
    world.aws.until(lambda: world.aws.executions.has_entered(arn, state), what=state, seconds=120)
    return arn


def test_a_bake_is_cut_short_in_every_state_that_does_something(world: World) -> None:
    found = world.aws.client("stepfunctions").describe_state_machine(
        stateMachineArn=world.outputs["BakeStateMachineArn"]
    )
    states = tasks(json.loads(found["definition"]))
    assert len(states) > 20
    assert states <= {*STATES, *MORE_STATES, *ELSEWHERE}


def tasks(part: Mapping[str, Any]) -> set[str]:
    found = {name for name, it in part["States"].items() if it["Type"] == "Task"}
    for it in part["States"].values():
        inside = [
            *it.get("Branches", []),
            *([it["ItemProcessor"]] if "ItemProcessor" in it else []),
        ]
        found = found.union(*map(tasks, inside))
    return found


def swept(world: World, name: str) -> None:
    """One period of the janitor later nothing of the bake is left, and its recipe is free."""
    # A function that was running goes on, for some minutes at most.
    world.aws.until(lambda: world.aws.lambdas.idle, what="the end of all functions")
    world.aws.clock.advance(minutes=16)
    world.invoke("remove_orphans", {})
    assert world.left_behind(name) == []
    assert world.leases() == {}
    assert world.open_waits() == []
    pointed = world.pointer("small")
    images = world.aws.client("ec2").describe_images(ImageIds=[pointed] if pointed else [])
    assert pointed is None or images["Images"][0]["State"] == "available"


def announced(world: World, name: str) -> list[str]:
    return [
        event["detail-type"]
        for event in world.aws.events.recorded
        if event["source"] == "ami-bakery" and event["detail"].get("bake") == name
    ]


@pytest.mark.failure(51)
@pytest.mark.parametrize(("recipe", "state"), ALL_STATES)
def test_a_bake_that_is_stopped_by_hand_leaves_nothing(
    world: World, recipe: str, state: str
) -> None:
    arn = begun(world, state, recipe)
    world.aws.client("stepfunctions").stop_execution(executionArn=arn, cause="by hand")
    ended = world.ended(arn)
    assert ended.status == "ABORTED" or state in LAST, ended
    swept(world, ended.name)
    if ended.status == "ABORTED":
        world.aws.until(lambda: announced(world, ended.name), what="the announcement")
        assert announced(world, ended.name) == ["Bake Failed"]


@pytest.mark.failure(52)
@pytest.mark.parametrize(("recipe", "state"), ALL_STATES)
def test_a_bake_that_times_out_leaves_nothing(world: World, recipe: str, state: str) -> None:
    arn = begun(world, state, recipe)
    world.aws.clock.advance(seconds=budgets.WHOLE_BAKE.total_seconds() + 3600)
    ended = world.ended(arn)
    assert ended.status == "TIMED_OUT" or state in LAST, ended
    swept(world, ended.name)
    if ended.status == "TIMED_OUT":
        world.aws.until(lambda: announced(world, ended.name), what="the announcement")
        assert announced(world, ended.name) == ["Bake Failed"]


def test_a_bake_that_only_could_not_report_says_that_its_image_stays(world: World) -> None:
    fault = world.aws.faults.error(
        "lambda",
        "Invoke",
        code="AccessDeniedException",
        message="not for you",
        status=403,
        times=99,
        when=lambda asked: "TasksReport" in asked["FunctionName"],
    )
    ended = world.bake("small", force=True)
    assert fault.matched
    assert (ended.status, ended.error) == ("FAILED", "UnexpectedError")
    assert ended.cause.startswith(
        "The bake did its work, and what it made stays. But its report failed: "
    )
    assert "not for you" in ended.cause
    world.aws.faults.clear()
    swept(world, ended.name)
    (image,) = world.tagged("image", ended.name)
    assert world.pointer("small") == image["ImageId"]


def waiting_for_its_turn(world: World) -> tuple[str, str]:
    first = begun(world, "CreateImage")
    return begun(world, "AwaitTurn"), first


def replacing_its_builder(world: World) -> tuple[str, str]:
    def take() -> None:
        for instance in world.aws.ec2.all("instances"):
            if instance["State"]["Name"] == "running":
                world.aws.ec2.retire(instance["InstanceId"])

    world.aws.faults.after("ssm", "SendCommand", take)
    return begun(world, "ReplaceBuilder"), ""


@pytest.mark.parametrize("cut", ["stopped", "timed out"])
@pytest.mark.parametrize("begin", [waiting_for_its_turn, replacing_its_builder])
def test_a_bake_in_a_state_that_few_bakes_have_leaves_nothing(
    world: World, begin: Callable[[World], tuple[str, str]], cut: str
) -> None:
    arn, other = begin(world)
    if cut == "stopped":
        world.aws.client("stepfunctions").stop_execution(executionArn=arn, cause="by hand")
    else:
        world.aws.clock.advance(seconds=budgets.WHOLE_BAKE.total_seconds() + 3600)
    ended = world.ended(arn)
    assert ended.status == {"stopped": "ABORTED", "timed out": "TIMED_OUT"}[cut]
    if other:
        world.ended(other)
    swept(world, ended.name)


def test_a_builder_of_a_launch_that_was_under_way_is_found_later(world: World) -> None:
    """RunInstances takes its effect after the janitor has looked."""
    stopped: list[dict[str, Any]] = []

    def stop() -> None:
        world.aws.client("stepfunctions").stop_execution(executionArn=arn)
        stopped.append(world.invoke("remove_orphans", {}))

    world.aws.faults.error(
        "ec2", "RunInstances", code="InternalError", status=500, when=lambda _: not stopped
    )
    arn = world.start({"recipe": "small", "force": True})
    world.aws.until(
        lambda: world.aws.executions.has_entered(arn, "LaunchBuilder"), what="the launch"
    )
    stop()
    swept(world, world.ended(arn).name)


REDRIVEN = ("LaunchBuilder", "Prepare", "RunStep", "StopBuilder", "TestAndCopy", "PublishPointers")


def stopped_in(world: World, state: str) -> str:
    arn = begun(world, state)
    world.aws.client("stepfunctions").stop_execution(executionArn=arn, cause="by hand")
    assert world.ended(arn).status == "ABORTED"
    world.aws.until(lambda: world.aws.lambdas.idle, what="the end of all functions")
    return arn


def unheard(world: World) -> None:
    """The janitor does not hear of bakes that are stopped."""
    world.aws.events.drop(
        "Step Functions Execution Status Change",
        when=lambda it: it["detail"]["status"] == "ABORTED",
    )


def redriven(world: World, arn: str) -> Ended:
    world.aws.client("stepfunctions").redrive_execution(executionArn=arn)
    return world.ended(arn, seconds=90)


@pytest.mark.parametrize("state", REDRIVEN)
def test_a_stopped_bake_that_is_redriven_before_the_janitor_was_there_goes_on_and_publishes(
    world: World, state: str
) -> None:
    unheard(world)
    arn = stopped_in(world, state)
    ended = redriven(world, arn)
    assert ended.status == "SUCCEEDED", (ended.error, ended.cause)
    assert world.pointer("small") == ended.output["image"]["id"]
    assert len(world.tagged("builder", ended.name)) == 1
    swept(world, ended.name)


@pytest.mark.parametrize("state", REDRIVEN)
def test_a_stopped_bake_that_is_redriven_when_the_janitor_was_there_ends_clean(
    world: World, state: str
) -> None:
    """It goes on where something is left to go on with, else it fails and says so."""
    arn = stopped_in(world, state)
    before = world.pointer("small")
    swept(world, arn.rpartition(":")[2])
    ended = redriven(world, arn)
    if ended.status == "SUCCEEDED":
        assert world.pointer("small") == ended.output["image"]["id"]
    else:
        assert ended.error in OWN_ERRORS - {"UnexpectedError"}, (ended.error, ended.cause)
        assert world.pointer("small") == before
    swept(world, ended.name)


@pytest.mark.parametrize("state", ["TestAndCopy", "PublishPointers"])
def test_a_stopped_bake_that_is_redriven_after_a_later_one_takes_nothing_back(
    world: World, state: str
) -> None:
    arn = stopped_in(world, state)
    newer = world.bake("small", force=True)
    assert newer.status == "SUCCEEDED", newer.cause
    ended = redriven(world, arn)
    assert ended.status == "FAILED"
    assert ended.error in OWN_ERRORS - {"UnexpectedError"}, (ended.error, ended.cause)
    assert world.pointer("small") == newer.output["image"]["id"]
    swept(world, ended.name)


def test_a_stopped_bake_that_is_redriven_while_another_bakes_leaves_what_is_in_use(
    world: World,
) -> None:
    """It had published before it was stopped: for days everybody has launched that image."""
    if world.pointer("small") is None:
        assert world.bake("small").status == "SUCCEEDED"
    world.aws.faults.error(
        "ssm", "PutParameter", code="TooManyUpdates", times=99, role="KeepPrevious"
    )
    arn = stopped_in(world, "KeepPrevious")
    (image,) = world.tagged("image", arn.rpartition(":")[2])
    assert world.pointer("small") == image["ImageId"]
    with world.baking("small"):
        ended = redriven(world, arn)
        assert ended.error == "RecipeBusyError", (ended.error, ended.cause)
        assert world.pointer("small") == image["ImageId"]
    swept(world, ended.name)
    assert world.pointer("small") == image["ImageId"]


def test_a_stopped_bake_that_fails_when_it_is_redriven_and_cannot_be_cleaned_up_tells_its_failure(
    world: World,
) -> None:
    """The failure is no redrive, though nothing but CleanUp notes after how many it came."""
    unheard(world)
    arn = stopped_in(world, "StopBuilder")
    name = arn.rpartition(":")[2]
    faults = world.aws.faults
    faults.error("ec2", "CreateImage", code="InvalidParameterValue", message="why", status=400)
    faults.error("ec2", "TerminateInstances", code="InternalError", status=500, times=9999)
    ended = redriven(world, arn)
    assert (ended.status, ended.error) == ("FAILED", "AwsCallFailedError"), ended
    assert "ec2:CreateImage" in ended.cause
    assert f"anything that carries this execution's name as tag {TAG_BAKE}" in ended.cause
    faults.clear()
    swept(world, name)


HELD = {
    "PublishPointers": ("ssm", "PutParameter", "TooManyUpdates"),
    "UpdateTemplates": ("ec2", "CreateLaunchTemplateVersion", "RequestLimitExceeded"),
    "KeepPrevious": ("ssm", "PutParameter", "TooManyUpdates"),
}
"""What keeps a bake in the state, once it has done the bakery's own Region."""

WIDE = ("eu-west-1", "eu-central-1", "us-east-1")


@pytest.mark.parametrize("state", HELD)
def test_what_a_stopped_bake_has_published_by_halves_the_next_one_publishes_everywhere(
    world: World, state: str
) -> None:
    """Nothing has changed since, and the janitor has removed what no pointer held."""
    if world.pointer("wide") is None:
        assert world.bake("wide", seconds=120).status == "SUCCEEDED"
    service, operation, code = HELD[state]
    fault = world.aws.faults.error(
        service, operation, code=code, status=503, times=999, role=state, region="eu-central-1"
    )
    arn = world.start({"recipe": "wide", "force": True})
    world.aws.until(lambda: fault.matched, what=state, seconds=120)
    world.aws.client("stepfunctions").stop_execution(executionArn=arn, cause="by hand")
    stopped = world.ended(arn)
    assert stopped.status == "ABORTED"
    world.aws.until(lambda: world.aws.lambdas.idle, what="the end of all functions", seconds=60)
    world.aws.faults.clear()
    (image,) = world.tagged("image", stopped.name)
    # Parameter Store looks at the image first, and has the value in force later.
    world.aws.until(lambda: world.pointer("wide") == image["ImageId"], what="the pointer at home")
    world.aws.clock.advance(minutes=16)
    world.invoke("remove_orphans", {})

    ended = world.bake("wide", seconds=120)
    assert ended.status == "SUCCEEDED", (ended.error, ended.cause)
    assert (
        f"published by bake {stopped.name}, which did not come to its end (ABORTED)"
        in (ended.output["reason"])
    )
    for region in WIDE:
        (made,) = world.tagged("image", ended.name, region)
        assert world.pointer("wide", region) == made["ImageId"]
    assert world.bake("wide").output["outcome"] == "unchanged"
