"""The state machine: its graph is walked, not compared with a snapshot."""

import inspect
import math
import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import pytest
from annotated_types import MaxLen
from pydantic import BaseModel
from statelint.linter import Linter

import bakery.jobs
import bakery.tasks
from bakery import budgets, errors, publishing, resuming
from bakery.errors import LAMBDA_RETRYABLE, RETRYABLE, BakeryError
from bakery.recipe import Recipe, TestStage
from bakery.stages import AWAIT_TURN, CLONE_HOST, STAGES
from bakery.tasks import stop_builder
from tests.infra.conftest import Synthesize, Synthesized, flat

State = dict[str, Any]

AFTER_THE_BAKE = {"CleanUp", "FailBake", "Report"}

POLLING = ("AwaitManaged", "AwaitTest")

_FUNCTION_ARN = "arn:aws:lambda:eu-west-1:111122223333:function:task"


def walk(machine: dict[str, Any]) -> Iterator[tuple[str, State]]:
    """Every state, those inside a Map or a Parallel included."""
    for name, state in machine["States"].items():
        yield name, state
        for part in inside(state):
            yield from walk(part)


def inside(state: State) -> list[dict[str, Any]]:
    """The machines inside a state: of a Map its one, of a Parallel its branches."""
    processor = [state["ItemProcessor"]] if state["Type"] == "Map" else []
    return [*processor, *state.get("Branches", [])]


def successors(state: State) -> Iterator[str]:
    if "Next" in state:
        yield state["Next"]
    if "Default" in state:
        yield state["Default"]
    for branch in state.get("Choices", []):
        yield branch["Next"]
    for catch in state.get("Catch", []):
        yield catch["Next"]


def reachable(machine: dict[str, Any], start: str) -> set[str]:
    seen: set[str] = set()
    todo = [start]
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += successors(machine["States"][name])
    return seen


def tasks(stack: Synthesized) -> list[tuple[str, State]]:
    return [(name, state) for name, state in walk(stack.machine) if state["Type"] == "Task"]


def test_the_definition_is_valid_amazon_states_language(stack: Synthesized) -> None:
    text = re.sub(r"<Tasks\w+>", _FUNCTION_ARN, stack.definition).replace("<AWS::Partition>", "aws")
    # statelint wants a Python float; JSON knows only numbers, and the CDK writes 2.
    text = re.sub(r'"BackoffRate":(\d+)(?=[,}])', r'"BackoffRate":\1.0', text)
    assert Linter.validate(text) == []


def test_no_state_can_be_reached_from_itself(stack: Synthesized) -> None:
    """No polling loop: with waits as task tokens the graph has no cycle but two.

    A redriven execution comes back from where it has ended, FailBake. ReplaceBuilder is open only
    until the bake has had its builders. And a bake that waits for its turn plans anew: no round
    goes past AwaitTurn, which the test below proves to sleep.
    """
    ways_back = ("ResumeAt", "ReplaceBuilder", "AwaitTurn")
    ends = {name: {"Type": "Succeed"} for name in ways_back}
    machine = {"States": {**stack.machine["States"], **ends}}
    for part in (machine, *(part for _, state in walk(machine) for part in inside(state))):
        for name, state in part["States"].items():
            for successor in successors(state):
                assert name not in reachable(part, successor), f"{name} loops through {successor}"


def test_the_one_loop_turns_only_when_somebody_sends_its_token(stack: Synthesized) -> None:
    machine = stack.machine
    turn = machine["States"]["AwaitTurn"]
    assert turn["Resource"].endswith(":lambda:invoke.waitForTaskToken")
    assert turn["Next"] == "Plan"
    # Only for a bake that Plan found busy, and before anything is made.
    branch, *_ = machine["States"]["BakeNeeded"]["Choices"]
    assert branch == {"Variable": "$.plan.busy", "IsNull": False, "Next": "AwaitTurn"}
    entering = [name for name, state in walk(machine) if "AwaitTurn" in successors(state)]
    assert entering == ["BakeNeeded"]


