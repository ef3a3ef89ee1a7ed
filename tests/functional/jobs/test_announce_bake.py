"""announce_bake: every end of a bake is told once, without output of scripts."""

import json
import uuid
from typing import Any

import pytest

from tests.functional.conftest import FunctionFailedError, World

IMAGE = {"id": "ami-0c0de180400000012", "name": "web-1", "region": "eu-west-1"}
OUTPUT: dict[str, object] = {
    "recipe": "web",
    "outcome": "baked",
    "image": IMAGE,
    "copies": {},
    "previous": None,
    "reason": "first image of this recipe",
    "timeline": [],
    "left_out": {},
    "estimated_cost_usd": 0.01,
    "left": [],
}


def ended(world: World, *, status: str = "SUCCEEDED", **detail: object) -> dict[str, Any]:
    """The event of an execution that has ended; each call makes another execution."""
    name = f"made-{uuid.uuid4().hex[:8]}"
    machine = world.outputs["BakeStateMachineArn"]
    return {
        "detail-type": "Step Functions Execution Status Change",
        "source": "aws.states",
        "detail": {
            "executionArn": f"{machine.replace(':stateMachine:', ':execution:')}:{name}",
            "stateMachineArn": machine,
            "name": name,
            "status": status,
            "stopDate": 1767236400000,
            "input": json.dumps({"recipe": "web"}),
            "output": json.dumps(OUTPUT),
            **detail,
        },
    }


def told(world: World, event: dict[str, Any]) -> list[dict[str, Any]]:
    """What was put on the bus about the execution of an event."""
    name = event["detail"]["name"]
    return [
        {"type": seen["detail-type"], **seen["detail"]}
        for seen in world.aws.events.recorded
        if seen["source"] == "ami-bakery" and seen["detail"]["bake"] == name
    ]


def failed_execution(world: World, content: object) -> dict[str, Any]:
    """The event of a real execution that fails at once."""
    done = world.ended(world.start(content, name=f"made-{uuid.uuid4().hex[:8]}"))
    return ended(
        world,
        status="FAILED",
        executionArn=done.arn,
        name=done.name,
        input=json.dumps(content),
        output=None,
    )


def test_a_baked_image_is_told(quiet: World) -> None:
    event = ended(quiet)
    quiet.invoke("announce_bake", event)
    assert told(quiet, event) == [
        {
            "type": "Bake Succeeded",
            "recipe": "web",
            "bake": event["detail"]["name"],
            "execution": event["detail"]["executionArn"],
            "outcome": "baked",
            "image": IMAGE,
            "copies": {},
            "left_out": {},
            "previous": None,
            "reason": "first image of this recipe",
            "left": [],
            "skipped_slot": None,
            "clean": True,
            "everywhere": True,
            "skipped": False,
        }
    ]


def test_what_clean_up_has_left_is_told(quiet: World) -> None:
    left = ["instance i-0123456789abcdef0: protected"]
    event = ended(quiet, output=json.dumps({**OUTPUT, "left": left}))
    quiet.invoke("announce_bake", event)
    (seen,) = told(quiet, event)
    assert (seen["type"], seen["left"], seen["clean"]) == ("Bake Succeeded", left, False)


def test_called_twice_it_tells_once(quiet: World) -> None:
    event = ended(quiet)
    quiet.invoke("announce_bake", event)
    quiet.invoke("announce_bake", event)
    assert len(told(quiet, event)) == 1


def test_a_bake_that_was_not_needed_is_told_as_unchanged(quiet: World) -> None:
    event = ended(quiet, output=json.dumps({**OUTPUT, "outcome": "unchanged"}))
    quiet.invoke("announce_bake", event)
    assert [seen["type"] for seen in told(quiet, event)] == ["Bake Unchanged"]


def test_a_slot_that_was_skipped_is_told_so_that_a_rule_can_match_it(quiet: World) -> None:
    slot = "2026-01-01T03:00:00Z"
    skipped = {**OUTPUT, "outcome": "unchanged", "skipped_slot": slot, "reason": "3 h late"}
    event = ended(quiet, output=json.dumps(skipped))
    quiet.invoke("announce_bake", event)
    (seen,) = told(quiet, event)
    assert (seen["type"], seen["skipped"]) == ("Bake Unchanged", True)
    assert (seen["skipped_slot"], seen["reason"]) == (slot, "3 h late")


def test_the_end_of_a_bake_of_an_earlier_release_is_told(quiet: World) -> None:
    """Its Report knows no slot that was skipped."""
    event = ended(quiet)
    assert "skipped_slot" not in OUTPUT
    quiet.invoke("announce_bake", event)
    assert [seen["skipped"] for seen in told(quiet, event)] == [False]


def test_a_failed_bake_is_told_with_its_error_and_the_first_line_of_its_cause(
    quiet: World,
) -> None:
    event = failed_execution(quiet, {"recipe": "no-such-recipe"})
    quiet.invoke("announce_bake", event)
    (seen,) = told(quiet, event)
    assert seen["type"] == "Bake Failed"
    assert (seen["recipe"], seen["status"]) == ("no-such-recipe", "FAILED")
    assert seen["error"] == "UnknownRecipeError"
    assert seen["summary"].startswith("There is no recipe 'no-such-recipe'.")
    assert "\n" not in seen["summary"]


