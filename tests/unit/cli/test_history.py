"""What a person sees of the events of an execution's history."""

from typing import Any, TypeVar

import pytest

from bakery import stages as bakery_stages
from scripts.bakery_cli.history import (
    BuilderReplaced,
    Change,
    Ended,
    Event,
    PartEnded,
    StageEnded,
    StageStarted,
    StepEnded,
    StepStarted,
    Tracker,
    TriedAgain,
    message_of,
)
from scripts.bakery_cli.stages import AWAIT_TURN, BY_KEY, STAGES, detail
from tests.unit.cli import events
from tests.unit.cli.events import BUILDER, IMAGE, PLAN, STATE, Script

T = TypeVar("T")


def read(history: list[Event]) -> tuple[Tracker, list[Change]]:
    tracker = Tracker()
    return tracker, [change for event in history for change in tracker.feed(event)]


def of(kind: type[T], changes: list[Change]) -> list[T]:
    return [change for change in changes if isinstance(change, kind)]


def test_a_good_bake_shows_every_stage_once_in_order() -> None:
    tracker, changes = read(events.good_bake())
    titles = [stage.title for stage in STAGES]
    assert [change.stage.title for change in of(StageStarted, changes)] == titles
    assert [change.stage.title for change in of(StageEnded, changes)] == titles
    assert all(change.failure is None and change.seconds > 0 for change in of(StageEnded, changes))
    assert of(Ended, changes)[0].status == "SUCCEEDED" and changes[-1] == of(Ended, changes)[0]
    assert tracker.failed is None and tracker.stage is None and tracker.plan == PLAN


def test_the_stages_are_those_of_the_product() -> None:
    assert [stage.key for stage in STAGES] == list(bakery_stages.STAGES)
    assert AWAIT_TURN.key == bakery_stages.AWAIT_TURN


def test_each_step_of_the_recipe_is_shown_by_its_name() -> None:
    _, changes = read(events.good_bake())
    shown = [(step.name, step.number, step.total) for step in of(StepStarted, changes)]
    assert shown == [("packages", 1, 2), ("kernel", 2, 2)]
    assert [(step.name, step.failed) for step in of(StepEnded, changes)] == [
        *(("packages", False), ("kernel", False))
    ]


def test_a_stage_tells_what_it_did() -> None:
    _, changes = read(events.good_bake())
    did = {change.stage.key: change.detail for change in of(StageEnded, changes)}
    assert did == {
        "plan": "first image of this recipe; base ami-0base0000000000f0 (al2023-base)",
        "launch": f"{BUILDER}, t3.medium",
        "await_managed": "Amazon Linux 2023, agent 3.3.3050.0",
        "prepare": "AmiBakery-prepare-linux version 1",
        "customize": "2 steps done",
        "remove_identity": "AmiBakery-remove-opsworks-identity version 1",
        "generalize": "AmiBakery-generalize-linux version 1",
        "verify_identity": "AmiBakery-verify-identity version 1",
        "stop": f"{BUILDER} is stopped",
        "create_image": f"{IMAGE} (web-20260131T030000Z)",
        "harden_image": "IMDSv2 only, encrypted",
        "test_and_copy": "4 tests on 2 instances passed",
        "release": "in 1 Region",
        "publish": f"/ami-bakery/web/image is now {IMAGE}",
        "templates": "the recipe names none",
        "keep_previous": "there was none",
        "retire": "1 of 6 old images went a step",
        "clean_up": f"removed instance {BUILDER}",
    }


@pytest.mark.parametrize("stage", [*STAGES, AWAIT_TURN], ids=lambda stage: stage.key)
def test_a_state_of_another_release_is_no_error(stage: Any) -> None:
    assert isinstance(detail(stage, {}), str)
    assert isinstance(detail(stage, {"plan": {}, stage.key: {}}), str)


def test_a_locked_release_and_what_clean_up_left_are_told() -> None:
    locked = {**PLAN, "prepare": events.command("doc", LockRelease=["2018.03"])}
    assert detail(BY_KEY["prepare"], {"plan": locked}) == "doc version 1, locked to release 2018.03"
    left = {"clean_up": {"result": {"removed": [], "left": ["volume vol-1: in use"]}}}
    assert "COULD NOT REMOVE volume vol-1: in use" in detail(BY_KEY["clean_up"], left)


def test_another_try_says_after_which_error() -> None:
    _, changes = read(events.good_bake())
    (again,) = of(TriedAgain, changes)
    assert (again.stage.key, again.tries) == ("await_managed", 2)
    assert again.failure.error == "NotManagedYetError"
    assert again.failure.cause == "Builder has not reported. More words."


