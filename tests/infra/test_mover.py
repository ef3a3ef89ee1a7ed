"""The machine that rolls back and promotes: whatever happens, it ends moved or restored."""

import json
from typing import Any

import pytest

from bakery.aws import clients
from bakery.errors import LAMBDA_RETRYABLE, RETRYABLE
from bakery.jobs.move_pointer import IN_FORCE, SETTLED
from bakery.naming import MOVER
from tests.infra.conftest import Synthesized, flat


@pytest.fixture(scope="module")
def machine(stack: Synthesized) -> dict[str, Any]:
    return json.loads(flat(stack.machine_named(MOVER)["DefinitionString"]))  # type: ignore[no-any-return]


def pauses(state: dict[str, Any]) -> float:
    """How long the retries of a state go on, in seconds."""
    (retry,) = state["Retry"]
    return sum(
        float(min(retry["IntervalSeconds"] * retry["BackoffRate"] ** n, retry["MaxDelaySeconds"]))
        for n in range(retry["MaxAttempts"])
    )


def test_what_fails_is_restored_and_then_fails(machine: dict[str, Any]) -> None:
    states = machine["States"]
    assert machine["StartAt"] == "Move"
    assert states["Move"]["End"] is True
    (catch,) = states["Move"]["Catch"]
    assert (catch["ErrorEquals"], catch["Next"]) == (["States.ALL"], "Caught")
    assert states["Caught"]["Next"] == "Restore"
    assert states["Restore"]["Next"] == "NotMoved"
    (catch,) = states["Restore"]["Catch"]
    assert (catch["ErrorEquals"], catch["Next"]) == (["States.ALL"], "NotRestored")
    assert {states[name]["Type"] for name in ("NotMoved", "NotRestored")} == {"Fail"}


def test_even_if_restore_fails_it_ends_with_the_first_error(machine: dict[str, Any]) -> None:
    (catch,) = machine["States"]["Restore"]["Catch"]
    assert catch["ResultPath"] == "$.unrestored"
    failed = machine["States"]["NotRestored"]
    assert failed["ErrorPath"] == "$.failure.Error"
    assert "$.failure.Cause" in failed["CausePath"]


@pytest.mark.parametrize("name", ["Move", "Restore"])
def test_its_own_limits_end_a_wait_before_the_retries_do(
    machine: dict[str, Any], name: str
) -> None:
    """Else what is not in force would end without a word of what it is."""
    state = machine["States"][name]
    assert state["Retry"][0]["ErrorEquals"] == [*RETRYABLE, *LAMBDA_RETRYABLE]
    longest = state["Retry"][0]["MaxDelaySeconds"]
    assert pauses(state) > (IN_FORCE + SETTLED).total_seconds() + longest


def function_timeout(stack: Synthesized) -> int:
    (function,) = [
        it["Properties"]
        for it in stack.of_type("AWS::Lambda::Function").values()
        if it["Properties"]["Handler"] == "bakery.jobs.move_pointer.handler"
    ]
    return int(function["Timeout"])


def test_it_ends_before_its_time_out_which_restores_nothing(
    stack: Synthesized, machine: dict[str, Any]
) -> None:
    """Even if every try of both states takes all the time that its function has."""
    states = [machine["States"][name] for name in ("Move", "Restore")]
    tries = sum(1 + state["Retry"][0]["MaxAttempts"] for state in states)
    longest = tries * function_timeout(stack) + sum(pauses(state) for state in states)
    assert longest < machine["TimeoutSeconds"]


@pytest.mark.parametrize("name", ["Move", "Restore"])
def test_no_state_ends_before_its_function(
    stack: Synthesized, machine: dict[str, Any], name: str
) -> None:
    """Else Restore would begin while Move still puts, and what it puts would stay."""
    assert machine["States"][name]["TimeoutSeconds"] > function_timeout(stack)


def test_a_try_has_time_for_a_region_that_does_not_answer(stack: Synthesized) -> None:
    """The others are restored in the same try: two services are asked, as often as the SDK does,
    with its pauses of 1, 2, 4 and 8 seconds at most."""
    config = clients._CONFIG
    retries: Any = config.retries  # type: ignore[attr-defined]
    one = retries["total_max_attempts"] * config.read_timeout + 15  # type: ignore[attr-defined]
    assert 2 * one < function_timeout(stack)


def test_a_bake_that_waits_behind_it_is_told_of_its_end(stack: Synthesized) -> None:
    rules = stack.of_type("AWS::Events::Rule")
    (rule,) = [it["Properties"] for id_, it in rules.items() if "TurnCame" in id_]
    named = [flat(it) for it in rule["EventPattern"]["detail"]["stateMachineArn"]]
    assert any(it.startswith("<Mover") for it in named)