def test_only_a_bake_of_a_running_host_images_it_first(stack: Synthesized) -> None:
    states = stack.machine["States"]
    _, of_host, of_image = states["BakeNeeded"]["Choices"]
    assert of_host["And"] == [
        {"Variable": "$.plan.bake_needed", "BooleanEquals": True},
        {"Variable": "$.plan.host", "IsNull": False},
    ]
    assert (of_host["Next"], of_image["Next"]) == ("CloneHost", "LaunchBuilder")
    assert states["CloneHost"]["Next"] == "LaunchBuilder"
    entering = [name for name, state in walk(stack.machine) if "CloneHost" in successors(state)]
    # Not from ReplaceBuilder: the next builder is of the same clone.
    assert entering == ["BakeNeeded"]


def test_plan_reads_the_input_and_not_the_state_after_a_turn(stack: Synthesized) -> None:
    plan = stack.machine["States"]["Plan"]
    assert plan["Parameters"]["input.$"] == "$$.Execution.Input"
    assert plan["Parameters"]["state.$"] == "$"
    assert plan["ResultPath"] == "$.plan"


def test_there_is_no_wait_state(stack: Synthesized) -> None:
    assert [name for name, state in walk(stack.machine) if state["Type"] == "Wait"] == []


@pytest.mark.failure(15)
def test_only_what_waits_for_an_agent_polls_by_its_retry(stack: Synthesized) -> None:
    polling = {
        name
        for name, state in tasks(stack)
        for retry in state["Retry"]
        if retry.get("BackoffRate") == 1 and name not in AFTER_THE_BAKE
    }
    assert polling == set(POLLING)


@pytest.mark.parametrize("name", POLLING)
def test_an_agent_is_asked_for_longer_than_the_task_waits_for_it(
    stack: Synthesized, name: str
) -> None:
    """The task ends it, with what to check; the machine would end it with "not yet"."""
    (state,) = [state for task, state in tasks(stack) if task == name]
    (poll,) = [it for it in state["Retry"] if it["ErrorEquals"] == ["NotManagedYetError"]]
    asked = poll["MaxAttempts"] * poll["IntervalSeconds"]
    assert asked > budgets.AGENT_WINDOWS.total_seconds() > budgets.AGENT.total_seconds()
    assert state["Parameters"]["entered.$"] == "$$.State.EnteredTime"
    assert state["Parameters"]["windows.$"].endswith("launch.windows")


def test_only_what_needs_room_waits_for_it_by_its_retry(stack: Synthesized) -> None:
    """EC2 tells of room by no event; the pauses grow to ten minutes."""
    waiting = {
        name: retry
        for name, state in tasks(stack)
        for retry in state["Retry"]
        if retry["ErrorEquals"][0] in ("NoCapacityYetError", "CopyLimitError")
    }
    assert {name: retry["ErrorEquals"] for name, retry in waiting.items()} == {
        "LaunchBuilder": ["NoCapacityYetError"],
        "LaunchTest": ["NoCapacityYetError"],
        "CopyImage": ["CopyLimitError"],
    }
    assert {retry["MaxDelaySeconds"] for retry in waiting.values()} == {600}


def tried_for(retry: dict[str, Any]) -> float:
    """Seconds for which a state is tried again, without what the tries take."""
    first, rate = retry["IntervalSeconds"], retry["BackoffRate"]
    grown = (first * rate**number for number in range(retry["MaxAttempts"]))
    return float(sum(min(it, retry["MaxDelaySeconds"]) for it in grown))


def test_a_copy_is_tried_again_for_longer_than_its_own_patience(stack: Synthesized) -> None:
    """The task ends it, as the failure of one Region; the machine would end the bake."""
    (copy,) = [state for name, state in tasks(stack) if name == "CopyImage"]
    transient, limit = copy["Retry"]
    assert "ServiceUnavailableError" in transient["ErrorEquals"]
    assert transient["JitterStrategy"] == "NONE"
    assert tried_for(transient) > budgets.ANSWER_PATIENCE.total_seconds()
    assert limit["ErrorEquals"] == ["CopyLimitError"]
    assert tried_for(limit) > budgets.COPY_PATIENCE.total_seconds()
    assert copy["Parameters"]["Payload"]["entered.$"] == "$$.State.EnteredTime"


