"""Tell others how a bake ended: one event on the default bus, source ``ami-bakery``.

Driven by Step Functions' own status event, so that aborted and timed-out bakes are told as well;
no state of the machine would see those. Output of commands stays out of events, so only the first
line of a cause is passed on.
Idempotent because the invocation that tells an end claims it first; others leave it alone. Lambda
tries a failed invocation again under the same request id, so a claim outlives a crash. One between
the event and the function's return has the same end told twice: better than not at all.
"""

import json
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from bakery import clock, errors
from bakery.aws import events, stepfunctions, table
from bakery.errors import BakeryError
from bakery.naming import BAKE_SUCCEEDED
from bakery.observability import logger
from bakery.settings import AnnounceSettings

_MARK_DAYS = 30
_OF_OUTPUT = (
    "outcome",
    "image",
    "copies",
    "left_out",
    "previous",
    "reason",
    "left",
    "skipped_slot",
)


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> None:
    """Announce the end of the execution that the status event is about, unless it was before."""
    ended = event["detail"]
    settings, me = AnnounceSettings.load(), context.aws_request_id
    end = f"announced#{ended['executionArn']}#{ended['stopDate']}"
    if table.claim(settings.table, end, by=me, now=clock.now(), days=_MARK_DAYS) != me:
        return
    try:
        detail_type, detail = announcement(ended)
        events.announce(detail_type, detail)
    except BakeryError:
        table.release(settings.table, end, by=me)
        raise
    # Lambda's own queue may deliver what it has delivered, under the same request id.
    table.assign(settings.table, end, by="told", now=clock.now(), days=_MARK_DAYS)


def announcement(ended: dict[str, Any]) -> tuple[str, dict[str, object]]:
    """Detail type and detail of the event for an ended execution."""
    detail: dict[str, object] = {
        "recipe": _recipe(ended),
        "bake": ended["name"],
        "execution": ended["executionArn"],
    }
    if ended["status"] != "SUCCEEDED":
        error, cause = stepfunctions.failure_of(ended["executionArn"])
        detail |= {
            "status": ended["status"],
            "error": error or ended["status"],
            "summary": cause.partition("\n")[0] or f"The execution was {ended['status']}.",
            "advice": errors.advice(error),
        }
        return "Bake Failed", detail
    output = json.loads(ended.get("output") or "{}")
    detail |= {key: output.get(key) for key in _OF_OUTPUT}
    # Booleans of their own, because event patterns cannot ask whether a list is empty.
    detail["clean"] = not output.get("left")
    detail["everywhere"] = not output.get("left_out")
    detail["skipped"] = output.get("skipped_slot") is not None
    return (BAKE_SUCCEEDED if output.get("outcome") == "baked" else "Bake Unchanged"), detail


def _recipe(ended: dict[str, Any]) -> str | None:
    try:
        recipe = json.loads(ended.get("input") or "{}").get("recipe")
    except (ValueError, AttributeError):
        return None
    return recipe if isinstance(recipe, str) else None
