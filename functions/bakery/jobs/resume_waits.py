"""Resume tasks whose wait is over: at once by an event, or within a minute by the sweeper.

One function for both, so that a lost event changes the time of a resumption and nothing else.
The sweeper also tells people of a wait that takes longer than it usually does, once.
It also serves bakes that go on with the code of an earlier release: see ``bakery.waits.Wait``.
Idempotent because ``waiting.settle`` looks at AWS, not at the event, and a token works once.
"""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import ValidationError

from bakery import slow, waiting
from bakery.aws import table
from bakery.errors import BakeryError, ServiceUnavailableError
from bakery.naming import STAGE_SLOW
from bakery.observability import logger
from bakery.settings import WaitSettings
from bakery.waits import Kind, Wait, subject_of_event


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> None:
    """An EventBridge event resumes its own wait; anything else (the schedule) sweeps all."""
    table_name = WaitSettings.load().table
    if event.get("detail-type") == STAGE_SLOW:
        slow.told_by(table_name, event)
    elif "detail-type" in event:
        resume_one(table_name, event)
    else:
        sweep(table_name)


def resume_one(table_name: str, event: dict[str, Any]) -> None:
    """Settle the waits that the event is about; events of others' resources find none."""
    subject = subject_of_event(event)
    for wait in table.find_waits(table_name, subject) if subject else ():
        waiting.settle(table_name, wait)


def sweep(table_name: str) -> None:
    """Settle every wait that is over, tell of one that is slow; none stops the others.

    Those in the Region of the stack come first, and another Region that does not answer is left to
    the next sweep: one look at it takes the SDK two minutes.
    Raises ExceptionGroup at the end when some could not, so that the failure shows in the metrics.
    """
    errors: list[Exception] = []
    waits: list[Wait] = []
    for key, stored in table.open_waits(table_name):
        try:
            waits.append(Wait.model_validate_json(stored))
        except ValidationError as error:
            logger.exception("wait could not be read", key=key)
            errors.append(error)
    silent: set[tuple[str, Kind]] = set()
    for wait in sorted(waits, key=lambda it: it.region != ""):
        if (wait.region, wait.kind) in silent:
            continue
        try:
            if not waiting.settle(table_name, wait):
                slow.tell(table_name, wait)
        except BakeryError as error:
            logger.exception("wait could not be looked at", subject=wait.subject)
            errors.append(error)
            if wait.region and isinstance(error, ServiceUnavailableError):
                silent.add((wait.region, wait.kind))
    if errors:
        raise ExceptionGroup("waits that could not be looked at", errors)
