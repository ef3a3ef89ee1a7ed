"""Step Functions: starting executions, and resuming a task that waits for its token."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from bakery import orphans
from bakery.aws import clients
from bakery.aws.failures import code_of, translated
from bakery.orphans import Execution

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions.type_defs import DescribeExecutionOutputTypeDef

# Nobody waits any more: the task timed out, was resumed before, or its execution ended.
_NOBODY_WAITS = {"TaskDoesNotExist", "TaskTimedOut", "InvalidToken"}

_RUNNING = {"RUNNING", "PENDING_REDRIVE"}
_UNKNOWN = {"ExecutionDoesNotExist", "InvalidArn"}

# What comes from a tag that is not ours may be no name at all; an ARN that is too long would be
# refused as a call that is wrong. Source: Step Functions API reference, StartExecution, ``name``.
_NAME = re.compile(r"""[^\s<>{}\[\]?*"#%\\^|~`$&,;:/\x00-\x1f\x7f-\x9f]{1,80}""")

# Source: Step Functions API reference, SendTaskFailure.
_MAX_ERROR = 256
_MAX_CAUSE = 32_768


def start(machine_arn: str, name: str, content: Mapping[str, object]) -> bool:
    """Start an execution; False if there was one of that name before, which may have ended.

    While it runs, the same name and input give the same execution again. Source: Step Functions API
    reference, StartExecution.
    """
    with translated("states:StartExecution", name):
        try:
            clients.stepfunctions().start_execution(
                stateMachineArn=machine_arn, name=name, input=json.dumps(content)
            )
        except ClientError as error:
            if code_of(error) == "ExecutionAlreadyExists":
                return False
            raise
    return True


def succeed(token: str, output: Mapping[str, object]) -> bool:
    """Resume the waiting task with ``output``; False if nobody waits for this token any more."""
    with translated("states:SendTaskSuccess"):
        try:
            clients.stepfunctions().send_task_success(taskToken=token, output=json.dumps(output))
        except ClientError as error:
            if code_of(error) in _NOBODY_WAITS:
                return False
            raise
    return True


def fail(token: str, error_name: str, cause: str) -> bool:
    """End the waiting task with an error; False if nobody waits for this token any more."""
    with translated("states:SendTaskFailure"):
        try:
            clients.stepfunctions().send_task_failure(
                taskToken=token, error=error_name[:_MAX_ERROR], cause=cause[:_MAX_CAUSE]
            )
        except ClientError as error:
            if code_of(error) in _NOBODY_WAITS:
                return False
            raise
    return True


def is_running(execution_arn: str) -> bool:
    """Whether the execution may still do something; False for one that AWS does not know."""
    found = find_execution(execution_arn)
    return found is not None and found.ended is None


def find_execution(execution_arn: str) -> Execution | None:
    """The execution, or None when Step Functions does not know it (any more)."""
    answer = _described(execution_arn)
    if answer is None:
        return None
    running = answer["status"] in _RUNNING
    return Execution(
        recipe=_recipe(answer.get("input", "")),
        started=answer["startDate"],
        ended=None if running else answer["stopDate"],
        succeeded=answer["status"] == "SUCCEEDED",
        results=orphans.results(answer.get("output", "")),
    )


@dataclass(frozen=True)
class Failed:
    """An execution that has ended, and has not succeeded."""

    started: datetime
    status: str
    """ABORTED, FAILED or TIMED_OUT."""


def failed_execution(machine_arn: str, name: str) -> Failed | None:
    """The machine's execution of that name, if it has ended and has not succeeded; None as well
    when Step Functions does not know it (any more)."""
    answer = _described(f"{machine_arn.replace(':stateMachine:', ':execution:')}:{name}")
    if answer is None or answer["status"] in {*_RUNNING, "SUCCEEDED"}:
        return None
    return Failed(answer["startDate"], answer["status"])


def _described(execution_arn: str) -> "DescribeExecutionOutputTypeDef | None":
    # arn:aws:states:REGION:ACCOUNT:execution:MACHINE:NAME
    if not _NAME.fullmatch(execution_arn.split(":", 7)[-1]):
        return None
    with translated("states:DescribeExecution", execution_arn):
        try:
            return clients.stepfunctions().describe_execution(executionArn=execution_arn)
        except ClientError as error:
            if code_of(error) in _UNKNOWN:
                return None
            raise


def _recipe(content: str) -> str:
    return str(_mapping(content).get("recipe", ""))


def _mapping(content: str) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def failure_of(execution_arn: str) -> tuple[str, str]:
    """Error name and cause of an ended execution; empty texts where it has none."""
    with translated("states:DescribeExecution", execution_arn):
        answer = clients.stepfunctions().describe_execution(executionArn=execution_arn)
    return answer.get("error", ""), answer.get("cause", "")