def test_every_state_is_reachable(stack: Synthesized) -> None:
    machine = stack.machine
    for part in (machine, *(part for _, state in walk(machine) for part in inside(state))):
        assert reachable(part, part["StartAt"]) == set(part["States"])


def most(model: type[BaseModel], field: str) -> int:
    """How many entries a field of the recipe may have."""
    (limit,) = [
        it.max_length for it in model.model_fields[field].metadata if isinstance(it, MaxLen)
    ]
    return int(limit)


MOST_STEPS, MOST_TESTS = most(Recipe, "customize"), most(TestStage, "steps") + 2  # and ours
MOST_COPIES = most(Recipe, "distribute")
ITEMS = {
    "Test": most(TestStage, "instance_types") + 1,  # and a twin
    # The Region of the stack has its image, so its iteration is over at once.
    "Copy": MOST_COPIES,
    "Retire": MOST_COPIES + 1,
}
"""How many of its items a Map may have, where each may take as long as it may take."""
SCRIPTS = {
    "Customize": (budgets.STEPS, MOST_STEPS),
    "RunTests": (budgets.TESTS + 2 * budgets.COMMAND, MOST_TESTS),
}
"""What the recipe's model grants all of them together, and how many may be tried again."""
SCRIPT_TRY, LONGEST_TRY = 60, 285
"""Seconds that a function may take to fail: one that sends a script's command, and any other."""


def pauses(state: State, tries: float) -> float:
    """Of its retries, with what the tries take that fail: the time-out counts anew for each."""
    return float(
        sum(
            retry["MaxAttempts"] * (retry.get("MaxDelaySeconds", retry["IntervalSeconds"]) + tries)
            for retry in state["Retry"]
        )
    )


def seconds(name: str, state: State) -> float:
    """What a state may take, with the pauses of its retries."""
    if state["Type"] == "Parallel":
        return max(map(longest, state["Branches"]))
    if name in SCRIPTS:
        together, count = SCRIPTS[name]
        (task,) = state["ItemProcessor"]["States"].values()
        return together.total_seconds() + count * pauses(task, SCRIPT_TRY)
    if state["Type"] == "Map":
        at_once = state.get("MaxConcurrency") or ITEMS[name]
        return math.ceil(ITEMS[name] / at_once) * longest(state["ItemProcessor"])
    return (
        float(state["TimeoutSeconds"]) + pauses(state, LONGEST_TRY)
        if state["Type"] == "Task"
        else 0.0
    )


def longest(part: dict[str, Any]) -> float:
    """What all states inside a state may take, one after the other."""
    return sum(seconds(name, state) for name, state in part["States"].items())


@pytest.mark.failure(48)
def test_all_parts_of_a_bake_fit_into_the_whole(stack: Synthesized) -> None:
    """The machine's own time-out knows no Catch: it would leave the builder running."""
    machine = stack.machine
    parts = {name: seconds(name, state) for name, state in machine["States"].items()}
    assert parts["TestAndCopy"] > budgets.LONGEST_IMAGE.total_seconds()
    assert parts["TestAndCopy"] > budgets.TESTS.total_seconds()
    # A builder that AWS takes at the last moment: all that comes before happens once more.
    once = {"States": {**machine["States"], "ResumeAt": {"Type": "Succeed"}}}
    again = reachable(once, "LaunchBuilder") - reachable(once, "HardenImage")
    assert {"LaunchBuilder", "Customize", "CreateImage", "ReplaceBuilder"} <= again
    assert "TestAndCopy" not in again
    times = {name: budgets.ATTEMPTS if name in again else 1 for name in parts}
    whole = sum(parts[name] * times[name] for name in parts)
    assert whole < machine["TimeoutSeconds"], parts