@pytest.mark.parametrize("content", [[], "text", 7, {"recipe": 7}, {}])
def test_an_input_without_a_recipe_is_told_without_one(quiet: World, content: object) -> None:
    event = failed_execution(quiet, content)
    quiet.invoke("announce_bake", event)
    (seen,) = told(quiet, event)
    assert (seen["recipe"], seen["error"]) == (None, "InvalidInputError")
    assert seen["summary"] == "The execution input is not valid:"


def test_an_input_that_was_too_large_for_the_event_is_told_without_its_recipe(
    quiet: World,
) -> None:
    event = ended(quiet, input=None, inputDetails={"included": False})
    quiet.invoke("announce_bake", event)
    assert [seen["recipe"] for seen in told(quiet, event)] == [None]


def test_an_aborted_bake_is_told_though_no_state_saw_its_end(quiet: World) -> None:
    quiet.aws.ec2.no_capacity()  # whichever state it is stopped in, nothing is made
    arn = quiet.start({"recipe": "small", "force": True}, name=f"made-{uuid.uuid4().hex[:8]}")
    quiet.aws.client("stepfunctions").stop_execution(executionArn=arn, cause="")
    name = quiet.ended(arn).name
    quiet.aws.until(lambda: quiet.aws.lambdas.idle, what="the end of all functions")
    quiet.aws.ec2.state.shortages.clear()
    event = ended(quiet, status="ABORTED", executionArn=arn, name=name, output=None)
    quiet.invoke("announce_bake", event)
    (seen,) = told(quiet, event)
    assert (seen["type"], seen["status"], seen["error"]) == ("Bake Failed", "ABORTED", "ABORTED")
    assert seen["summary"] == "The execution was ABORTED."


@pytest.mark.parametrize(
    ("service", "operation", "code", "name"),
    [
        ("events", "PutEvents", "AccessDeniedException", "AccessDeniedError"),
        ("dynamodb", "PutItem", "AccessDeniedException", "AccessDeniedError"),
    ],
)
def test_what_could_not_be_told_is_told_at_the_next_try(
    quiet: World, service: str, operation: str, code: str, name: str
) -> None:
    event = ended(quiet)
    quiet.aws.faults.error(service, operation, code=code)
    with pytest.raises(FunctionFailedError) as failed:
        quiet.invoke("announce_bake", event)
    assert failed.value.name == name
    assert told(quiet, event) == []
    quiet.invoke("announce_bake", event)
    assert len(told(quiet, event)) == 1


def test_a_throttled_call_is_ridden_out(quiet: World) -> None:
    event = ended(quiet)
    quiet.aws.faults.error("events", "PutEvents", code="ThrottlingException")
    quiet.aws.faults.lost_answer("dynamodb", "PutItem")
    quiet.invoke("announce_bake", event)
    assert len(told(quiet, event)) == 1


def delivered(world: World, event: dict[str, Any]) -> None:
    """Deliver the event as EventBridge does, and let time pass until all its tries are over."""
    (function,) = [name for name in world.aws.lambdas.functions if "AnnounceBake" in name]
    world.aws.lambdas.invoke_async(function, json.dumps(event))
    for _ in range(3):
        world.aws.until(lambda: world.aws.lambdas.idle)
        world.aws.clock.advance(minutes=3)


@pytest.mark.parametrize(("after", "times"), [(False, 1), (True, 2)])
def test_a_crash_at_the_event_tells_it_at_the_next_try(
    quiet: World, after: bool, times: int
) -> None:
    """What the docstring admits: told twice is better than not at all."""
    event = ended(quiet)
    quiet.aws.faults.crash("JobsAnnounceBakeRole", "PutEvents", after=after)
    delivered(quiet, event)
    quiet.aws.until(lambda: len(told(quiet, event)) == times, what="the announcement")


def test_while_one_tells_another_does_not(quiet: World) -> None:
    event = ended(quiet)
    seen: list[int] = []

    def again() -> None:
        quiet.invoke("announce_bake", event)
        seen.append(len(told(quiet, event)))

    quiet.aws.faults.after("dynamodb", "PutItem", again)
    quiet.invoke("announce_bake", event)
    assert seen == [0]
    assert len(told(quiet, event)) == 1


def test_what_lambda_delivers_again_is_not_told_again(quiet: World) -> None:
    event = ended(quiet)
    (function,) = [name for name in quiet.aws.lambdas.functions if "AnnounceBake" in name]
    for _ in range(2):
        assert quiet.aws.lambdas.invoke(function, json.dumps(event), "one-id").error is None
    assert len(told(quiet, event)) == 1


def test_a_region_that_was_left_out_is_told_apart(quiet: World) -> None:
    output = {**OUTPUT, "left_out": {"us-east-1": "the snapshot was not copied"}}
    event = ended(quiet, output=json.dumps(output))
    quiet.invoke("announce_bake", event)
    (seen,) = told(quiet, event)
    assert seen["everywhere"] is False
    assert seen["left_out"] == {"us-east-1": "the snapshot was not copied"}


def test_a_failure_says_what_to_do_next(quiet: World) -> None:
    event = failed_execution(quiet, {"recipe": "nothing-of-that-name"})
    quiet.invoke("announce_bake", event)
    (seen,) = told(quiet, event)
    assert seen["error"] == "UnknownRecipeError"
    assert seen["advice"] == "No recipe of that name is deployed; the message lists those that are."
