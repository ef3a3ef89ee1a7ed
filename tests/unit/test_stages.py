"""What can be read from the state that a bake leaves."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bakery import stages
from bakery.bake import Copied
from bakery.stages import AWAIT_TURN, CLONE_HOST, LOST, STAGES

START = datetime(2026, 1, 1, 3, 0, 0, tzinfo=UTC)


def at(minutes: float) -> str:
    return (START + timedelta(minutes=minutes)).isoformat().replace("+00:00", "Z")


def state(*names: str) -> dict[str, Any]:
    """The named stages, each entered a minute after the one before."""
    return {name: {"entered": at(n)} for n, name in enumerate(names)}


def test_the_timeline_has_every_stage_in_order_without_gaps() -> None:
    found = stages.timeline(state(*STAGES), START + timedelta(minutes=len(STAGES)))
    assert [row["stage"] for row in found] == list(STAGES)
    assert {row["seconds"] for row in found} == {60.0}
    assert found[0]["started"] == "2026-01-01T03:00:00Z"
    assert found[1]["started"] == "2026-01-01T03:01:00Z"


def test_a_builder_that_was_replaced_is_one_stage_between_plan_and_launch() -> None:
    ran = {**state("plan", "launch"), LOST: {"entered": at(1), "replaced": at(31)}}
    ran["launch"]["entered"] = at(31)
    found = stages.timeline(ran, START + timedelta(minutes=40))
    assert [(row["stage"], row["seconds"]) for row in found] == [
        ("plan", 60.0),
        (LOST, 1800.0),
        ("launch", 540.0),
    ]
    assert stages.lost_hours(ran) == pytest.approx(0.5)
    assert stages.lost_hours(state("plan", "launch")) == 0.0
    assert stages.failed_stage(ran) == "await_managed"


def test_an_unchanged_bake_has_one_stage() -> None:
    found = stages.timeline(state("plan"), START + timedelta(seconds=2.34))
    assert found == [{"stage": "plan", "started": "2026-01-01T03:00:00Z", "seconds": 2.3}]


def test_a_wait_for_the_turn_stands_between_plan_and_launch() -> None:
    ran = {**state("plan", "launch"), AWAIT_TURN: {"entered": at(0.5)}}
    found = stages.timeline(ran, START + timedelta(minutes=5))
    assert [(row["stage"], row["seconds"]) for row in found] == [
        ("plan", 30.0),
        (AWAIT_TURN, 30.0),
        ("launch", 240.0),
    ]


@pytest.mark.parametrize("before", [{}, {AWAIT_TURN: {"entered": at(1)}}])
def test_a_bake_that_failed_while_it_waited_failed_in_its_turn(before: dict[str, Any]) -> None:
    """Also at its second turn, when the key is there already."""
    waiting = {"plan": {"entered": at(0), "busy": {"bake": "other"}}, **before}
    assert stages.failed_stage(waiting) == AWAIT_TURN


def test_a_bake_that_has_waited_fails_in_the_stage_after() -> None:
    ran = {**state("plan", "launch"), AWAIT_TURN: {"entered": at(0.5)}}
    ran["plan"]["busy"] = None
    assert stages.failed_stage(ran) == "await_managed"


def test_the_order_is_the_machines_whatever_the_order_of_the_keys() -> None:
    given = {"launch": {"entered": at(1)}, "plan": {"entered": at(0)}, "failure": {"Error": "X"}}
    found = stages.timeline(given, START + timedelta(minutes=5))
    assert [(row["stage"], row["seconds"]) for row in found] == [("plan", 60.0), ("launch", 240.0)]


def test_started_is_utc_though_the_state_says_otherwise() -> None:
    found = stages.timeline({"plan": {"entered": "2026-01-01T12:00:00+09:00"}}, START)
    assert found[0]["started"] == "2026-01-01T03:00:00Z"


@pytest.mark.parametrize("index", range(len(STAGES)))
def test_the_first_stage_without_a_result_is_the_one_that_failed(index: int) -> None:
    assert stages.failed_stage(state(*STAGES[:index])) == STAGES[index]


def test_a_clean_up_entered_after_a_failure_does_not_hide_the_stage_that_failed() -> None:
    assert stages.failed_stage(state("plan", "launch", "clean_up")) == "await_managed"


def test_when_all_stages_ran_the_last_one_failed() -> None:
    assert stages.failed_stage(state(*STAGES)) == "clean_up"


def test_the_builder_is_paid_from_launch_to_the_end_of_its_stop() -> None:
    ran = {
        "launch": {"entered": at(1)},
        "stop": {"entered": at(25)},
        "create_image": {"entered": at(31)},
    }
    assert stages.builder_hours(ran, START + timedelta(hours=9)) == pytest.approx(0.5)


def test_a_builder_that_was_never_stopped_is_paid_to_the_end() -> None:
    ran = {"launch": {"entered": at(0)}, "stop": {"entered": at(3)}}
    assert stages.builder_hours(ran, START + timedelta(hours=2)) == pytest.approx(2.0)


def copies(*found: tuple[str, str | None, str | None]) -> dict[str, Any]:
    names = ("region", "image_id", "failed")
    return {"copies": [dict(zip(names, it, strict=True)) for it in found]}


def test_the_copies_are_those_of_each_region_that_of_the_stack_first() -> None:
    ran = {
        "test_and_copy": copies(
            ("eu-west-1", "ami-1", None), ("us-east-1", "ami-2", None), ("eu-north-1", None, "full")
        )
    }
    assert stages.copies(ran) == (
        Copied(region="eu-west-1", image_id="ami-1"),
        Copied(region="us-east-1", image_id="ami-2"),
        Copied(region="eu-north-1", image_id=None, failed="full"),
    )


@pytest.mark.parametrize("ran", [{}, {"test_and_copy": {"entered": at(0)}}])
def test_before_the_copies_are_made_nothing_is_known_of_them(ran: dict[str, Any]) -> None:
    assert stages.copies(ran) == ()


def test_test_instances_are_paid_until_they_have_passed_not_until_the_copies_are_made() -> None:
    tested = {
        "test_and_copy": {"entered": at(10), "tested": at(40)},
        "release": {"entered": at(99)},
    }
    assert stages.test_hours(tested, START + timedelta(hours=9)) == pytest.approx(0.5)


def test_test_instances_of_a_bake_that_failed_are_paid_to_the_end() -> None:
    assert stages.test_hours(
        {"test_and_copy": {"entered": at(0)}}, START + timedelta(hours=2)
    ) == pytest.approx(2.0)


def test_what_was_never_tested_costs_no_test_instance() -> None:
    assert stages.test_hours(state("plan", "launch"), START + timedelta(hours=2)) == 0.0


def test_tests_and_copies_are_one_stage_as_long_as_the_longer_of_them() -> None:
    ran = {**state(*STAGES), "test_and_copy": {"entered": at(11), "tested": at(11.5)}}
    rows = {row["stage"]: row["seconds"] for row in stages.timeline(ran, START)}
    assert rows["test_and_copy"] == 60.0


def test_without_a_launch_there_is_nothing_to_pay() -> None:
    assert stages.builder_hours(state("plan"), START + timedelta(hours=2)) == 0.0


def test_clocks_that_disagree_never_make_a_negative_price() -> None:
    assert stages.builder_hours({"launch": {"entered": at(1)}}, START) == 0.0
    assert stages.test_hours({"test_and_copy": {"entered": at(1)}}, START) == 0.0


def test_the_clone_of_a_host_is_a_stage_that_only_some_bakes_have() -> None:
    ran = {**state("plan", CLONE_HOST, "launch"), "plan": {"entered": at(0), "host": {"x": "y"}}}
    found = stages.timeline(ran, START + timedelta(minutes=3))
    assert [row["stage"] for row in found] == ["plan", CLONE_HOST, "launch"]
    assert stages.failed_stage(ran) == "await_managed"
    assert stages.failed_stage({"plan": ran["plan"]}) == CLONE_HOST
    assert stages.failed_stage(state("plan")) == "launch"