def test_no_state_ends_a_wait_before_its_own_deadline_does(stack: Synthesized) -> None:
    """A wait's deadline fails with a better message."""
    limits = {name: timedelta(seconds=state["TimeoutSeconds"]) for name, state in tasks(stack)}
    assert limits["AwaitTurn"] > budgets.LONGEST_TURN
    assert limits["StopBuilder"] > stop_builder.BUDGET
    assert limits["CreateImage"] == limits["CopyImage"] > budgets.LONGEST_IMAGE
    assert limits["CloneHost"] == limits["CreateImage"]
    assert limits["RunStep"] == limits["RunTest"] > budgets.of_command(budgets.MAX_STEP_SECONDS)
    for name in ("Prepare", "RemoveIdentity", "Generalize", "VerifyIdentity"):
        assert limits[name] > budgets.of_command(budgets.DOCUMENT_SECONDS), name


def events(state: State, name: str = "", most: Mapping[str, int] = ITEMS) -> int:
    """What a state that goes well adds to an execution's history. Source: Step Functions API
    reference, HistoryEvent."""
    match state["Type"]:
        case "Task":
            waits = state["Resource"].endswith("waitForTaskToken")
            return 6 if waits else 5
        case "Map":
            count = {"Customize": MOST_STEPS, "RunTests": MOST_TESTS, **most}[name]
            parts = walk_flat(state["ItemProcessor"])
            return 4 + count * (2 + sum(events(s, n, most) for n, s in parts))
        case "Parallel":
            return 4 + sum(events(s, n, most) for part in inside(state) for n, s in walk_flat(part))
    return 2


def walk_flat(part: dict[str, Any]) -> list[tuple[str, State]]:
    return list(part["States"].items())


def test_the_largest_bake_fits_into_a_history_with_room_for_retries(stack: Synthesized) -> None:
    """AWS ends an execution at 25,000 events, which no Catch sees."""
    whole = sum(events(state, name) for name, state in walk_flat(stack.machine))
    again = budgets.ATTEMPTS * events(stack.machine["States"]["Customize"], "Customize")
    assert MOST_STEPS * 8 < whole < whole + again < 12_500
    # Windows builders and test instances that come up in the last moment: three events a try.
    (polls,) = {
        3 * retry["MaxAttempts"]
        for name, state in tasks(stack)
        for retry in state["Retry"]
        if name in POLLING and retry["ErrorEquals"] == ["NotManagedYetError"]
    }
    assert whole + again + polls * (budgets.ATTEMPTS + ITEMS["Test"]) < 22_500


def test_two_hundred_steps_and_thirty_regions_are_a_short_history(stack: Synthesized) -> None:
    """Without more tests than one, and without what Retry adds."""
    most = {**ITEMS, "Copy": 29, "Retire": 30, "Test": 2, "RunTests": 4}
    whole = sum(events(s, name, most) for name, s in walk_flat(stack.machine))
    assert whole < 2_500


@pytest.mark.failure(48)
def test_every_task_has_a_time_out(stack: Synthesized) -> None:
    for name, state in tasks(stack):
        assert 0 < state["TimeoutSeconds"] <= 25 * 3600, name


def test_the_machine_ends_at_some_time(stack: Synthesized) -> None:
    assert stack.machine["TimeoutSeconds"] == budgets.WHOLE_BAKE.total_seconds()


@pytest.mark.failure(50)
def test_every_task_retries_what_the_products_list_says(stack: Synthesized) -> None:
    for name, state in tasks(stack):
        # FailBake ends with the bake's own error, which a Retry must not take for its own.
        ours = ("EndNotToldError",) if name == "FailBake" else RETRYABLE
        retry = state["Retry"][1 if name in {*PUBLISHING, *AFTER_THE_BAKE} else 0]
        assert set(retry["ErrorEquals"]) == {*ours, *LAMBDA_RETRYABLE}, name


def test_what_a_bake_ends_with_waits_for_half_an_hour_until_a_function_may_run(
    stack: Synthesized,
) -> None:
    """All of the account's concurrency may be used up by others, for minutes."""
    for name, state in tasks(stack):
        retry = state["Retry"][0]
        patient = retry["ErrorEquals"] == ["Lambda.TooManyRequestsException"]
        assert patient == (name in AFTER_THE_BAKE), name
        if patient:
            assert retry["BackoffRate"] == 1
            assert retry["IntervalSeconds"] * retry["MaxAttempts"] >= 30 * 60


