"""What clean up has left, as the execution's state tells it."""

from collections.abc import Mapping
from typing import Any

from bakery import failures
from bakery.naming import TAG_BAKE


def of(state: Mapping[str, Any]) -> tuple[str, ...]:
    """One line for each thing that could not be removed, with AWS's reason; usually none.

    A clean up that failed as a whole has told nothing, so all of the bake may still be there.
    """
    failed = state.get("clean_up_failure")
    if failed is not None:
        reason = failures.readable(failed)
        return (f"anything that carries this execution's name as tag {TAG_BAKE}: {reason}",)
    result = state.get("clean_up", {}).get("result", {})
    return tuple(str(line) for line in result.get("left", ()))
