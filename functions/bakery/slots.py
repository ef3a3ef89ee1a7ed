"""The slots of a schedule: the moments for which it starts bakes. Pure.

A slot is always compared and claimed in UTC: local times repeat when clocks go back.
"""

from datetime import UTC, datetime, timedelta

from bakery import clock

LATEST = timedelta(hours=1)
"""What is delivered later than this, after the schedule's own window, is skipped: the night for
which the bake was meant is over, and the next slot is near."""

_SKEW = timedelta(minutes=5)
"""Clocks differ a little."""


def key(recipe: str, slot: str) -> str:
    """What a bake claims for the slot; the same for every way to write the same moment."""
    return f"slot#{recipe}#{_utc(clock.parse(slot))}"


def future_problem(slot: str, *, begun: datetime) -> str | None:
    """Why a bake that began then cannot be for the slot: a schedule starts none before its time."""
    ahead = clock.parse(slot) - begun
    if ahead <= _SKEW:
        return None
    return (
        f"'{slot}' is {_span(ahead)} ahead of the start of this execution ({_utc(begun)}), and a "
        "schedule starts nothing early; leave slot out when you start a bake yourself"
    )


def late_reason(slot: str, *, begun: datetime, flexible_minutes: int) -> str | None:
    """Why a bake that began then comes too late for the slot; None when it is in time."""
    window = timedelta(minutes=flexible_minutes)
    late = begun - clock.parse(slot) - window
    if late <= LATEST:
        return None
    after = f" after its window of {flexible_minutes} minutes" if flexible_minutes else ""
    return (
        f"the schedule's slot {slot} was delivered {_span(late)} late{after} and is skipped; "
        "the next slot bakes, or start a bake yourself"
    )


def _utc(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _span(length: timedelta) -> str:
    minutes = int(length / timedelta(minutes=1))
    hours, rest = divmod(minutes, 60)
    days, hours_left = divmod(hours, 24)
    if days:
        return f"{days} d {hours_left} h"
    return f"{hours} h {rest} min" if hours else f"{rest} min"
