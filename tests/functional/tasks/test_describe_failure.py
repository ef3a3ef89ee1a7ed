"""DescribeFailure: the first error under a name of ours, and what clean up has left."""

import json
from typing import Any

import pytest

from tests.functional.conftest import World

FAILURE = {
    "Error": "CustomizationFailedError",
    "Cause": json.dumps({"errorType": "CustomizationFailedError", "errorMessage": "step failed"}),
}
PLANNED = {"plan": {"entered": "2026-01-01T03:00:00.000Z"}}


def described(world: World, **state: object) -> tuple[str, str]:
    whole = {**PLANNED, "failure": FAILURE, **state}
    result: dict[str, Any] = world.invoke("describe_failure", {"state": whole})
    return result["error"], result["cause"]


def test_an_error_of_ours_is_told_with_its_message_alone(quiet: World) -> None:
    assert described(quiet) == ("CustomizationFailedError", "step failed")


def test_called_twice_it_says_the_same_and_calls_nothing(quiet: World) -> None:
    assert described(quiet) == described(quiet)
    assert quiet.aws.calls.of(role="DescribeFailure") == []


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
    name, cause = described(quiet, failure=caught)
    assert name == error
    assert words in cause


def test_what_clean_up_could_not_remove_follows_the_first_error(quiet: World) -> None:
    left = ["instance i-1: ec2:TerminateInstances failed: OperationNotPermitted: protected"]
    error, cause = described(quiet, clean_up={"result": {"removed": [], "left": left}})
    assert error == "CustomizationFailedError"
    assert cause == (
        "step failed\nClean up could not remove, and you must:\n"
        "instance i-1: ec2:TerminateInstances failed: OperationNotPermitted: protected"
    )


def test_a_clean_up_that_failed_as_a_whole_is_told_after_the_first_error(quiet: World) -> None:
    failed = {"Error": "States.Timeout", "Cause": ""}
    error, cause = described(quiet, clean_up_failure=failed)
    assert error == "CustomizationFailedError"
    assert cause.startswith("step failed\n")
    assert "anything that carries this execution's name as tag ami-bakery:bake" in cause
    assert cause.endswith(": States.Timeout")
