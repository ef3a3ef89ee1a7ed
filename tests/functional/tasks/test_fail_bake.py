"""FailBake: the first error under a name of ours; after a redrive, on from the failed stage."""

import json
from typing import Any

import pytest

from bakery.naming import TAG_BAKE
from bakery.stages import STAGES
from tests.functional.conftest import FunctionFailedError, World
from tests.functional.making import NOBODY, Making, forget_tag, resumed
from tests.functional.making import state as state_of

ENTERED = {"entered": "2026-01-01T03:00:00.000Z"}
FAILURE = {
    "Error": "CustomizationFailedError",
    "Cause": json.dumps({"errorType": "CustomizationFailedError", "errorMessage": "step failed"}),
}


def run(world: World, state: dict[str, Any], *, bake: str = "made", redrives: int = 0) -> None:
    event = {"token": NOBODY, "bake": bake, "execution": world.execution(bake), "state": state}
    assert world.invoke("fail_bake", {**event, "redrives": redrives}) is None


def told(world: World, **state: object) -> tuple[str, str]:
    """Error and cause that the execution ends with."""
    world.aws.calls.clear()
    run(world, {"plan": ENTERED, "failure": FAILURE, **state})
    (answer,) = resumed(world)
    return answer["error"], answer["cause"]


def failed_at(making: Making, stage: str) -> dict[str, Any]:
    """The state of a bake that failed in the stage, after clean up."""
    done = STAGES[: STAGES.index(stage)]
    state: dict[str, Any] = {key: dict(ENTERED) for key in done}
    state["plan"] = {**making.plan, **ENTERED}
    if "create_image" in done and (made := making.images()):
        state["create_image"]["image_id"] = made[0]
    return {**state, "failure": FAILURE, "clean_up": {"result": {"removed": [], "left": []}}}


def redriven(making: Making, state: dict[str, Any]) -> dict[str, Any]:
    """The answer to the token after one redrive."""
    making.world.aws.calls.clear()
    run(making.world, state, bake=making.bake, redrives=1)
    (answer,) = resumed(making.world)
    return answer


def test_an_error_of_ours_is_told_with_its_message_alone(quiet: World) -> None:
    assert told(quiet) == ("CustomizationFailedError", "step failed")


def test_called_twice_it_says_the_same(quiet: World) -> None:
    assert told(quiet) == told(quiet)


@pytest.mark.failure(49)
def test_an_answer_that_is_lost_has_a_name_of_its_own_and_the_bakes_error_in_it(
    quiet: World,
) -> None:
    """It may be heard or not: the state is tried again for it, as it is for no error of a bake."""
    quiet.aws.faults.lost_answer("stepfunctions", "SendTaskFailure", times=5)
    with pytest.raises(FunctionFailedError) as caught:
        run(quiet, {"plan": ENTERED, "failure": FAILURE})
    assert caught.value.name == "EndNotToldError"
    assert str(caught.value).endswith("It is: CustomizationFailedError: step failed")
    assert told(quiet) == ("CustomizationFailedError", "step failed")


@pytest.mark.parametrize("told_is", ["its end", "that it goes on"])
def test_a_refusal_does_not_hide_the_bakes_error(making: Making, told_is: str) -> None:
    making.launched()
    state, redrives = failed_at(making, "stop"), int(told_is != "its end")
    operation = "SendTaskSuccess" if redrives else "SendTaskFailure"
    making.world.aws.faults.error(
        "stepfunctions", operation, code="AccessDeniedException", message="by an SCP"
    )
    with pytest.raises(FunctionFailedError) as caught:
        run(making.world, state, bake=making.bake, redrives=redrives)
    assert caught.value.name == "EndNotToldError"
    assert "by an SCP" in caught.value.message
    it = "that the bake goes on at StopBuilder" if redrives else "CustomizationFailedError: step"
    assert f"It is: {it}" in caught.value.message


def test_a_builder_that_was_replaced_before_and_why_is_told(quiet: World) -> None:
    lost = {**ENTERED, "instance_id": "i-1", "why": "Server.ScheduledStop"}
    error, cause = told(quiet, lost_builder=lost)
    assert error == "CustomizationFailedError"
    assert cause == "step failed\nBefore, builder i-1 was replaced: Server.ScheduledStop"


