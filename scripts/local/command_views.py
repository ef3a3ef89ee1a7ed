"""Commands in the shapes that the API answers with, and its limits on output."""

from __future__ import annotations

from typing import Any

from scripts.local import runner
from scripts.local.agent import STATUS, TERMINAL, Command
from scripts.local.clock import iso_millis
from scripts.local.errors import AwsError


def command_row(command: Command) -> dict[str, Any]:
    """A row of ListCommands, and SendCommand's answer."""
    done = command.details in TERMINAL
    return {
        "CommandId": command.id,
        "DocumentName": command.document,
        "DocumentVersion": command.version.number,
        "Comment": command.comment,
        "ExpiresAfter": command.expires,
        "Parameters": command.parameters,
        "InstanceIds": [command.instance_id],
        "Targets": [],
        "RequestedDateTime": command.requested,
        "Status": command.status,
        "StatusDetails": command.details,
        "MaxConcurrency": "50",
        "MaxErrors": "0",
        "TargetCount": 1,
        "CompletedCount": int(done),
        "ErrorCount": int(done and command.details != "Success"),
        "DeliveryTimedOutCount": int(command.details == "DeliveryTimedOut"),
        "TimeoutSeconds": int(command.delivery),
    }


def invocation(command: Command, plugin: str | None) -> dict[str, Any]:
    """GetCommandInvocation's answer."""
    answer = {
        "CommandId": command.id,
        "InstanceId": command.instance_id,
        "Comment": command.comment,
        "DocumentName": command.document,
        "DocumentVersion": command.version.number,
        "PluginName": plugin or "",
        "ResponseCode": -1,
        "Status": command.status,
        "StatusDetails": command.details,
        "StandardOutputContent": "",
        "StandardErrorContent": "",
        "StandardOutputUrl": "",
        "StandardErrorUrl": "",
        "ExecutionStartDateTime": iso_millis(command.started) if command.started else "",
        "ExecutionEndDateTime": iso_millis(command.ended) if command.ended else "",
        "ExecutionElapsedTime": _elapsed(command),
        "CloudWatchOutputConfig": {
            "CloudWatchLogGroupName": command.logs.get("CloudWatchLogGroupName") or "",
            "CloudWatchOutputEnabled": bool(command.logs.get("CloudWatchOutputEnabled")),
        },
    }
    _add_output(command, plugin, answer)
    return answer


def _add_output(command: Command, plugin: str | None, answer: dict[str, Any]) -> None:
    """Output belongs to a step: without a name only a document of one step shows any."""
    names = [str(step["name"]) for step in command.version.steps]
    if plugin and plugin not in names:
        raise AwsError("InvalidPluginName", f"The plugin name {plugin} is not valid.")
    if plugin is None and len(names) > 1:
        if command.details in TERMINAL and command.outcomes:
            answer["ResponseCode"] = runner.aggregate(command.outcomes)[1]
        return
    wanted = plugin or names[0]
    outcome = next((o for o in command.outcomes if o.name == wanted), None)
    if outcome is None:
        if plugin:
            answer.update(Status="Pending", StatusDetails="Pending")
        return
    details = {
        "TimedOut": "ExecutionTimedOut",
        "Skipped": "Success",
        "SuccessAndReboot": "InProgress",
    }
    answer["ResponseCode"] = outcome.exit_code
    answer["StandardOutputContent"] = outcome.stdout[: runner.MAX_STDOUT]
    answer["StandardErrorContent"] = outcome.stderr[: runner.MAX_STDERR]
    if plugin:
        own = details.get(outcome.status, outcome.status)
        answer.update(StatusDetails=own, Status=STATUS.get(own, own))


def invocation_row(command: Command, *, details: bool) -> dict[str, Any]:
    """A row of ListCommandInvocations; its output is cut at 2,500 characters."""
    plugins = [
        {
            "Name": o.name,
            "Status": STATUS.get(o.status, "Success" if o.status == "Skipped" else o.status),
            "ResponseCode": o.exit_code,
            "Output": (o.stdout + ("\n----------ERROR-------\n" + o.stderr if o.stderr else ""))[
                :2500
            ],
        }
        for o in command.outcomes
    ]
    return {
        "CommandId": command.id,
        "InstanceId": command.instance_id,
        "Comment": command.comment,
        "DocumentName": command.document,
        "DocumentVersion": command.version.number,
        "RequestedDateTime": command.requested,
        "Status": command.status,
        "StatusDetails": command.details,
        "CommandPlugins": plugins if details else [],
    }


def _elapsed(command: Command) -> str:
    if command.started is None:
        return ""
    return f"PT{((command.ended or command.started) - command.started).total_seconds():.3f}S"