def test_a_task_without_client_token_waits_until_its_first_try_is_visible(
    stack: Synthesized,
) -> None:
    for name, state in tasks(stack):
        retry = state["Retry"][1 if name in {*PUBLISHING, *AFTER_THE_BAKE} else 0]
        waits = state["Resource"].endswith("waitForTaskToken") and name != "FailBake"
        expected = (10, "NONE") if waits else (2, "FULL")
        assert (retry["IntervalSeconds"], retry["JitterStrategy"]) == expected, name


def test_every_error_name_in_the_machine_exists(stack: Synthesized) -> None:
    """ErrorEquals compares texts: a class renamed in Python would silently never match."""
    own = {
        name
        for name, kind in vars(errors).items()
        if inspect.isclass(kind) and issubclass(kind, BakeryError)
    }
    named = {
        error
        for _, state in walk(stack.machine)
        for rule in [*state.get("Retry", []), *state.get("Catch", [])]
        for error in rule["ErrorEquals"]
    }
    assert named <= own | set(LAMBDA_RETRYABLE) | {"States.ALL"}


def test_every_failure_between_plan_and_clean_up_reaches_clean_up(stack: Synthesized) -> None:
    machine = stack.machine
    for name, state in machine["States"].items():
        if state["Type"] not in {"Task", "Map", "Parallel"} or name in AFTER_THE_BAKE:
            continue
        *others, catch = state["Catch"]
        assert all(other["Next"] == "ReplaceBuilder" for other in others), name
        assert catch["ErrorEquals"] == ["States.ALL"], name
        assert catch["Next"] == "CleanUp" or machine["States"][catch["Next"]]["Next"] == "CleanUp"


def test_nothing_inside_another_state_catches_what_the_whole_must_hear_of(
    stack: Synthesized,
) -> None:
    """A failed test, or copy, fails its Map and its Parallel, and these reach CleanUp."""
    top = stack.machine["States"]
    for name, state in walk(stack.machine):
        # A list of packages that could not be kept is told, and fails nothing.
        if name not in {*top, "RecordInventory"}:
            assert "Catch" not in state, name
            assert state["Type"] in {"Task", "Map"}, name


NEW_STATES = [
    "HardenImage",
    "TestAndCopy",
    "ReleaseImages",
    "PublishPointers",
    "UpdateTemplates",
    "KeepPrevious",
]


@pytest.mark.parametrize("name", NEW_STATES)
def test_a_failure_after_the_image_is_made_reaches_clean_up_and_no_other_builder(
    stack: Synthesized, name: str
) -> None:
    (catch,) = stack.machine["States"][name]["Catch"]
    assert catch == {
        "ErrorEquals": ["States.ALL"],
        "ResultPath": "$.failure",
        "Next": "CleanUp",
    }


PUBLISHING = ["ReleaseImages", "PublishPointers", "UpdateTemplates", "KeepPrevious"]


@pytest.mark.parametrize("name", PUBLISHING)
def test_nothing_is_released_or_published_but_what_has_passed_its_tests(
    stack: Synthesized, name: str
) -> None:
    """Without TestAndCopy there is no way there, except for a redrive of what had passed before."""
    states = stack.machine["States"]
    ends = {it: {"Type": "Succeed"} for it in ("TestAndCopy", "FailBake")}
    machine = {"States": {**states, **ends}}
    assert name not in reachable(machine, stack.machine["StartAt"])
    assert name in reachable(stack.machine, "TestAndCopy")


def test_a_bake_goes_on_after_the_image_in_this_order(stack: Synthesized) -> None:
    way, name = [], "CreateImage"
    while name != "CleanUp":
        name = stack.machine["States"][name]["Next"]
        way.append(name)
    assert way == [*NEW_STATES, "Retire", "CleanUp"]


