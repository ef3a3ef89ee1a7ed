"""EventBridge: telling others that a bake has ended."""

import json
from collections.abc import Mapping

from bakery.aws import clients
from bakery.aws.failures import translated
from bakery.errors import ServiceUnavailableError
from bakery.naming import EVENT_SOURCE


def announce(detail_type: str, detail: Mapping[str, object]) -> None:
    """Put one event on the default bus.

    Raises ServiceUnavailableError when EventBridge took the call but not the entry.
    """
    with translated("events:PutEvents", detail_type):
        answer = clients.events().put_events(
            Entries=[
                {"Source": EVENT_SOURCE, "DetailType": detail_type, "Detail": json.dumps(detail)}
            ]
        )
    if answer["FailedEntryCount"]:
        raise ServiceUnavailableError(f"EventBridge refused '{detail_type}': {answer['Entries']}")