def test_a_failed_step_is_the_failure_of_its_stage() -> None:
    tracker, changes = read(events.failed_step())
    (step,) = of(StepEnded, changes)
    assert (step.name, step.failed) == ("packages", True)
    assert tracker.failed and tracker.failed.stage.key == "customize"
    assert tracker.failed.failure and tracker.failed.failure.error == "CustomizationFailedError"
    assert tracker.failed.failure.cause == events.STEP_CAUSE
    assert tracker.step == "packages"
    assert [change.stage.key for change in of(StageEnded, changes)][-1] == "clean_up"
    assert of(Ended, changes)[0].status == "FAILED"


def test_a_bake_that_waits_for_its_turn_says_for_whom() -> None:
    _, changes = read(events.queued_bake())
    started = [(change.stage.key, change.detail) for change in of(StageStarted, changes)]
    assert started == [
        ("plan", ""),
        ("await_turn", "behind bake web-0, which has the recipe"),
        ("plan", ""),
    ]
    assert [change.detail for change in of(StageEnded, changes)] == [
        "the recipe is busy: bake web-0 is under way",
        "bake web-0 has ended",
        "nothing has changed",
    ]


def test_a_refusal_by_plan_is_the_failure_of_plan() -> None:
    tracker, _ = read(events.refused())
    assert tracker.failed and tracker.failed.stage.key == "plan" and tracker.plan == {}
    assert tracker.failed.failure
    assert tracker.failed.failure.cause == "Recipe 'web' cannot be baked:\n- base: is bad"


@pytest.mark.parametrize(
    ("kind", "status"), [("ExecutionAborted", "ABORTED"), ("ExecutionTimedOut", "TIMED_OUT")]
)
def test_a_bake_that_is_cut_off_fails_in_the_stage_under_way(kind: str, status: str) -> None:
    script = Script().function("Plan", STATE).enter("LaunchBuilder").add(kind)
    tracker, changes = read(script.events)
    assert tracker.failed and tracker.failed.stage.key == "launch"
    assert tracker.failed.failure and tracker.failed.failure.error == status
    assert of(Ended, changes)[0].status == status


def test_a_replaced_builder_is_told_and_is_no_failure_of_the_bake() -> None:
    tracker, changes = read(events.replaced())
    (replaced,) = of(BuilderReplaced, changes)
    assert replaced.why == events.WHY
    assert tracker.failed is None and tracker.step is None
    after = changes[changes.index(replaced) + 1 :]
    titles = [stage.title for stage in STAGES]
    assert [change.stage.title for change in of(StageEnded, after)] == titles[1:]
    assert of(Ended, after)[0].status == "SUCCEEDED"


def test_a_builder_that_is_not_replaced_is_the_failure_of_its_stage() -> None:
    tracker, changes = read(events.not_replaced())
    assert of(BuilderReplaced, changes) == []
    assert tracker.failed and tracker.failed.stage.key == "prepare"
    assert tracker.failed.failure and tracker.failed.failure.error == "BuilderTakenError"


def test_a_later_failure_does_not_hide_the_first() -> None:
    script = Script().function("Plan", STATE).enter("LaunchBuilder").add("LambdaFunctionScheduled")
    script.fail_function("NoCapacityError", "full").exit("LaunchBuilder", STATE)
    script.enter("CleanUp").add("LambdaFunctionScheduled").fail_function("AccessDeniedError", "no")
    script.exit("CleanUp", STATE)
    tracker, changes = read(script.events)
    assert [c.stage.key for c in of(StageEnded, changes) if c.failure] == ["launch", "clean_up"]
    assert tracker.failed and tracker.failed.stage.key == "launch"


@pytest.mark.parametrize(
    "kind",
    ["TaskTimedOut", "TaskStartFailed", "TaskSubmitFailed", "LambdaFunctionTimedOut"],
)
def test_every_way_in_which_a_try_can_fail_is_a_failure(kind: str) -> None:
    details = {f"{kind[0].lower()}{kind[1:]}EventDetails": {"error": "States.Timeout"}}
    script = Script().enter("Prepare").add("TaskScheduled").add(kind, **details)
    _, changes = read(script.exit("Prepare", STATE).events)
    (ended,) = of(StageEnded, changes)
    assert ended.failure and ended.failure.error == "States.Timeout"


TESTED = {**STATE, "test_and_copy": {"copies": []}}
COPY = {"region": "eu-central-1", "image_id": "ami-0000000000000copy", "failed": None}
LEFT_OUT = {"region": "us-east-1", "image_id": None, "failed": "us-east-1 is full"}


