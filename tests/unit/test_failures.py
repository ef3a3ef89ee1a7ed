"""One readable failure from what Step Functions caught."""

import json
from typing import Any

import pytest

from bakery.failures import first_failure
from bakery.stages import STAGES

ENTERED = {"entered": "2026-01-01T03:00:00Z"}


def caught(error: str, cause: str = "", *, after: int = 0) -> dict[str, Any]:
    """The state of a bake whose stage number ``after`` failed."""
    ran: dict[str, Any] = dict.fromkeys(STAGES[:after], ENTERED)
    return {**ran, "failure": {"Error": error, "Cause": cause}}


def raised(message: str, kind: str = "X") -> str:
    """What the Lambda runtime makes of an exception."""
    return json.dumps(
        {"errorMessage": message, "errorType": kind, "requestId": "1", "stackTrace": ["File …"]}
    )


def test_an_error_of_ours_keeps_its_name_and_its_message_alone() -> None:
    found = first_failure(caught("NoCapacityError", raised("No room.\n- t3.medium: full")))
    assert found == ("NoCapacityError", "No room.\n- t3.medium: full")


def test_the_cause_of_a_resumed_wait_is_plain_text_and_stays_as_it_is() -> None:
    text = "Step 'x' ended as Failed with exit code 7"
    assert first_failure(caught("CustomizationFailedError", text)) == (
        "CustomizationFailedError",
        text,
    )


@pytest.mark.parametrize("cause", ["[1, 2]", '"text"', "7", '{"error": "x"}', "{not json", ""])
def test_a_cause_that_only_looks_like_an_exception_stays_as_it_is(cause: str) -> None:
    assert first_failure(caught("ImageFailedError", cause)) == ("ImageFailedError", cause)


def test_a_time_out_names_the_stage_that_was_under_way() -> None:
    assert first_failure(caught("States.Timeout", after=5)) == (
        "StageTimedOutError",
        "Stage remove_identity did not end within its time budget.",
    )


@pytest.mark.parametrize(
    "error",
    [
        "Lambda.Unknown",
        "States.Runtime",
        "States.HeartbeatTimeout",
        "Sandbox.Timedout",
        "KeyError",
        "ValidationError",
    ],
)
def test_any_other_error_becomes_one_of_ours_and_keeps_its_name_and_stage(error: str) -> None:
    name, cause = first_failure(caught(error, raised("boom", error), after=1))
    assert name == "UnexpectedError"
    assert f"Stage launch ended with {error}: boom." in cause
    assert "start the bake again" in cause


def test_an_error_without_a_cause_says_so() -> None:
    _, cause = first_failure({"failure": {"Error": "Lambda.Unknown"}})
    assert "no cause given" in cause


def test_the_name_of_a_helper_of_the_module_is_no_error_of_ours() -> None:
    name, _ = first_failure(caught("Problem", "x"))
    assert name == "UnexpectedError"
