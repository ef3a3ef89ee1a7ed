"""When EventBridge Scheduler starts what has a cron expression: its times are local ones of a zone.

A local time that clocks jump over is skipped, one that comes twice is used once; the first time,
which AWS does not say. Source: EventBridge Scheduler user guide, "Schedule types", daylight saving.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from aws_croniter import AwsCroniter

_DAY = timedelta(days=1)
_MINUTE = timedelta(minutes=1)
_SOON = timedelta(hours=1)


def slots(expression: str, zone: str, begin: datetime, end: datetime) -> Iterator[datetime]:
    """Every moment from ``begin`` until before ``end`` for which a bake is started, in UTC."""
    place = ZoneInfo(zone)
    for wall in _named(expression, _wall(begin, place) - _DAY, _wall(end, place) + _DAY):
        moment = _first_moment(wall, place)
        if moment is not None and begin <= moment < end:
            yield moment


def lost(expression: str, zone: str, begin: datetime, end: datetime) -> Iterator[datetime]:
    """Every local time that the expression names, that clocks jump over, and that leaves a hole.

    An expression that starts something within the next hour anyway loses nothing. Raises
    ValueError for the few forms that the library does not know, such as ``LW``.
    """
    for first, after in jumps(zone, begin, end):
        again = after.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
        if not any(slots(expression, zone, again, again + _SOON)):
            yield from _named(expression, first, after)


def jumps(zone: str, begin: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    """The local times that do not exist: from the first, until before the second of each pair."""
    place = ZoneInfo(zone)
    day = begin.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    while day < end:
        if _offset(day, place) < _offset(day + _DAY, place):
            moment = _change(day, place)
            yield _wall(moment - _MINUTE, place) + _MINUTE, _wall(moment, place)
        day += _DAY


def _change(day: datetime, place: ZoneInfo) -> datetime:
    """The minute of the day from which the zone has another offset."""
    low, high = day, day + _DAY
    while high - low > _MINUTE:
        middle = low + (high - low) // _MINUTE // 2 * _MINUTE
        if _offset(middle, place) == _offset(low, place):
            low = middle
        else:
            high = middle
    return high


def _named(expression: str, begin: datetime, end: datetime) -> Iterator[datetime]:
    """The local times from ``begin`` until before ``end`` that the expression names."""
    cron = AwsCroniter(expression.upper())
    wall = begin.replace(tzinfo=UTC) - _MINUTE
    while wall := cron.get_next(wall)[0]:
        if wall.replace(tzinfo=None) >= end:
            return
        yield wall.replace(tzinfo=None)


def _first_moment(wall: datetime, place: ZoneInfo) -> datetime | None:
    moment = wall.replace(tzinfo=place, fold=0).astimezone(UTC)
    return moment if _wall(moment, place) == wall else None


def _wall(moment: datetime, place: ZoneInfo) -> datetime:
    return moment.astimezone(place).replace(tzinfo=None, fold=0)


def _offset(moment: datetime, place: ZoneInfo) -> timedelta:
    return moment.astimezone(place).utcoffset() or timedelta()