def test_tests_on_two_instances_at_the_same_time_are_each_told_with_their_own_duration() -> None:
    _, changes = read(Script().function("Plan", STATE).test_and_copy(TESTED).events)
    parts = of(PartEnded, changes)
    tests = ["it has come up", "it tells its identity", "it lists its packages", "answers"]
    first, second = events.TEST_INSTANCES
    # The second instance is quicker in all of them: it began later and ended before.
    assert [(part.title, part.detail) for part in parts] == [
        (f"test '{test}'", f"on {instance}") for test in tests for instance in (second, first)
    ]
    quick, slow = {part.seconds for part in parts[::2]}, {part.seconds for part in parts[1::2]}
    assert len(quick) == len(slow) == 1 and 0 < quick.pop() < slow.pop()
    assert not any(part.failed for part in parts)


def test_a_copy_is_told_with_its_image_and_one_that_is_left_out_with_its_reason() -> None:
    script = Script().function("Plan", STATE).function("CreateImage", STATE)
    _, changes = read(script.test_and_copy(TESTED, places=[COPY, LEFT_OUT]).events)
    copies = [part for part in of(PartEnded, changes) if part.title.startswith("copy")]
    assert [(part.title, part.detail, part.failed) for part in copies] == [
        ("copy to eu-central-1", "ami-0000000000000copy", False),
        ("copy to us-east-1", "us-east-1 is full", True),
    ]
    assert all(part.seconds > 0 for part in copies)


def test_the_region_of_the_stack_needs_no_copy_so_none_is_told() -> None:
    _, changes = read(events.good_bake())
    assert [part.title for part in of(PartEnded, changes) if "copy" in part.title] == []


def test_parts_and_iterations_of_other_maps_are_no_steps_of_the_recipe() -> None:
    _, changes = read(events.good_bake())
    assert [step.name for step in of(StepStarted, changes)] == ["packages", "kernel"]


def test_a_failed_test_is_the_failure_of_its_stage_and_names_itself() -> None:
    tracker, changes = read(events.failed_test())
    assert tracker.failed and tracker.failed.stage.key == "test_and_copy"
    assert tracker.failed.failure and tracker.failed.failure.error == "TestFailedError"
    assert tracker.failed.failure.cause == events.TEST_CAUSE
    told = [part.title for part in of(PartEnded, changes)]
    assert "test 'it has come up'" in told and "test 'answers'" not in told
    assert tracker.step is None


@pytest.mark.parametrize("later", ["TaskSucceeded", "TaskScheduled", "LambdaFunctionFailed"])
def test_what_other_parts_do_after_a_test_has_failed_does_not_hide_its_failure(later: str) -> None:
    history = events.failed_test()
    number = next(n for n, event in enumerate(history) if event["type"] == "TaskFailed")
    other = {**history[number], "type": later}
    tracker, changes = read([*history[: number + 1], other, *history[number + 1 :]])
    assert tracker.failed and tracker.failed.stage.key == "test_and_copy"
    assert tracker.failed.failure and tracker.failed.failure.cause == events.TEST_CAUSE
    (stage,) = [change for change in of(StageEnded, changes) if change.failure]
    assert stage.detail == ""


def test_a_part_whose_content_the_history_cut_off_is_told_without_it() -> None:
    cut = {"name": "CopyImage", "output": '{"region": "eu-'}
    script = Script().function("Plan", STATE).enter("TestAndCopy", "Parallel")
    script.enter("CopyImage", given={"region": "eu-central-1"})
    script.add("TaskStateExited", stateExitedEventDetails=cut)
    _, changes = read(script.events)
    assert [part.failed for part in of(PartEnded, changes)] == [False]


def test_a_state_that_the_history_cut_off_costs_only_the_detail() -> None:
    script = Script().enter("Plan").add("LambdaFunctionScheduled").add("LambdaFunctionSucceeded")
    script.add("TaskStateExited", stateExitedEventDetails={"name": "Plan", "output": '{"plan": {'})
    _, changes = read(script.events)
    assert of(StageEnded, changes)[0].failure is None


def test_reading_in_parts_shows_the_same_as_reading_at_once() -> None:
    history = events.good_bake()
    tracker, shown = Tracker(), []
    while fresh := [event for event in history if event["id"] > tracker.last_event][:7]:
        shown += [change for event in fresh for change in tracker.feed(event)]
    assert shown == read(history)[1]


@pytest.mark.parametrize(
    ("cause", "message"),
    [
        ("plain", "plain"),
        ('{"errorMessage": "inner", "errorType": "X"}', "inner"),
        ('{"other": 1}', '{"other": 1}'),
        ("", ""),
    ],
)
def test_a_cause_is_the_message_of_the_exception(cause: str, message: str) -> None:
    assert message_of(cause) == message
