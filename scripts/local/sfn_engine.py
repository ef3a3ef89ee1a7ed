"""moto's Step Functions interpreter in AWS time.

Supplies to it: the accelerated clock in waits, retries, time-outs, heartbeats and timestamps;
StopExecution and the machine's time-out that end a task at once; tokens that are spent after use;
clients with the role's credentials; paths with an index; quiet.
"""

from __future__ import annotations

import base64
import copy
import datetime as real_datetime
import json
import re
import secrets
import sys
import threading
import types
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from moto.stepfunctions.parser import models
from moto.stepfunctions.parser.asl.component import eval_component
from moto.stepfunctions.parser.asl.component.common.error_name import custom_error_name
from moto.stepfunctions.parser.asl.component.common.path import result_path
from moto.stepfunctions.parser.asl.component.common.retry import retrier_decl
from moto.stepfunctions.parser.asl.component.common.retry.max_attempts_decl import (
    MaxAttemptsOutcome,
)
from moto.stepfunctions.parser.asl.component.common.retry.retrier_outcome import RetrierOutcome
from moto.stepfunctions.parser.asl.component.common.timeouts.timeout import EvalTimeoutError
from moto.stepfunctions.parser.asl.component.program import program
from moto.stepfunctions.parser.asl.component.state import state
from moto.stepfunctions.parser.asl.component.state.exec import execute_state
from moto.stepfunctions.parser.asl.component.state.exec.state_task import lambda_eval_utils
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import (
    state_task_service,
    state_task_service_callback,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_sfn import (  # noqa: E501
    StateTaskServiceSfn,
)
from moto.stepfunctions.parser.asl.component.state.wait.wait_function import (
    timestamp,
    wait_function,
)
from moto.stepfunctions.parser.asl.eval import states
from moto.stepfunctions.parser.asl.eval.callback import callback
from moto.stepfunctions.parser.asl.eval.event import event_manager
from moto.stepfunctions.parser.asl.parse import asl_parser
from moto.stepfunctions.parser.asl.utils import json_path
from moto.stepfunctions.parser.backend import execution, execution_worker

from scripts.local.clock import Clock, iso_millis
from scripts.local.moto_seam import Patches

if TYPE_CHECKING:
    from collections.abc import Callable


_NESTED_LOOK_SECONDS = 0.05
"""Real ones, between two looks at a nested execution."""

_MANY = re.compile(r"\*|\?|\.\.|\[[^\]]*[:,]")
"""What makes a path name any number of places."""

_PARSERS = {
    module: lru_cache(maxsize=1024)(vars(module)["parse"]) for module in (json_path, result_path)
}
"""By the module that reads paths with it; kept, for each reading builds the tables of a grammar."""


@dataclass
class Tokens:
    """Every task token that was handed out, and whether somebody still waits for it."""

    endpoints: dict[str, Any] = field(default_factory=dict)
    machines: dict[str, str] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Engine:
    """Patches the interpreter for one local AWS; `close` puts everything back."""

    def __init__(
        self,
        clock: Clock,
        client: Callable[[str, str, str], Any],
        ended: Callable[[Any], None],
    ) -> None:
        self._clock = clock
        self._client = client
        self._ended = ended
        self.tokens = Tokens()
        self.closing = False
        self.nested: dict[str, set[str]] = {}
        """What executions run with `.sync`, both by ARN."""
        self._due: dict[str, float] = {}
        """By execution: the AWS time at which it times out."""
        self._patches = Patches()
        self._patch_time()
        self._patch_waits()
        self._patch_tasks()
        self._allow_reserved_names()
        self._patch_nested()
        self._patch_end()
        self._patch_context()
        self._patch_paths()
        self._cache_definitions()

    def close(self) -> None:
        self.closing = True
        for endpoint in list(self.tokens.endpoints.values()):
            endpoint.interrupt_all()
        self._patches.undo()

    def _patch_context(self) -> None:
        """AWS's context object says how often an execution was redriven, from the start on."""
        original = execution_worker.ExecutionWorker._get_evaluation_environment

        def environment(worker: Any) -> Any:
            made: Any = original(worker)
            made.states.context_object.context_object_data["Execution"]["RedriveCount"] = 0
            return made

        self._patches.set(
            execution_worker.ExecutionWorker, "_get_evaluation_environment", environment
        )

    # Time

    def _patch_paths(self) -> None:
        """A path that names one place gives what is there, `$[0].id` too; moto makes a list of
        it."""
        for module, parse in _PARSERS.items():
            self._patches.set(module, "parse", parse)
        original = json_path.extract_json

        def extract_json(path: str, data: Any) -> Any:
            found = original(path, data)
            if _MANY.search(path) or not isinstance(found, list):
                return found
            return _PARSERS[json_path](path).find(data)[0].value

        for name, module in list(sys.modules.items()):
            if name.startswith("moto.stepfunctions") and hasattr(module, "extract_json"):
                self._patches.set(module, "extract_json", extract_json)

    def _patch_time(self) -> None:
        clock = self._clock

        class AwsDatetime(real_datetime.datetime):
            @classmethod
            def now(cls, tz: real_datetime.tzinfo | None = None) -> Any:
                moment = clock.now()
                return moment.astimezone(tz) if tz else moment.replace(tzinfo=None)

        shim = types.SimpleNamespace(
            datetime=AwsDatetime, timezone=real_datetime.timezone, timedelta=real_datetime.timedelta
        )
        for module in (event_manager, execution, models, timestamp):
            self._patches.set(module, "datetime", shim)
        self._patches.set(
            state,
            "datetime",
            types.SimpleNamespace(datetime=_Iso(clock), timezone=real_datetime.timezone),
        )

        def start_details(run: Any) -> Any:
            details: Any = original(run)
            details.start_time = iso_millis(run.start_date)
            return details

        original = execution.Execution.get_start_execution_details
        self._patches.set(execution.Execution, "get_start_execution_details", start_details)

    def _stopped(self, env: Any) -> bool:
        return self.closing or not env.is_running()

    def _overdue(self, env: Any) -> bool:
        due = self._due.get(_execution(env))
        return due is not None and self._clock.timestamp() >= due

    def _patch_waits(self) -> None:
        def wait_interval(_self: Any, env: Any, wait_seconds: int) -> None:
            self._clock.sleep(wait_seconds, lambda: self._stopped(env))

        self._patches.set(wait_function.WaitFunction, "_wait_interval", wait_interval)
        self._patches.set(retrier_decl.RetrierDecl, "_eval_body", self._retry())

        def endpoint_wait(endpoint: Any, timeout: float | None = None) -> Any:
            self._clock.wait(endpoint._notify_event, timeout, lambda: self.closing)
            return endpoint._outcome

        self._patches.set(callback.CallbackEndpoint, "wait", endpoint_wait)

        def heartbeat_wait(endpoint: Any) -> bool:
            with endpoint._mutex:
                if endpoint._next_heartbeat_event.is_set():
                    endpoint._next_heartbeat_event.clear()
                    return True
            return self._clock.wait(
                endpoint._next_heartbeat_event, endpoint._heartbeat_seconds, lambda: self.closing
            )

        self._patches.set(callback.HeartbeatEndpoint, "clear_and_wait", heartbeat_wait)

    def _retry(self) -> Callable[[Any, Any], None]:
        outcome = RetrierOutcome
        exhausted = MaxAttemptsOutcome.EXHAUSTED

        def evaluate(retrier: Any, env: Any) -> None:
            retrier.error_equals.eval(env)
            if not env.stack.pop():
                env.stack.append(outcome.Skipped)
                return
            retrier.max_attempts.eval(env=env)
            if env.stack.pop() == exhausted:
                env.stack.append(outcome.Failed)
                return
            for part in (
                "interval_seconds",
                "backoff_rate",
                "max_delay_seconds",
                "jitter_strategy",
            ):
                getattr(retrier, part).eval(env=env)
            self._clock.sleep(env.stack.pop(), lambda: self._stopped(env))
            env.stack.append(outcome.Executed)

        return evaluate

    # Tasks

    def _allow_reserved_names(self) -> None:
        """A Fail state or a token may well end with a `States.` error; moto's own check would
        raise instead."""

        def keep(name: Any, error_name: str | None) -> None:
            name.error_name = error_name

        self._patches.set(custom_error_name.CustomErrorName, "__init__", keep)

    def _patch_tasks(self) -> None:
        self._patches.set(execute_state.ExecutionState, "_evaluate_with_timeout", self._task())
        self._patches.set(program.Program, "eval", self._program())
        original_add = callback.CallbackPoolManager.add

        def add(pool: Any, callback_id: str) -> Any:
            endpoint = original_add(pool, callback_id)
            with self.tokens.lock:
                self.tokens.endpoints[callback_id] = endpoint
            return endpoint

        self._patches.set(callback.CallbackPoolManager, "add", add)
        self._patches.set(states, "long_uid", task_token)
        original_token = states.ContextObject.update_task_token

        def update_task_token(context: Any) -> Any:
            token = original_token(context)
            self.tokens.machines[token] = context.context_object_data["StateMachine"]["Id"]
            return token

        self._patches.set(states.ContextObject, "update_task_token", update_task_token)

        def client_for(region: str, service: str, state_credentials: Any = None) -> Any:
            role = state_credentials.role_arn if state_credentials else ""
            return self._client(service, region, role)

        for module in (lambda_eval_utils, state_task_service):
            if hasattr(module, "boto_client_for"):
                self._patches.set(module, "boto_client_for", client_for)
        self._patch_sdk_tasks(client_for)

    def _patch_sdk_tasks(self, client_for: Any) -> None:
        """The service tasks import the factory by name, each in its own module."""
        import pkgutil

        from moto.stepfunctions.parser.asl.component.state.exec.state_task import service

        for found in pkgutil.iter_modules(service.__path__):
            module = __import__(f"{service.__name__}.{found.name}", fromlist=["_"])
            if hasattr(module, "boto_client_for") and module is not state_task_service:
                self._patches.set(module, "boto_client_for", client_for)

    def _patch_nested(self) -> None:
        """An execution that starts others: the API's names begin with a small letter, those of the
        integration with a capital, and moto translates neither. The end of a nested execution is
        known at once; moto looks every half second."""

        def to_api(_task: Any, parameters: dict[str, Any], *_args: Any, **_named: Any) -> None:
            content = parameters.get("Input", {})
            parameters["Input"] = content if isinstance(content, str) else json.dumps(content)
            for key in list(parameters):
                parameters[key[0].lower() + key[1:]] = parameters.pop(key)

        def from_api(_task: Any, response: dict[str, Any], *_args: Any, **_named: Any) -> None:
            for key in list(response):
                value = response.pop(key)
                if isinstance(value, real_datetime.datetime):
                    value = int(value.timestamp() * 1000)
                response[key[0].upper() + key[1:]] = value

        built: Any = StateTaskServiceSfn._build_sync2_resolver
        evaluated = StateTaskServiceSfn._eval_sync

        def build(task: Any, env: Any, resource_runtime_part: Any, *args: Any, **named: Any) -> Any:
            nested, region = env.stack[-1]["ExecutionArn"], resource_runtime_part.region
            parent = _execution(env)
            self.nested.setdefault(parent, set()).add(nested)
            look: Any = built(task, env, resource_runtime_part, *args, **named)
            credentials = named.get("state_credentials") or args[-1]
            client = self._client("stepfunctions", region, credentials.role_arn)
            look.stop = lambda: client.stop_execution(executionArn=nested)
            return look

        def wait(task: Any, env: Any, *, sync_resolver: Any, **named: Any) -> Any:
            """A task that is given up, by a stop or its time-out, stops what it has started."""
            found = evaluated(task, env, sync_resolver=sync_resolver, **named)
            if found is None and not self.closing:
                sync_resolver.stop()
            return found

        self._patches.set(StateTaskServiceSfn, "_build_sync2_resolver", build)
        self._patches.set(StateTaskServiceSfn, "_eval_sync", wait)
        self._patches.set(StateTaskServiceSfn, "_normalise_parameters", to_api)
        self._patches.set(StateTaskServiceSfn, "_normalise_response", from_api)
        self._patches.set(
            state_task_service_callback, "_DELAY_SECONDS_SYNC_CONDITION_CHECK", _NESTED_LOOK_SECONDS
        )

    def _task(self) -> Callable[[Any, Any], None]:
        """moto's evaluation of one try of a state, on the AWS clock, left at once when the
        execution stops."""

        def evaluate(task: Any, env: Any) -> None:
            task.timeout.eval(env=env)
            seconds = env.stack.pop()
            frame = env.open_frame()
            frame.states.reset(input_value=env.states.get_input())
            frame.stack = copy.deepcopy(env.stack)
            self._renew_token(frame)
            outputs: list[Any] = []
            errors: list[BaseException] = []
            finished = threading.Event()

            def attempt() -> None:
                try:
                    task._eval_execution(frame)
                    outputs.extend(frame.stack)
                except Exception as error:
                    errors.append(error)
                finished.set()

            began = self._clock.timestamp()
            threading.Thread(target=attempt, daemon=True, name="local-aws-state").start()
            in_time = self._clock.wait(finished, seconds, lambda: self._stopped(env), since=began)
            self._spend(frame)
            frame.set_ended()
            env.close_frame(frame)
            if self._overdue(env):
                # A jump may pass a state's limit and that of its whole execution at once.
                self._clock.wait(threading.Event(), None, lambda: self._stopped(env))
            if self._stopped(env):
                return  # whatever its try came to: a stopped execution is ABORTED
            if errors:
                raise errors.pop()
            if not in_time:
                raise EvalTimeoutError()
            self._take_result(task, env, outputs.pop())

        return evaluate

    @staticmethod
    def _take_result(task: Any, env: Any, output: Any) -> None:
        env.stack.append(output)
        if not task._is_language_query_jsonpath():
            env.states.set_result(output)
        if task.assign_decl:
            task.assign_decl.eval(env=env)
        if task.result_selector:
            task.result_selector.eval(env=env)
        if task.result_path:
            task.result_path.eval(env)
        else:
            env.states.reset(input_value=env.stack.pop())

    @staticmethod
    def _renew_token(frame: Any) -> None:
        """A task that is tried again gets a new token, as on AWS; moto would hand out the spent
        one."""
        context = frame.states.context_object
        held = context.context_object_data.get("Task") or {}
        endpoint = frame.callback_pool_manager.get(held.get("Token"))
        if endpoint is not None and endpoint.consumer_error is not None:
            frame.callback_pool_manager.add(context.update_task_token())

    def _spend(self, frame: Any) -> None:
        """The token of a finished try is worth nothing any more."""
        held = frame.states.context_object.context_object_data.get("Task") or {}
        endpoint = frame.callback_pool_manager.get(held.get("Token"))
        if endpoint is not None:
            endpoint.report(callback.CallbackConsumerTimeout())
            endpoint.interrupt_all()

    def _program(self) -> Callable[[Any, Any], None]:
        base = eval_component.EvalComponent.eval

        def evaluate(machine: Any, env: Any) -> None:
            limit = machine.timeout_seconds.timeout_seconds if machine.timeout_seconds else None
            with env._state_mutex:
                if env.program_state() is not None and self._stopped(env):
                    return  # its execution ended before the thread of this branch began
                env.next_state_name = machine.start_at.start_at_name
            done = threading.Event()

            def body() -> None:
                try:
                    base(machine, env)
                finally:
                    done.set()

            # Frames of Map iterations evaluate programs too: they stop with their parent.
            # From before its first state: a test may have the clock jump when it sees that entered.
            began = self._clock.timestamp()
            if limit is not None:
                self._due[_execution(env)] = began + limit
            threading.Thread(target=body, daemon=True, name="local-aws-machine").start()
            if not self._clock.wait(done, limit, lambda: self.closing, since=began):
                env.set_timed_out()
                done.wait(5)

        return evaluate

    def _patch_end(self) -> None:
        original = execution.BaseExecutionWorkerCommunication.terminated

        def terminated(worker: Any) -> None:
            if self.closing:
                return
            original(worker)
            self._ended(worker.execution)

        self._patches.set(execution.BaseExecutionWorkerCommunication, "terminated", terminated)

    def _cache_definitions(self) -> None:
        """Validating and starting parse the definition with ANTLR, a quarter of a second each
        time."""
        original = asl_parser.AmazonStateLanguageParser.parse
        known: dict[str, Any] = _PARSED

        def parse(definition: str) -> Any:
            with self._clock.busy():
                if definition not in known:
                    known[definition] = original(definition)
                program_, tree = known[definition]
                return copy.deepcopy(program_), tree

        self._patches.set(asl_parser.AmazonStateLanguageParser, "parse", staticmethod(parse))
        for name in ("_log_exception", "_log_failure_event_exception"):
            self._patches.set(eval_component.EvalComponent, name, lambda *_args, **_named: None)


_PARSED: dict[str, Any] = {}


class _Iso:
    """Stands for `datetime.datetime` where only `now(tz=...).isoformat()` is asked: AWS writes
    milliseconds."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def now(self, tz: object = None) -> _IsoMoment:
        return _IsoMoment(iso_millis(self._clock.now()))


@dataclass(frozen=True)
class _IsoMoment:
    text: str

    def isoformat(self) -> str:
        return self.text


def _execution(env: Any) -> str:
    return str(env.states.context_object.context_object_data["Execution"]["Id"])


def task_token() -> str:
    """As long as real ones: several hundred characters."""
    return "AQC8AAAAKgAAAAMAAAAAAAAAA" + base64.b64encode(secrets.token_bytes(480)).decode().rstrip(
        "="
    )
