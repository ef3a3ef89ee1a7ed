"""Making one readable failure of what Step Functions caught."""

import json
from collections.abc import Mapping
from typing import Any

from bakery import errors, stages
from bakery.errors import BakeryError, StageTimedOutError, UnexpectedError

_OWN = {
    name
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, BakeryError)
}


def first_failure(state: Mapping[str, Any]) -> tuple[str, str]:
    """Error name (always one of the product's own) and cause of the bake's first failure.

    ``state["failure"]`` is what a Catch stored.
    """
    caught = state["failure"]
    error, cause = str(caught.get("Error", "")), _text(str(caught.get("Cause", "")))
    stage = stages.failed_stage(state)
    if error in _OWN:
        return error, cause
    if error == "States.Timeout":
        return StageTimedOutError.__name__, f"Stage {stage} did not end within its time budget."
    return (
        UnexpectedError.__name__,
        f"Stage {stage} ended with {error}: {cause or 'no cause given'}. "
        "Look at the log of its function; start the bake again.",
    )


def readable(caught: Mapping[str, Any]) -> str:
    """Error and cause that a Catch stored, as one text."""
    error, cause = str(caught.get("Error", "")), _text(str(caught.get("Cause", "")))
    return f"{error}: {cause}" if cause else error


def _text(cause: str) -> str:
    """The message inside the JSON that the Lambda runtime makes of an exception."""
    try:
        content = json.loads(cause)
    except ValueError:
        return cause
    if isinstance(content, dict) and "errorMessage" in content:
        return str(content["errorMessage"])
    return cause