def test_why_a_builder_was_not_replaced_is_told_below_its_loss(quiet: World) -> None:
    taken = {"Error": "BuilderTakenError", "Cause": "EC2 stopped i-2"}
    message = json.dumps({"errorType": "BuilderTakenError", "errorMessage": "builder 2 of 2"})
    not_replaced = {"Error": "BuilderTakenError", "Cause": message}
    assert told(quiet, failure=taken, replace_failure=not_replaced) == (
        "BuilderTakenError",
        "EC2 stopped i-2\nIt was not replaced: BuilderTakenError: builder 2 of 2",
    )


@pytest.mark.parametrize(
    ("caught", "error", "words"),
    [
        ({"Error": "States.Timeout", "Cause": ""}, "StageTimedOutError", "Stage launch"),
        (
            {"Error": "Lambda.Unknown", "Cause": "killed"},
            "UnexpectedError",
            "Stage launch ended with Lambda.Unknown: killed",
        ),
        ({"Error": "KeyError", "Cause": ""}, "UnexpectedError", "no cause given"),
    ],
)
def test_an_error_that_is_not_ours_becomes_one_of_ours(
    quiet: World, caught: dict[str, str], error: str, words: str
) -> None:
    name, cause = told(quiet, failure=caught)
    assert name == error
    assert words in cause


def test_what_clean_up_could_not_remove_follows_the_first_error(quiet: World) -> None:
    left = ["instance i-1: ec2:TerminateInstances failed: OperationNotPermitted: protected"]
    error, cause = told(quiet, clean_up={"result": {"removed": [], "left": left}})
    assert error == "CustomizationFailedError"
    assert cause == (
        "step failed\nClean up could not remove, and you must:\n"
        "instance i-1: ec2:TerminateInstances failed: OperationNotPermitted: protected"
    )


def test_a_clean_up_that_failed_as_a_whole_is_told_after_the_first_error(quiet: World) -> None:
    error, cause = told(quiet, clean_up_failure={"Error": "States.Timeout", "Cause": ""})
    assert error == "CustomizationFailedError"
    assert cause.startswith("step failed\n")
    assert "anything that carries this execution's name as tag ami-bakery:bake" in cause
    assert cause.endswith(": States.Timeout")


def test_a_builder_that_may_be_kept_is_told_without_a_name(quiet: World) -> None:
    until, left = "2026-01-01T07:00:00+00:00", ["instances of bake b: ec2:DescribeInstances failed"]
    kept = {"removed": [], "left": left, "kept": [], "kept_until": until}
    _, cause = told(quiet, clean_up={"result": kept})
    assert f"Kept until {until}: its instances. Go on from the failed stage" in cause
    assert "start-session" not in cause


def test_what_is_kept_is_told_with_how_to_look_at_it_and_how_to_go_on(quiet: World) -> None:
    until = "2026-01-01T07:00:00+00:00"
    kept = {"removed": [], "left": [], "kept": ["instance i-1"], "kept_until": until}
    _, cause = told(quiet, clean_up={"result": kept})
    assert f"Kept until {until}: instance i-1." in cause
    assert "aws ssm start-session --target i-1" in cause
    assert "bakery retry" in cause


@pytest.mark.parametrize(
    ("stage", "state"), [("stop", "StopBuilder"), ("create_image", "CreateImage")]
)
def test_a_redrive_goes_on_with_the_failed_stage_while_the_builder_is_there(
    making: Making, stage: str, state: str
) -> None:
    making.launched()
    before = failed_at(making, stage)
    answer = json.loads(redriven(making, before)["output"])
    assert (answer.pop("resume_at"), answer.pop("redrives")) == (state, 1)
    assert answer == {k: v for k, v in before.items() if k not in ("failure", "clean_up")}
    assert making.world.leases()["small"] == making.world.execution(making.bake)


def test_a_stage_that_fails_again_after_a_redrive_ends_the_execution_again(
    making: Making,
) -> None:
    making.launched()
    state = {**failed_at(making, "create_image"), "redrives": 1}
    assert redriven(making, state)["error"] == "CustomizationFailedError"


def test_a_bake_that_was_stopped_and_redriven_tells_its_first_failure(making: Making) -> None:
    making.launched()
    state = {**failed_at(making, "create_image"), "clean_up": {"result": {}, "redrives": 1}}
    assert redriven(making, state)["error"] == "CustomizationFailedError"


@pytest.mark.parametrize("stage", ["release", "publish", "keep_previous"])
def test_a_redrive_publishes_again_while_the_image_is_there(making: Making, stage: str) -> None:
    making.imaged()
    answer = json.loads(redriven(making, failed_at(making, stage))["output"])
    assert answer["resume_at"] == "ReleaseImages", "clean up has taken back the permissions"
    assert not {"release", "publish"} & answer.keys()


