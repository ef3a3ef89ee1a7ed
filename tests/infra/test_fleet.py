"""The machine that bakes all recipes: its graph, and what it may do."""

import json
import re
from typing import Any

from statelint.linter import Linter

from tests.infra.conftest import Synthesize, Synthesized, flat
from tests.infra.test_machine import reachable, versions, walk

_ARN = "arn:aws:lambda:eu-west-1:111122223333:function:task"


def statements(stack: Synthesized) -> list[dict[str, Any]]:
    (policy,) = [
        resource["Properties"]["PolicyDocument"]
        for id_, resource in stack.of_type("AWS::IAM::Policy").items()
        if id_.startswith("FleetRole")
    ]
    return list(policy["Statement"])


def allowed(stack: Synthesized, service: str) -> dict[str, set[str]]:
    """Action to the resources that it is allowed on."""
    found: dict[str, set[str]] = {}
    for statement in statements(stack):
        actions, resources = statement["Action"], statement["Resource"]
        for action in [actions] if isinstance(actions, str) else actions:
            if action.startswith(f"{service}:"):
                each = resources if isinstance(resources, list) else [resources]
                found.setdefault(action, set()).update(map(flat, each))
    return found


def test_the_definition_is_valid_amazon_states_language(stack: Synthesized) -> None:
    text = re.sub(r"<Fleet\w+>", _ARN, json.dumps(stack.fleet)).replace("<AWS::Partition>", "aws")
    text = re.sub(r'"BackoffRate": (\d+)(?=[,}])', r'"BackoffRate":\1.0', text)
    assert Linter.validate(text) == []


def test_its_one_loop_is_a_wave_after_the_other(stack: Synthesized) -> None:
    machine = stack.fleet
    assert set(machine["States"]) == {"NextWave", "IsOver", "Wave", "UpToDate"}
    assert reachable(machine, machine["StartAt"]) == set(machine["States"])
    (another,) = machine["States"]["IsOver"]["Choices"]
    assert another == {"Variable": "$.wave[0]", "IsPresent": True, "Next": "Wave"}
    assert machine["States"]["Wave"]["Next"] == "NextWave"


def test_no_bake_makes_its_wave_fail(stack: Synthesized) -> None:
    inner = dict(walk(stack.fleet))
    bake = inner["BakeRecipe"]
    assert bake["Resource"].endswith(":states:startExecution.sync:2")
    (catch,) = bake["Catch"]
    assert catch["ErrorEquals"] == ["States.ALL"]
    # A cause holds the whole execution, and a state at most 256 KiB.
    assert "Cause" not in json.dumps(inner["NotBaked"]["Parameters"])


def test_a_bake_is_started_again_only_if_it_was_not_started(stack: Synthesized) -> None:
    (retry,) = dict(walk(stack.fleet))["BakeRecipe"]["Retry"]
    assert all(name.startswith("StepFunctions.") for name in retry["ErrorEquals"])


def test_so_many_bakes_run_at_once_as_the_context_says(
    synthesize: Synthesize, stack: Synthesized
) -> None:
    assert stack.fleet["States"]["Wave"]["MaxConcurrency"] == 5
    other = synthesize(context={"fleet_concurrency": "12"})
    assert other.fleet["States"]["Wave"]["MaxConcurrency"] == 12


def test_it_may_start_watch_and_stop_bakes_and_nothing_else(stack: Synthesized) -> None:
    states = allowed(stack, "states")
    assert set(states) == {
        "states:StartExecution",
        "states:DescribeExecution",
        "states:StopExecution",
    }
    (started,) = states["states:StartExecution"]
    assert started.endswith(":stateMachine:AmiBakery-Bake")
    for action in ("states:DescribeExecution", "states:StopExecution"):
        (resource,) = states[action]
        # With the colon: else it could stop those of any machine whose name begins so.
        assert resource.endswith(":execution:AmiBakery-Bake:*")
    for resources in allowed(stack, "events").values():
        (rule,) = resources
        assert rule.endswith("rule/StepFunctionsGetEventsForStepFunctionsExecutionRule")
    invoked = allowed(stack, "lambda")["lambda:InvokeFunction"]
    assert all("FleetTasksNextWave" in it for it in invoked)


def test_it_names_a_version_of_its_function(stack: Synthesized) -> None:
    named = stack.fleet["States"]["NextWave"]["Resource"].strip("<>")
    assert versions(stack)[named].startswith("FleetTasksNextWave")