def test_tests_and_copies_are_made_at_the_same_time_and_released_by_neither(
    stack: Synthesized,
) -> None:
    tests, copies = stack.machine["States"]["TestAndCopy"]["Branches"]
    assert [name for name, _ in walk(copies)] == ["Copy", "CopyImage"]
    order, name = [], tests["StartAt"]
    while name:
        order.append(name)
        name = tests["States"][name].get("Next", "")
    assert order == ["Test", "CompareIdentity", "RecordInventory", "EndTests"]
    inner = tests["States"]["Test"]["ItemProcessor"]
    assert set(inner["States"]) == {"LaunchTest", "AwaitTest", "RunTests"}


def test_every_test_instance_runs_its_checks_one_after_the_other_and_beside_the_others(
    stack: Synthesized,
) -> None:
    states = dict(walk(stack.machine))
    assert states["RunTests"]["MaxConcurrency"] == states["Customize"]["MaxConcurrency"] == 1
    assert "MaxConcurrency" not in states["Test"]


@pytest.mark.parametrize("name", PUBLISHING)
def test_one_task_serves_all_regions_and_has_the_time_to_see_them_settled(
    stack: Synthesized, name: str
) -> None:
    """One of several that is under way when another fails would come after CleanUp has looked."""
    state = stack.machine["States"][name]
    assert state["Type"] == "Task"
    until, *_ = state["Retry"]
    assert until["ErrorEquals"] == ["NotYetVisibleError"]
    first, rate, most = (until[it] for it in ("IntervalSeconds", "BackoffRate", "MaxDelaySeconds"))
    pauses = (min(first * rate**count, most) for count in range(until["MaxAttempts"]))
    assert timedelta(seconds=sum(pauses)) > publishing.BUDGET


def test_copies_are_made_at_the_same_time_but_never_without_bound(stack: Synthesized) -> None:
    """Else one that takes a day would hold others up, and the bake's own time-out would come."""
    states = dict(walk(stack.machine))
    for name in ("Copy", "Retire"):
        # More than forty an inline Map does not run at once.
        assert 1 < states[name]["MaxConcurrency"] <= 40, name
    assert states["Copy"]["MaxConcurrency"] >= MOST_COPIES


def test_each_test_and_each_copy_says_in_its_input_what_it_is(stack: Synthesized) -> None:
    """The console and `bakery bake` show it; the command comes from the table."""
    states = dict(walk(stack.machine))
    assert states["RunTests"]["ItemSelector"]["test.$"] == "$$.Map.Item.Value.label"
    assert states["RunTests"]["ItemSelector"]["instance_id.$"] == "$.launched.instance_id"
    assert states["Copy"]["ItemSelector"]["region.$"] == "$$.Map.Item.Value.region"
    # RunTest's output is its input, from which its end is told.
    assert states["RunTest"]["ResultPath"] is None


def test_what_came_of_each_region_is_what_release_publish_and_templates_go_by(
    stack: Synthesized,
) -> None:
    states = stack.machine["States"]
    assert states["TestAndCopy"]["ResultSelector"]["copies.$"] == "$[1]"
    for name in PUBLISHING:
        assert states[name]["Parameters"]["copies.$"] == "$.test_and_copy.copies", name


def test_a_redriven_bake_can_go_on_with_each_state_that_resuming_names(
    stack: Synthesized,
) -> None:
    choices = stack.machine["States"]["ResumeAt"]["Choices"]
    offered = {choice["StringEquals"]: choice["Next"] for choice in choices}
    assert all(value == state for value, state in offered.items())
    again = {resuming.STATES[stage] for stage in ("templates", "keep_previous")}
    assert set(offered) == set(resuming.STATES.values()) - again  # pointers are moved again, too


