"""Telling people once that a wait takes longer than it usually does; its deadline is still to come.

The claim comes before the event: a sweeper that dies between the two, or a second one that runs
at the same time, tells nothing twice. At worst nobody is told; the deadline still ends the wait.
"""

from datetime import datetime

from bakery import budgets, clock
from bakery.aws import events, table
from bakery.errors import BakeryError, ServiceUnavailableError
from bakery.waits import Wait

DETAIL_TYPE = "Stage Slow"

_DAYS = budgets.WHOLE_BAKE.days + 1
"""Longer than any wait."""


def tell(table_name: str, wait: Wait) -> None:
    """Announce the wait if it is past its soft limit and nobody was told yet.

    Safe to repeat. Raises when EventBridge refuses; then the next call announces it.
    """
    now = clock.now()
    if wait.expected is None or now < wait.expected:
        return
    # Not by the token: a task that is tried again goes on with the same wait.
    what, sweep = f"slow#{wait.bake}#{wait.subject}", now.isoformat()
    if table.claim(table_name, what, by=sweep, now=now, days=_DAYS) != sweep:
        return
    try:
        events.announce(DETAIL_TYPE, detail(wait, wait.expected))
    except ServiceUnavailableError:
        raise  # it may have been announced
    except BakeryError:
        table.release(table_name, what, by=sweep)
        raise


def detail(wait: Wait, expected: datetime) -> dict[str, object]:
    """What the event says; nothing that a command has printed."""
    return {
        "recipe": wait.recipe or None,
        "bake": wait.bake,
        "stage": wait.label,
        "since": _text(wait.begun),
        "expected": _text(expected),
        "deadline": _text(wait.deadline),
    }


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
