"""Nightly bakes over every change of clocks: none missed but those that AWS skips, none twice.

What is expected is found by walking through the nights minute by minute, in UTC, with a look at
the local clock: another way than that of ``scripts.cron``, which goes by local times.
"""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest

from bakery.slots import key, late_reason
from scripts import cron

ZONES = {
    "Europe/London": 2,  # an hour, at 01:00 UTC
    "America/New_York": 2,  # an hour, at 02:00 local time
    "Australia/Lord_Howe": 2,  # half an hour
    "America/Santiago": 2,  # an hour, at midnight: the day begins at 01:00
    "Africa/Casablanca": 2,  # off for Ramadan, on other dates each year
    "Pacific/Auckland": 2,  # an hour, in the southern year
    "Asia/Kolkata": 0,
    "UTC": 0,
}
"""With how often clocks change in a year."""

YEARS = (2026, 2027)
QUARTERS = [f"{minute} {hour} * * ? *" for hour in range(24) for minute in (0, 15, 30, 45)]
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


@cache
def changes(zone: str, year: int) -> tuple[datetime, ...]:
    """The minutes at which the zone's clocks change, in UTC."""
    place, found = ZoneInfo(zone), []
    moment = datetime(year, 1, 1, tzinfo=UTC)
    while moment.year == year:
        after = moment + timedelta(hours=1)
        if moment.astimezone(place).utcoffset() != after.astimezone(place).utcoffset():
            minutes = (moment + n * MINUTE for n in range(61))
            before = moment.astimezone(place).utcoffset()
            found.append(next(m for m in minutes if m.astimezone(place).utcoffset() != before))
        moment = after
    return tuple(found)


def nights(zone: str, year: int) -> Iterator[tuple[datetime, datetime]]:
    """Begin and end of each stretch to look at: two days on both sides of each change, if any."""
    middles = changes(zone, year) or (datetime(year, 3, 29, tzinfo=UTC),)
    return ((middle - 2 * DAY, middle + 2 * DAY) for middle in middles)


@cache
def expected(zone: str, begin: datetime, end: datetime) -> dict[str, list[datetime]]:
    """For each nightly expression, the first moment of each date at which the clock shows it."""
    place = ZoneInfo(zone)
    seen: dict[tuple[int, int], dict[str, datetime]] = {}
    moment = begin
    while moment < end:
        local = moment.astimezone(place)
        at = seen.setdefault((local.minute, local.hour), {})
        at.setdefault(f"{local:%Y-%m-%d}", moment)
        moment += MINUTE
    return {f"{m} {h} * * ? *": sorted(found.values()) for (m, h), found in seen.items()}


TABLE = [pytest.param(zone, year, id=f"{zone} {year}") for zone in ZONES for year in YEARS]


@pytest.mark.parametrize(("zone", "year"), TABLE)
def test_clocks_change_as_often_as_the_table_says(zone: str, year: int) -> None:
    """Else the tests below would look at nothing."""
    assert len(changes(zone, year)) == ZONES[zone]


@pytest.mark.parametrize(("zone", "year"), TABLE)
def test_each_night_is_started_once_and_only_one_whose_time_does_not_exist_is_not(
    zone: str, year: int
) -> None:
    for begin, end in nights(zone, year):
        for expression in QUARTERS:
            started = list(cron.slots(expression, zone, begin, end))
            assert started == expected(zone, begin, end).get(expression, []), expression


@pytest.mark.parametrize(("zone", "year"), TABLE)
def test_no_night_is_baked_twice_though_each_is_delivered_three_times(zone: str, year: int) -> None:
    """By what Plan claims, and however late within the hour."""
    for begin, end in nights(zone, year):
        for expression in QUARTERS:
            claims: dict[str, str] = {}
            baked: Counter[str] = Counter()
            started = list(cron.slots(expression, zone, begin, end))
            for slot in started:
                written = f"{slot:%Y-%m-%dT%H:%M:%SZ}"
                for delivery in range(3):
                    bake = f"{written} {delivery}"
                    begun = slot + delivery * timedelta(minutes=25)
                    assert late_reason(written, begun=begun, flexible_minutes=0) is None
                    if claims.setdefault(key("web", written), bake) == bake:
                        baked[written] += 1
            assert set(baked.values()) <= {1}
            assert len(baked) == len(started), "two nights have one claim"


@pytest.mark.parametrize(("zone", "year"), TABLE)
def test_what_is_said_to_be_lost_is_what_is_not_started(zone: str, year: int) -> None:
    """Counted: as many local times as the clocks jump over, and no others."""
    begin, end = datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC)
    lost = {wall for expression in QUARTERS for wall in cron.lost(expression, zone, begin, end)}
    place = ZoneInfo(zone)
    jumped = set()
    for change in changes(zone, year):
        wall = (change - MINUTE).astimezone(place).replace(tzinfo=None) + MINUTE
        while wall < change.astimezone(place).replace(tzinfo=None):
            jumped |= {wall} if wall.minute % 15 == 0 else set()
            wall += MINUTE
    assert lost == jumped


def test_in_london_half_past_one_is_skipped_in_spring_and_comes_once_in_autumn() -> None:
    spring = cron.slots(
        "30 1 * * ? *",
        "Europe/London",
        datetime(2026, 3, 27, 12, tzinfo=UTC),
        datetime(2026, 3, 30, 12, tzinfo=UTC),
    )
    assert [f"{slot:%d %H:%M}" for slot in spring] == ["28 01:30", "30 00:30"]
    autumn = cron.slots(
        "30 1 * * ? *",
        "Europe/London",
        datetime(2026, 10, 24, 12, tzinfo=UTC),
        datetime(2026, 10, 26, 12, tzinfo=UTC),
    )
    assert [f"{slot:%d %H:%M}" for slot in autumn] == ["25 00:30", "26 01:30"]


@pytest.mark.parametrize(
    ("expression", "dates"),
    [
        ("30 1 * * ? *", ["2026-03-29 01:30", "2027-03-28 01:30"]),
        ("0 1 ? * SUN *", ["2026-03-29 01:00", "2027-03-28 01:00"]),
        ("0 1 ? * sun *", ["2026-03-29 01:00", "2027-03-28 01:00"]),
        ("0,30 1 ? * 1L 2027", ["2027-03-28 01:00", "2027-03-28 01:30"]),
        ("0 1,13 * * ? *", ["2026-03-29 01:00", "2027-03-28 01:00"]),
        ("0 0 * * ? *", []),
        ("0 2 * * ? *", []),
        ("30 1 ? * MON-FRI *", []),  # clocks change on Sundays
        ("0/20 * * * ? *", []),  # comes again within the hour
        ("0 0-5 * * ? *", []),
    ],
)
def test_what_a_schedule_in_london_loses(expression: str, dates: list[str]) -> None:
    begin, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2028, 1, 1, tzinfo=UTC)
    found = cron.lost(expression, "Europe/London", begin, end)
    assert [f"{wall:%Y-%m-%d %H:%M}" for wall in found] == dates


def test_a_schedule_in_utc_loses_nothing() -> None:
    begin, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2028, 1, 1, tzinfo=UTC)
    assert list(cron.jumps("UTC", begin, end)) == []
