"""Step Functions' API over moto's interpreter: limits, names, tokens, history and events as AWS
has them."""

from __future__ import annotations

import json
import re
import threading
import uuid
from typing import TYPE_CHECKING, Any

from scripts.local import moto_seam
from scripts.local.errors import AwsError
from scripts.local.records import page
from scripts.local.redrive import redrive
from scripts.local.sfn_engine import Engine

if TYPE_CHECKING:
    from collections.abc import Callable

    from scripts.local.calls import Call, Handler
    from scripts.local.clock import Clock
    from scripts.local.ec2_state import Emit

PAYLOAD_LIMIT = 262_144
NAME_LIMIT = 80
_FORBIDDEN = re.compile(r"[\s<>{}\[\]?*\"#%\\^|~`$&,;:/\x00-\x1f\x7f-\x9f]")
_ARN = re.compile(r"""arn:[^\s<>{}\[\]?*"#%\\^|~`$&,;/]+:execution:[^:]+:[^:]{1,80}""")
ENDED = ("SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED")


class StepFunctions:
    """`aws.executions` for tests; the API for everybody else."""

    def __init__(
        self, clock: Clock, emit: Emit, client: Callable[[str, str, str], Any], region: str
    ) -> None:
        self._clock = clock
        self._emit = emit
        self._region = region
        self._lock = threading.Lock()
        self._announced: set[str] = set()
        self._earlier: dict[str, list[dict[str, Any]]] = {}
        """Events of the tries before a redrive."""
        self.engine = Engine(clock, client, self._on_end)

    def handlers(self) -> dict[str, Handler]:
        return {
            "StartExecution": self.start_execution,
            "StopExecution": self.stop_execution,
            "DescribeExecution": self.describe_execution,
            "ListExecutions": self.list_executions,
            "GetExecutionHistory": self.get_execution_history,
            "RedriveExecution": self.redrive_execution,
            "SendTaskSuccess": self.send_task_success,
            "SendTaskFailure": self.send_task_failure,
            "SendTaskHeartbeat": self.send_task_heartbeat,
        }

    def close(self) -> None:
        for run in self._executions():
            worker = run.exec_worker
            if worker and worker.env and run.status == "RUNNING":
                worker.env.set_stop(stop_date=self._clock.now(), cause=None, error=None)
        self.engine.close()

    # Executions

    def _backend(self, region: str | None = None) -> Any:
        return moto_seam.backend("stepfunctions", region or self._region)

    def _machine(self, region: str, arn: str) -> Any:
        found = next((m for m in self._backend(region).state_machines if m.arn == arn), None)
        if found is None:
            raise AwsError("StateMachineDoesNotExist", f"State Machine Does Not Exist: '{arn}'")
        return found

    def _executions(self) -> list[Any]:
        return [run for machine in self._backend().state_machines for run in machine.executions]

    def _execution(self, arn: str) -> Any:
        found = next((run for run in self._executions() if run.exec_arn == arn), None)
        if found is None:
            raise AwsError("ExecutionDoesNotExist", f"Execution Does Not Exist: '{arn}'")
        return found

    def is_running(self, arn: str) -> bool:
        """For whoever waits in this process: a hundred calls a second would take their time."""
        return bool(self._execution(arn).status == "RUNNING")

    def has_entered(self, arn: str, state: str) -> bool:
        """Whether the execution came to the state; for whoever waits in this process, as above."""
        return any(
            event.get("stateEnteredEventDetails", {}).get("name") == state
            for event in self._history(self._execution(arn))
        )

    def start_execution(self, call: Call) -> dict[str, Any]:
        payload, name = str(call.get("input") or "{}"), call.get("name")
        with self._clock.busy():
            arn, started = self.start(
                call.parameters["stateMachineArn"], payload, name, call.region
            )
        return {"executionArn": arn, "startDate": started}

    def start(
        self, machine_arn: str, payload: str, name: str | None = None, region: str | None = None
    ) -> Any:
        machine = self._machine(region or self._region, machine_arn)
        if len(payload.encode()) > PAYLOAD_LIMIT:
            message = (
                "1 validation error detected: Value at 'input' failed to satisfy constraint: "
                f"Member must have length less than or equal to {PAYLOAD_LIMIT}"
            )
            raise AwsError("ValidationException", message)
        try:
            json.loads(payload)
        except ValueError as error:
            message = f"Invalid State Machine Execution Input: '{error}'"
            raise AwsError("InvalidExecutionInput", message) from error
        if name is not None and (not 1 <= len(name) <= NAME_LIMIT or _FORBIDDEN.search(name)):
            raise AwsError("InvalidName", f"Invalid Name: '{name}'")
        with self._lock:
            known = (
                next((run for run in machine.executions if run.name == name), None)
                if name
                else None
            )
            if known is not None:
                if known.status == "RUNNING" and json.loads(known.execution_input) == json.loads(
                    payload
                ):
                    return known.exec_arn, known.start_date
                message = f"Execution Already Exists: '{known.exec_arn}'"
                raise AwsError("ExecutionAlreadyExists", message)
            run = self._backend(region).start_execution(
                machine_arn, name or str(uuid.uuid4()), payload
            )
        self._announce(run, "RUNNING")
        return run.exec_arn, run.start_date

    def stop_execution(self, call: Call) -> dict[str, Any]:
        run = self._execution(call.parameters["executionArn"])
        self._stop(run, call.get("error"), call.get("cause"))
        # What it runs with `.sync` goes down with it; its own threads may notice too late for that.
        for nested in self.engine.nested.get(run.exec_arn, ()):
            self._stop(self._execution(nested), None, None)
        return {"stopDate": run.stop_date or self._clock.now()}

    def _stop(self, run: Any, error: str | None, cause: str | None) -> None:
        if run.status == "RUNNING":
            worker = run.exec_worker
            for _ in range(200):
                if worker.env is not None:
                    break
                self._clock.sleep(self._clock.scale * 0.005)
            run.error, run.cause = error, cause
            worker.env.set_stop(stop_date=self._clock.now(), cause=run.cause, error=run.error)
            self._settle(run)

    def _settle(self, run: Any) -> None:
        """StopExecution answers when the execution is stopped."""
        for _ in range(400):
            if run.status != "RUNNING":
                return
            threading.Event().wait(0.005)

    def describe_execution(self, call: Call) -> dict[str, Any]:
        arn = str(call.parameters["executionArn"])
        if len(arn) > 256:
            message = "Value at 'executionArn' must have length less than or equal to 256"
            raise AwsError("ValidationException", f"1 validation error detected: {message}")
        if not _ARN.fullmatch(arn):
            raise AwsError("InvalidArn", f"Invalid Arn: '{arn}'")
        run = self._execution(arn)
        answer = {
            "executionArn": run.exec_arn,
            "stateMachineArn": run.state_machine_arn,
            "name": run.name,
            "status": run.status,
            "startDate": run.start_date,
            "input": run.execution_input,
            "inputDetails": {"included": True},
        }
        if run.status in ENDED:
            answer["stopDate"] = run.stop_date
        if run.status == "SUCCEEDED":
            answer.update(output=output_of(run), outputDetails={"included": True})
        answer.update({k: v for k, v in (("error", run.error), ("cause", run.cause)) if v})
        return answer

    def list_executions(self, call: Call) -> dict[str, Any]:
        machine = self._machine(call.region, call.parameters["stateMachineArn"])
        runs = sorted(machine.executions, key=lambda run: run.start_date, reverse=True)
        wanted = call.get("statusFilter")
        rows = [
            {
                "executionArn": run.exec_arn,
                "stateMachineArn": machine.arn,
                "name": run.name,
                "status": run.status,
                "startDate": run.start_date,
                **({"stopDate": run.stop_date} if run.status in ENDED else {}),
            }
            for run in runs
            if wanted in (None, run.status)
        ]
        chosen, token = page(
            rows, {"MaxResults": call.get("maxResults"), "NextToken": call.get("nextToken")}
        )
        return {"executions": chosen, "nextToken": token}

    def redrive_execution(self, call: Call) -> dict[str, Any]:
        run = self._execution(call.parameters["executionArn"])
        history, now = self._history(run), self._clock.now()
        earlier = self._earlier.get(run.exec_arn, [])
        count = 1 + sum(event["type"] == "ExecutionRedriven" for event in earlier)
        with self._lock:
            redrive(run, history, count=count, at=now)
            number = len(history) + 1
            redriven = {
                "id": number,
                "previousEventId": number - 1,
                "timestamp": now,
                "type": "ExecutionRedriven",
                "executionRedrivenEventDetails": {"redriveCount": count},
            }
            self._earlier[run.exec_arn] = [*history, redriven]
            self._announced -= {f"{run.exec_arn} {status}" for status in ("RUNNING", *ENDED)}
        self._announce(run, "RUNNING")
        return {"redriveDate": now}

    def _history(self, run: Any) -> list[dict[str, Any]]:
        """The events of all tries, numbered through; a redrive begins without a second start."""
        env = run.exec_worker.env if run.exec_worker else None
        events: list[dict[str, Any]] = list(env.event_manager.get_event_history()) if env else []
        earlier = self._earlier.get(run.exec_arn, [])
        if not earlier:
            return events
        offset = len(earlier) - 1
        return earlier + [
            {
                **event,
                "id": event["id"] + offset,
                "previousEventId": event["previousEventId"] + offset,
            }
            for event in events
            if event["type"] != "ExecutionStarted"
        ]

    def get_execution_history(self, call: Call) -> dict[str, Any]:
        events = self._history(self._execution(call.parameters["executionArn"]))
        if call.get("reverseOrder"):
            events.reverse()
        chosen, token = page(
            events, {"MaxResults": call.get("maxResults"), "NextToken": call.get("nextToken")}
        )
        return {"events": chosen, "nextToken": token}

    # Tokens

    def _endpoint(self, call: Call) -> Any:
        token = str(call.parameters["taskToken"])
        endpoint = self.engine.tokens.endpoints.get(token)
        if endpoint is None:
            raise AwsError("InvalidToken", "Invalid Token: 'Invalid token'")
        if endpoint.consumer_error is not None or endpoint.get_outcome() is not None:
            message = "Task Timed Out: 'Provided task does not exist anymore'"
            raise AwsError("TaskTimedOut", message)
        return endpoint

    def send_task_success(self, call: Call) -> dict[str, Any]:
        from moto.stepfunctions.parser.asl.eval.callback.callback import CallbackOutcomeSuccess

        output = str(call.parameters["output"])
        if len(output.encode()) > PAYLOAD_LIMIT:
            message = (
                "1 validation error detected: Value at 'output' failed to satisfy constraint: "
                "Member must have length less than or equal to 262144"
            )
            raise AwsError("ValidationException", message)
        try:
            json.loads(output)
        except ValueError as error:
            raise AwsError("InvalidOutput", f"Invalid Output: '{error}'") from error
        with self._lock:
            endpoint = self._endpoint(call)
            endpoint.notify(CallbackOutcomeSuccess(callback_id=endpoint.callback_id, output=output))
        return {}

    def send_task_failure(self, call: Call) -> dict[str, Any]:
        from moto.stepfunctions.parser.asl.eval.callback.callback import CallbackOutcomeFailure

        error, cause = call.get("error"), call.get("cause")
        for name, value, limit in (("error", error, 256), ("cause", cause, 32768)):
            if value is not None and len(value) > limit:
                message = (
                    f"1 validation error detected: Value at '{name}' failed to satisfy "
                    f"constraint: Member must have length less than or equal to {limit}"
                )
                raise AwsError("ValidationException", message)
        with self._lock:
            endpoint = self._endpoint(call)
            outcome = CallbackOutcomeFailure(
                callback_id=endpoint.callback_id, error=error or "", cause=cause or ""
            )
            endpoint.notify(outcome)
        return {}

    def send_task_heartbeat(self, call: Call) -> dict[str, Any]:
        with self._lock:
            self._endpoint(call).notify_heartbeat()
        return {}

    # Events

    def _on_end(self, run: Any) -> None:
        # A thread of a local AWS before this one may end late, even before this one has an engine.
        if any(it is run for it in self._executions()):
            self._announce(run, run.status)

    def _announce(self, run: Any, status: str) -> None:
        key = f"{run.exec_arn} {status}"
        if key in self._announced or self.engine.closing:
            return
        self._announced.add(key)
        output = output_of(run) if status == "SUCCEEDED" else None
        detail: dict[str, Any] = {
            "executionArn": run.exec_arn,
            "stateMachineArn": run.state_machine_arn,
            "name": run.name,
            "status": status,
            "startDate": int(run.start_date.timestamp() * 1000),
            "stopDate": int(run.stop_date.timestamp() * 1000) if status != "RUNNING" else None,
            "input": run.execution_input,
            "inputDetails": {"included": True},
            "output": output,
            "outputDetails": {"included": True} if output is not None else None,
            "error": run.error if status != "RUNNING" else None,
            "cause": run.cause if status != "RUNNING" else None,
        }
        self._emit(
            self._region,
            "aws.states",
            "Step Functions Execution Status Change",
            [run.exec_arn],
            detail,
        )


def output_of(run: Any) -> str:
    return run.output if isinstance(run.output, str) and not run.output else json.dumps(run.output)
