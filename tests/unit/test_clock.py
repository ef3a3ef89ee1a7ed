"""Moments are aware and in UTC."""

from datetime import UTC, datetime, timedelta

import pytest

from bakery import clock


def test_now_is_the_present_in_utc() -> None:
    assert clock.now().utcoffset() == timedelta(0)
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-01T03:00:00.500Z",
        "2026-01-01T03:00:00.500000+00:00",
        "2026-01-01T12:00:00.500+09:00",
    ],
)
def test_a_moment_as_step_functions_writes_it_is_read_as_utc(text: str) -> None:
    moment = clock.parse(text)
    assert moment == datetime(2026, 1, 1, 3, 0, 0, 500_000, tzinfo=UTC)
    assert moment.tzinfo is UTC


@pytest.mark.failure(59)
@pytest.mark.parametrize("text", ["2026-01-01T03:00:00", "2026-01-01", "yesterday", ""])
def test_a_moment_without_a_zone_is_a_mistake(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        clock.parse(text)
