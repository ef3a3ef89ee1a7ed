"""The report of a bake: what it says of Regions and of the cost of its tests."""

from datetime import UTC, datetime
from typing import Any

import pytest

from bakery import clock
from bakery.planning import decide
from bakery.tasks import report
from tests.unit.samples import NITRO, XEN, recipe, world

ENDED = datetime(2026, 1, 1, 5, 0, tzinfo=UTC)
HOME = {"region": "eu-west-1", "image_id": "ami-home", "failed": None}
COPY = {"region": "us-east-1", "image_id": "ami-copy", "failed": None}
LEFT_OUT = {"region": "eu-north-1", "image_id": None, "failed": "there is no key"}


@pytest.fixture(autouse=True)
def ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: ENDED)


def at(hour: int, minute: int = 0) -> str:
    return f"2026-01-01T{hour:02}:{minute:02}:00Z"


def state(*copies: dict[str, Any], **recipe_fields: object) -> dict[str, Any]:
    """A builder that ran for an hour, and tests for half of one, while copies took two."""
    known = {"t3.medium": NITRO, "m3.medium": XEN}
    plan = decide(world(recipe=recipe(**recipe_fields), known_types=known), force=False)
    return {
        "plan": {**plan.model_dump(mode="json"), "entered": at(1)},
        "launch": {"entered": at(1), "instance_type": "t3.medium"},
        "create_image": {"entered": at(2), "image_id": "ami-home"},
        "test_and_copy": {"entered": at(2, 30), "tested": at(3), "copies": [HOME, *copies]},
        "keep_previous": {"entered": at(4, 30), "image": "ami-before"},
    }


def told(state: dict[str, Any]) -> report.Result:
    return report.run(report.Request(state=state))


def test_a_bake_of_one_region_has_neither_copies_nor_regions_that_are_left_out() -> None:
    result = told(state())
    assert (result.copies, result.left_out) == ({}, {})
    assert result.image and (result.image.id, result.image.region) == ("ami-home", "eu-west-1")


def test_copies_are_told_by_region_and_that_of_the_stack_is_the_image_itself() -> None:
    result = told(state(COPY))
    assert result.copies == {"us-east-1": "ami-copy"}
    assert result.left_out == {}


def test_a_region_that_is_left_out_is_told_with_the_reason_and_is_no_copy() -> None:
    result = told(state(COPY, LEFT_OUT))
    assert result.copies == {"us-east-1": "ami-copy"}
    assert result.left_out == {"eu-north-1": "there is no key"}


def test_a_bake_that_was_not_needed_has_no_copies() -> None:
    unchanged = {"plan": {**state()["plan"], "bake_needed": False, "reason": "nothing has changed"}}
    result = told(unchanged)
    assert (result.outcome, result.copies, result.left_out) == ("unchanged", {}, {})
    assert result.previous is None


def test_test_instances_cost_from_their_launch_until_they_have_passed() -> None:
    """Two of the builder's type for half an hour; the copies take longer."""
    hourly = state()["plan"]["usd_per_hour"]["t3.medium"]
    cost = told(state()).estimated_cost_usd
    assert cost == pytest.approx(1.0 * hourly + 2 * 0.5 * hourly + 0.001, abs=1e-4)


def test_every_type_that_is_tested_has_its_own_price() -> None:
    tested = state(test={"instance_types": ["m3.medium", "t3.medium"], "identity": False})
    prices = tested["plan"]["usd_per_hour"]
    assert prices["m3.medium"] != prices["t3.medium"]
    expected = 1.0 * prices["t3.medium"] + 0.5 * (prices["m3.medium"] + prices["t3.medium"])
    assert told(tested).estimated_cost_usd == pytest.approx(expected + 0.001, abs=1e-4)


def test_one_test_instance_costs_half_of_two() -> None:
    hourly = state()["plan"]["usd_per_hour"]["t3.medium"]
    two = told(state()).estimated_cost_usd
    one = told(state(test={"identity": False})).estimated_cost_usd
    assert two - one == pytest.approx(0.5 * hourly, abs=1e-4)


def test_the_timeline_has_tests_and_copies_as_one_stage() -> None:
    rows = {row.stage: row.seconds for row in told(state(COPY)).timeline}
    assert rows["test_and_copy"] == 2 * 3600
