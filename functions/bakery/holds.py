"""Builders of failed bakes that are kept for a while, to be looked at or to go on from.

A hold is an item of the bakery's table, because tags are given at creation only. CleanUp makes it,
the janitor respects it until it is over.
"""

from datetime import datetime, timedelta

from bakery import clock
from bakery.aws import table

PREFIX = "kept#"
"""Of a hold's claim; the bake's name follows."""

_MEMORY_DAYS = 7


def keep(table_name: str, bake: str, hours: int) -> datetime:
    """Keep what the bake has for so many hours; returns until when. A second call changes nothing,
    so that a task that is tried again does not lengthen the hold."""
    now = clock.now()
    until = now + timedelta(hours=hours)
    text = until.isoformat(timespec="seconds")
    held = table.claim(table_name, f"{PREFIX}{bake}", by=text, now=now, days=_MEMORY_DAYS)
    return clock.parse(held)


def kept_bakes(table_name: str) -> set[str]:
    """Names of the bakes that are kept now."""
    held = table.holders(table_name, PREFIX)
    return {bake for bake, until in held.items() if clock.parse(until) > clock.now()}


def end(table_name: str, bake: str) -> None:
    """End the hold of the bake, if there is one."""
    held = table.holder_of(table_name, f"{PREFIX}{bake}")
    if held is not None:
        table.release(table_name, f"{PREFIX}{bake}", by=held)