def test_whoever_may_tag_makes_no_image_to_go_on_with(making: Making) -> None:
    """Not even when the bake's own is gone: no test has passed on another one."""
    making.imaged()
    state = failed_at(making, "publish")
    made = state["create_image"]["image_id"]
    forget_tag(making.world, made)
    ec2 = making.world.aws.client("ec2")
    tags = [{"Key": TAG_BAKE, "Value": making.bake}]
    foreign = ec2.copy_image(
        SourceImageId="ami-0a120230000000064",
        SourceRegion="eu-west-1",
        Name="foreign",
        TagSpecifications=[{"ResourceType": "image", "Tags": tags}],
    )["ImageId"]
    making.world.aws.until(
        lambda: making.world.tagged("image", making.bake)[0]["State"] == "available"
    )
    answer = redriven(making, state)
    assert answer["error"] == "CannotResumeError"
    assert "needs the image, which is gone" in answer["cause"]
    for image in (foreign, made):
        ec2.deregister_image(ImageId=image)


def test_a_test_instance_that_must_not_be_ended_is_not_in_the_way(making: Making) -> None:
    """It may be anybody's that has the tags of one."""
    making.imaged()
    kept = making.test_booted()
    refused = {"code": "UnauthorizedOperation", "status": 403}
    making.world.aws.faults.error("ec2", "TerminateInstances", **refused)  # type: ignore[arg-type]
    answer = json.loads(redriven(making, failed_at(making, "publish"))["output"])
    assert answer["resume_at"] == "ReleaseImages"
    assert making.instances().count(kept) == 1


def test_the_image_is_not_tested_on_what_was_kept_of_the_last_try(making: Making) -> None:
    """Somebody may have mended it by hand: then an image that does not boot would pass."""
    kept = making.test_booted(image_id=making.imaged())
    protected = making.world.aws.faults.error(
        "ec2", "TerminateInstances", code="OperationNotPermitted"
    )
    answer = redriven(making, failed_at(making, "test_and_copy"))
    assert answer["error"] == "CannotResumeError"
    assert f"test instance {kept} of the last try cannot be ended" in answer["cause"]
    assert "small" not in making.world.leases()
    protected.times = 0
    answer = json.loads(redriven(making, failed_at(making, "test_and_copy"))["output"])
    assert answer["resume_at"] == "TestAndCopy"
    assert state_of(making.world, kept) in ("shutting-down", "terminated")


@pytest.mark.parametrize("stage", ["launch", "prepare", "customize", "verify_identity"])
def test_a_stage_that_changes_the_builder_is_not_tried_again(making: Making, stage: str) -> None:
    making.launched()
    answer = redriven(making, failed_at(making, stage))
    assert answer["error"] == "CannotResumeError"
    assert f"Stage {stage} cannot be tried again" in answer["cause"]
    assert "small" not in making.world.leases()


@pytest.mark.parametrize(
    ("stage", "missing"), [("stop", "builder"), ("create_image", "builder"), ("publish", "image")]
)
def test_without_what_the_stage_needs_it_says_so(making: Making, stage: str, missing: str) -> None:
    answer = redriven(making, failed_at(making, stage))
    assert answer["error"] == "CannotResumeError"
    assert f"needs the {missing}, which is gone" in answer["cause"]


def test_a_bake_whose_plan_was_refused_has_nothing_to_go_on_with(quiet: World) -> None:
    quiet.aws.calls.clear()
    run(quiet, {"failure": FAILURE}, redrives=1)
    (answer,) = resumed(quiet)
    assert answer["error"] == "CannotResumeError"


def test_an_older_image_does_not_take_the_place_of_a_newer_one(making: Making) -> None:
    making.launched()
    state = failed_at(making, "create_image")
    state["plan"] = {**state["plan"], "current": {"image": "ami-0123456789abcdef0", "name": "x"}}
    answer = redriven(making, state)
    assert answer["error"] == "CannotResumeError"
    assert "has moved" in answer["cause"]


def test_while_another_bake_of_the_recipe_runs_it_says_so(making: Making) -> None:
    world = making.world
    making.launched()
    world.aws.faults.error("ec2", "RunInstances", code="RequestLimitExceeded", status=503, times=99)
    running = world.start({"recipe": "small", "force": True}, name=f"other-{making.bake}")
    world.aws.until(lambda: world.leases().get("small") == running, what="the lease")
    answer = redriven(making, failed_at(making, "stop"))
    assert answer["error"] == "RecipeBusyError"
    world.aws.client("stepfunctions").stop_execution(executionArn=running)
    world.ended(running)