def test_a_builder_that_aws_takes_is_replaced_in_every_stage_that_needs_it(
    stack: Synthesized,
) -> None:
    """From the first state that looks at it to the one that images it; ReplaceBuilder leads back.

    A Catch is found by its order: States.ALL before it would hide it.
    """
    states = stack.machine["States"]
    catching = {
        name
        for name, state in states.items()
        if (catch := (state.get("Catch") or [{}])[0]).get("Next") == "ReplaceBuilder"
        and catch["ErrorEquals"] == ["BuilderTakenError"]
    }
    stages = stages_between(stack.machine, "AwaitManaged", "CreateImage")
    assert catching == stages
    assert len(stages) == 8
    assert states["ReplaceBuilder"]["Next"] == "LaunchBuilder"


def stages_between(machine: dict[str, Any], first: str, last: str) -> set[str]:
    """The states on the way of a bake that goes well."""
    name, found = first, {first}
    while name != last:
        name = machine["States"][name]["Next"]
        found.add(name)
    return found


def test_a_caught_failure_keeps_the_state_that_clean_up_and_timeline_need(
    stack: Synthesized,
) -> None:
    for name, state in stack.machine["States"].items():
        for catch in state.get("Catch", []):
            if name not in {"Plan", *AFTER_THE_BAKE}:
                # What keeps a builder from being replaced comes beside why it should be.
                # What is left of old images fails no bake that has published.
                beside = {"ReplaceBuilder": "$.replace_failure", "Retire": "$.retire_failure"}
                own = beside.get(name, "$.failure")
                assert catch["ResultPath"] == own, name
    assert [c["ResultPath"] for c in stack.machine["States"]["CleanUp"]["Catch"]] == [
        "$.clean_up_failure"
    ]


def test_clean_up_cannot_be_passed_by_on_the_way_to_an_end(stack: Synthesized) -> None:
    """Without CleanUp, only a bake that had nothing to do can end."""
    machine = stack.machine
    without = {**machine, "States": {**machine["States"], "CleanUp": {"Type": "Succeed"}}}
    ends = {
        name
        for name in reachable(without, "LaunchBuilder")
        if not list(successors(without["States"][name]))
    }
    assert ends == {"CleanUp"}


def test_a_clean_up_that_fails_as_a_whole_leaves_how_often_the_bake_was_redriven(
    stack: Synthesized,
) -> None:
    """CleanUp leaves it with its result; without it FailBake would take the failure for a redrive
    of a bake that was stopped, and redriven, before."""
    states = stack.machine["States"]
    (catch,) = states["CleanUp"]["Catch"]
    noted = states[catch["Next"]]
    assert noted["InputPath"] == "$$.Execution.RedriveCount"
    assert noted["ResultPath"] == "$.redrives"
    assert noted["Next"] == states["CleanUp"]["Next"] == "HowDidItEnd"


def test_every_wait_passes_its_token(stack: Synthesized) -> None:
    waits = [s for _, s in tasks(stack) if s["Resource"].endswith("waitForTaskToken")]
    assert len(waits) == 12
    for state in waits:
        assert state["Parameters"]["Payload"]["token.$"] == "$$.Task.Token"


def test_each_stage_leaves_its_key_and_when_it_was_entered(stack: Synthesized) -> None:
    """The timeline and the failing stage are read from these keys."""
    left = {
        state["ResultPath"].removeprefix("$."): state["ResultSelector"]
        for _, state in walk(stack.machine)
        if (state.get("ResultPath") or "$").startswith("$.") and "ResultSelector" in state
    }
    # What the tests leave stays inside TestAndCopy.
    within = {"launched", "identity", "inventory", "end_tests"}
    assert set(left) == {AWAIT_TURN, CLONE_HOST, *STAGES, *within} - {"plan"}
    # It may be entered for several bakes, one after the other.
    assert left.pop(AWAIT_TURN)["entered.$"] == "$.since"
    assert all(selector["entered.$"] == "$$.State.EnteredTime" for selector in left.values())


def test_every_task_and_job_is_a_function_whose_handler_exists(stack: Synthesized) -> None:
    functions = stack.of_type("AWS::Lambda::Function").values()
    handlers = sorted(f["Properties"]["Handler"] for f in functions)
    modules = [
        f"bakery.{package.__name__.rpartition('.')[2]}.{module.name}"
        for package in (bakery.jobs, bakery.tasks)
        for module in iter_modules(package.__path__)
    ]
    assert handlers == sorted(f"{module}.handler" for module in modules)
    assert all(callable(import_module(module).handler) for module in modules)


