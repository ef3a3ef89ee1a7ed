"""One bake of a recipe at a time: two would move its pointer over each other's head.

The lease is an item of the bakery's table, held by an execution. One whose execution has ended
without giving it back (it was stopped, or it timed out) is taken over, so no lease blocks for ever.
"""

from datetime import timedelta

from bakery import budgets, clock
from bakery.aws import stepfunctions, table
from bakery.errors import RecipeBusyError

PREFIX = "lease#"
"""Of a lease's claim; the recipe follows."""

_DAYS = budgets.WHOLE_BAKE.days + 1
"""Longer than any execution; after that DynamoDB forgets what nobody gave back."""


def take(table_name: str, recipe: str, execution: str) -> None:
    """Lease the recipe to the execution; safe to repeat.

    Raises RecipeBusyError, naming the execution that holds it, while that one runs.
    """
    now, what = clock.now(), _key(recipe)
    holder = table.claim(table_name, what, by=execution, now=now, days=_DAYS)
    if holder == execution:
        return
    expires = now + timedelta(days=_DAYS)
    if not stepfunctions.is_running(holder) and table.take_over(
        table_name, what, holder=holder, by=execution, expires=expires
    ):
        return
    raise RecipeBusyError(recipe, holder)


def give_back(table_name: str, recipe: str, execution: str) -> None:
    """End the execution's lease; harmless when it has none (any more)."""
    table.release(table_name, _key(recipe), by=execution)


def holder(table_name: str, recipe: str) -> str | None:
    """The execution that has the recipe, or None; it may have ended without giving it back."""
    return table.holder_of(table_name, _key(recipe))


def _key(recipe: str) -> str:
    return f"{PREFIX}{recipe}"
