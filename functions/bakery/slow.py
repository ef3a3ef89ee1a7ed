"""Telling people once that a wait takes longer than it usually does; its deadline is still to come.

A sweeper claims the wait before it announces it, so that two do not both. Whether one that died in
between has announced it shows in the event itself: it comes back here and completes the claim. A
claim that nobody has completed after a while is another sweeper's.
"""

from datetime import datetime, timedelta
from typing import Any

from bakery import budgets, clock
from bakery.aws import events, table
from bakery.naming import STAGE_SLOW
from bakery.waits import Wait

_TOLD = "told"
_GIVEN_UP = timedelta(minutes=5)
"""Longer than a sweep may take, and the event until it is here."""

_LIFE = timedelta(days=budgets.WHOLE_BAKE.days + 1)
"""Longer than any wait."""


def tell(table_name: str, wait: Wait) -> None:
    """Announce the wait if it is past its soft limit and nobody was told yet; safe to repeat."""
    now = clock.now()
    if wait.expected is None or now < wait.expected:
        return
    # Not by the token: a task that is tried again goes on with the same wait.
    if _claimed(table_name, _mark(wait.bake, wait.subject), now):
        events.announce(STAGE_SLOW, _detail(wait, wait.expected))
        told(table_name, wait.bake, wait.subject)


def told(table_name: str, bake: str, subject: str) -> None:
    """Remember that people were told of the wait; safe to repeat."""
    table.assign(table_name, _mark(bake, subject), by=_TOLD, now=clock.now(), days=_LIFE.days)


def told_by(table_name: str, event: dict[str, Any]) -> None:
    """Remember what an event of ``tell`` says."""
    told(table_name, event["detail"]["bake"], event["detail"]["wait"])


def _claimed(table_name: str, mark: str, now: datetime) -> bool:
    mine = now.isoformat()
    holder = table.claim(table_name, mark, by=mine, now=now, days=_LIFE.days)
    if holder == mine:
        return True
    if holder == _TOLD or now - clock.parse(holder) < _GIVEN_UP:
        return False
    return table.take_over(table_name, mark, holder=holder, by=mine, expires=now + _LIFE)


def _mark(bake: str, subject: str) -> str:
    return f"slow#{bake}#{subject}"


def _detail(wait: Wait, expected: datetime) -> dict[str, object]:
    """What the event says; nothing that a command has printed."""
    return {
        "recipe": wait.recipe or None,
        "bake": wait.bake,
        "stage": wait.label,
        "wait": wait.subject,
        "since": _text(wait.begun),
        "expected": _text(expected),
        "deadline": _text(wait.deadline),
    }


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
