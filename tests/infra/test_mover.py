"""The machine that rolls back and promotes: whatever happens, it ends moved or restored."""

import json
from typing import Any

import pytest

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


@pytest.mark.parametrize("name", ["Move", "Restore"])
def test_its_own_limits_end_a_wait_before_the_retries_do(
    machine: dict[str, Any], name: str
) -> None:
    """Else what is not in force would end without a word of what it is."""
    state = machine["States"][name]
    assert state["Retry"][0]["ErrorEquals"] == [*RETRYABLE, *LAMBDA_RETRYABLE]
    assert pauses(state) > (IN_FORCE + SETTLED).total_seconds()


def test_it_ends_before_its_time_out_which_restores_nothing(
    stack: Synthesized, machine: dict[str, Any]
) -> None:
    longest = sum(pauses(machine["States"][name]) for name in ("Move", "Restore"))
    assert longest + 2 * 300 < machine["TimeoutSeconds"]


def test_a_bake_that_waits_behind_it_is_told_of_its_end(stack: Synthesized) -> None:
    rules = stack.of_type("AWS::Events::Rule")
    (rule,) = [it["Properties"] for id_, it in rules.items() if "TurnCame" in id_]
    named = [flat(it) for it in rule["EventPattern"]["detail"]["stateMachineArn"]]
    assert any(it.startswith("<Mover") for it in named)