def test_one_state_is_one_task_module(stack: Synthesized) -> None:
    """State ``StopBuilder`` calls the function of ``bakery.tasks.stop_builder``."""
    handlers = {
        id_: f["Properties"]["Handler"] for id_, f in stack.of_type("AWS::Lambda::Function").items()
    }
    for name, state in tasks(stack):
        function = versions(stack)[named(state)]
        module = "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")
        assert handlers[function] == f"bakery.tasks.{module}.handler"


def named(state: State) -> str:
    """Logical id of what a task invokes."""
    target: str = state["Parameters"].get("FunctionName", state["Resource"])
    return target.strip("<>")


def versions(stack: Synthesized) -> dict[str, str]:
    """Logical id of each published version, and of its function."""
    return {
        id_: flat(version["Properties"]["FunctionName"]).strip("<>")
        for id_, version in stack.of_type("AWS::Lambda::Version").items()
    }


def test_every_task_names_a_version_that_no_update_deletes(stack: Synthesized) -> None:
    """An execution keeps its definition; so it keeps the code that the definition names."""
    published = stack.of_type("AWS::Lambda::Version")
    fleet = named(stack.fleet["States"]["NextWave"])
    assert {fleet, *(named(state) for _, state in tasks(stack))} == set(published)
    for id_, version in published.items():
        # Gone with a deployment that is rolled back, else its next try could not publish it.
        assert version["DeletionPolicy"] == "RetainExceptOnCreate", id_
        assert version["UpdateReplacePolicy"] == "Retain", id_


def test_the_machine_may_invoke_the_versions_of_earlier_deployments(stack: Synthesized) -> None:
    """Its role's policy is replaced by the deployment, executions under way go on with it."""
    (policy,) = [
        resource["Properties"]["PolicyDocument"]
        for id_, resource in stack.of_type("AWS::IAM::Policy").items()
        if id_.startswith("MachineBakeRole")
    ]
    allowed = {
        flat(resource)
        for statement in policy["Statement"]
        if statement["Action"] == "lambda:InvokeFunction"
        for resource in statement["Resource"]
    }
    functions = {it for it in versions(stack).values() if not it.startswith("Fleet")}
    assert {f"<{function}>:*" for function in functions} <= allowed


def test_a_version_changes_with_what_its_function_gets(synthesize: Synthesize) -> None:
    """Else the machine would go on with the old: CloudFormation publishes by logical id only."""
    network = {"vpc_id": "vpc-0123456789abcdef0", "subnet_ids": "subnet-0123456789abcdef0"}
    before, after = (synthesize(context=context) for context in (None, network))
    changed = {f for id_, f in versions(before).items() if id_ not in versions(after)}
    assert {f.partition("Tasks")[2].rstrip("0123456789ABCDEF") for f in changed} == {
        "LaunchBuilder",  # by the security group of the other network
        "LaunchTest",
        "Plan",  # by its subnets
    }


def test_what_changes_nothing_of_a_function_publishes_nothing(synthesize: Synthesize) -> None:
    """Lambda publishes the same code and configuration not twice; the deployment would fail."""
    context = {"notification_email": "platform@example.com", "janitor": "report"}
    before, after = synthesize(), synthesize(context=context)
    assert versions(before) == versions(after)


def test_it_is_a_standard_traced_logged_machine_without_data_in_its_log(
    stack: Synthesized,
) -> None:
    for name in ("AmiBakery-Bake", "AmiBakery-Fleet"):
        machine = stack.machine_named(name)
        assert machine["StateMachineType"] == "STANDARD"
        assert machine["TracingConfiguration"] == {"Enabled": True}
        assert machine["LoggingConfiguration"]["Level"] == "ALL"
        assert machine["LoggingConfiguration"]["IncludeExecutionData"] is False
    assert flat(stack.template["Outputs"]["BakeStateMachineArn"]["Value"]).startswith("<Machine")
