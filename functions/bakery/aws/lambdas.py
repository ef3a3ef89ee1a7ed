"""Lambda: functions of ours that another one starts."""

import json
from collections.abc import Mapping

from bakery.aws import clients
from bakery.aws.failures import translated


def start(function_arn: str, content: Mapping[str, object]) -> None:
    """Have the function run with this event, without waiting for it."""
    with translated("lambda:InvokeFunction", function_arn):
        clients.functions().invoke(
            FunctionName=function_arn,
            InvocationType="Event",
            Payload=json.dumps(content).encode(),
        )
