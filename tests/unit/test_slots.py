"""Slots of schedules: what one is called, and when it is too late or too early for it."""

from datetime import UTC, datetime, timedelta

import pytest

from bakery import slots

SLOT = "2026-01-31T03:00:00Z"
MOMENT = datetime(2026, 1, 31, 3, tzinfo=UTC)


@pytest.mark.parametrize(
    "written",
    [
        SLOT,
        "2026-01-31T03:00:00.000Z",
        "2026-01-31T03:00:00+00:00",
        "2026-01-31T04:00:00+01:00",
        "2026-01-30T22:00:00-05:00",
    ],
)
def test_a_slot_has_one_key_however_it_is_written(written: str) -> None:
    assert slots.key("web", written) == f"slot#web#{SLOT}"


def test_the_hour_that_comes_twice_has_two_keys() -> None:
    """01:30 in London on 2026-10-25: first in summer time, then in winter time."""
    summer, winter = "2026-10-25T01:30:00+01:00", "2026-10-25T01:30:00+00:00"
    assert slots.key("web", summer) != slots.key("web", winter)


@pytest.mark.parametrize("flexible", [0, 15, 1440])
@pytest.mark.parametrize("late", [timedelta(0), timedelta(minutes=59), timedelta(hours=1)])
def test_an_hour_beyond_the_window_is_in_time(late: timedelta, flexible: int) -> None:
    begun = MOMENT + timedelta(minutes=flexible) + late
    assert slots.late_reason(SLOT, begun=begun, flexible_minutes=flexible) is None


@pytest.mark.parametrize(
    ("flexible", "late", "said"),
    [
        (0, timedelta(hours=1, seconds=1), "1 h 0 min late and is skipped"),
        (0, timedelta(hours=3, minutes=20), "3 h 20 min late and is skipped"),
        (15, timedelta(hours=23), "23 h 0 min late after its window of 15 minutes and is skipped"),
        (1440, timedelta(days=2, hours=5), "2 d 5 h late after its window of 1440 minutes"),
    ],
)
def test_what_comes_later_is_skipped_and_says_so(flexible: int, late: timedelta, said: str) -> None:
    begun = MOMENT + timedelta(minutes=flexible) + late
    reason = slots.late_reason(SLOT, begun=begun, flexible_minutes=flexible)
    assert reason and reason.startswith(f"the schedule's slot {SLOT} was delivered {said}")
    assert "the next slot bakes" in reason


@pytest.mark.parametrize("ahead", [timedelta(hours=-9), timedelta(0), timedelta(minutes=5)])
def test_clocks_may_differ_a_little(ahead: timedelta) -> None:
    assert slots.future_problem(SLOT, begun=MOMENT - ahead) is None


def test_a_slot_that_is_still_to_come_is_an_error_with_its_remedy() -> None:
    problem = slots.future_problem(SLOT, begun=MOMENT - timedelta(hours=2))
    assert problem and f"'{SLOT}' is 2 h 0 min ahead" in problem
    assert "(2026-01-31T01:00:00Z)" in problem
    assert "leave slot out" in problem
