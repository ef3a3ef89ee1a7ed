"""RedriveExecution: an execution that ended badly goes on from the state that failed.

Source: Step Functions developer guide, "Redriving executions": same definition, the failed state's
own input, `RedriveCount` in the context object, and the history goes on.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from moto.stepfunctions.parser.api import ExecutionStatus
from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser
from moto.stepfunctions.parser.backend.execution_worker import ExecutionWorker

from scripts.local.errors import AwsError

if TYPE_CHECKING:
    from collections.abc import Container
    from datetime import datetime

REDRIVABLE = ("FAILED", "ABORTED", "TIMED_OUT")


class RedrivenWorker(ExecutionWorker):
    """Runs the definition from another state, with another input, as redrive number `count`."""

    def __init__(self, run: Any, state: str, content: Any, count: int, at: datetime) -> None:
        fresh = run._get_start_execution_worker()
        super().__init__(
            evaluation_details=fresh._evaluation_details,
            exec_comm=fresh._execution_communication,
            cloud_watch_logging_session=fresh._cloud_watch_logging_session,
            activity_store=fresh._activity_store,
        )
        self._state, self._content, self._count, self._at = state, content, count, at

    def _get_evaluation_entrypoint(self) -> Any:
        definition = json.loads(self._evaluation_details.state_machine_details.definition)
        return AmazonStateLanguageParser.parse(json.dumps({**definition, "StartAt": self._state}))[
            0
        ]

    def _get_evaluation_environment(self) -> Any:
        environment = super()._get_evaluation_environment()
        execution: Any = environment.states.context_object.context_object_data["Execution"]
        execution["RedriveCount"] = self._count
        execution["RedriveTime"] = self._at.isoformat()
        environment.states.reset(self._content)
        return environment


def redrive(run: Any, history: list[dict[str, Any]], *, count: int, at: datetime) -> None:
    """Go on with `run`, whose events so far are `history`."""
    if run.status not in REDRIVABLE:
        raise AwsError(
            "ExecutionNotRedrivable", f"Execution is not redrivable: it is {run.status}."
        )
    definition = json.loads(run.exec_worker._evaluation_details.state_machine_details.definition)
    state, content = failed_state(history, definition["States"])
    run.exec_worker = RedrivenWorker(run, state, content, count, at)
    run.exec_status = ExecutionStatus.RUNNING
    run.error = run.cause = run.stop_date = None
    run.exec_worker.start()


def failed_state(history: list[dict[str, Any]], top: Container[str]) -> tuple[str, Any]:
    """Name and input of the state that was under way at the end: one of the machine's own, outside
    of any Map or Parallel. Names of states are unique in the whole machine."""
    for event in reversed(history):
        details = event.get("stateEnteredEventDetails")
        if details and details["name"] in top:
            return str(details["name"]), json.loads(details["input"])
    raise AwsError("ExecutionNotRedrivable", "Execution is not redrivable: no state failed.")
