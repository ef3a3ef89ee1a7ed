"""From the events of an execution's history to what a person wants to see. Pure.

Source of the shapes: Step Functions API reference, ``HistoryEvent``. A task that runs a Lambda
function directly has ``LambdaFunction…`` events, one that waits for a token has ``Task…`` events.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from scripts.bakery_cli.stages import (
    BY_STATE,
    CUSTOMIZE,
    LOST,
    PARTS,
    REPLACE_BUILDER,
    RUN_TEST,
    Stage,
    detail,
    step_name,
    waits_for,
)

Event = Mapping[str, Any]

_BEGAN = {"TaskScheduled", "LambdaFunctionScheduled"}
_WENT_WELL = {"TaskSucceeded", "LambdaFunctionSucceeded", "MapStateSucceeded"}
_FAILED = {
    "TaskFailed": "taskFailedEventDetails",
    "TaskTimedOut": "taskTimedOutEventDetails",
    "TaskStartFailed": "taskStartFailedEventDetails",
    "TaskSubmitFailed": "taskSubmitFailedEventDetails",
    "LambdaFunctionFailed": "lambdaFunctionFailedEventDetails",
    "LambdaFunctionTimedOut": "lambdaFunctionTimedOutEventDetails",
    "LambdaFunctionStartFailed": "lambdaFunctionStartFailedEventDetails",
    "LambdaFunctionScheduleFailed": "lambdaFunctionScheduleFailedEventDetails",
}
_ENDED = {
    "ExecutionSucceeded": "SUCCEEDED",
    "ExecutionFailed": "FAILED",
    "ExecutionAborted": "ABORTED",
    "ExecutionTimedOut": "TIMED_OUT",
}


@dataclass(frozen=True)
class Failure:
    """An error and its cause, as Step Functions has them."""

    error: str
    cause: str


@dataclass(frozen=True)
class StageStarted:
    """``detail`` says for what it waits; mostly empty."""

    at: datetime
    stage: Stage
    detail: str = ""


@dataclass(frozen=True)
class StageEnded:
    """``failure`` is None for a stage that went well."""

    at: datetime
    stage: Stage
    started: datetime
    detail: str
    failure: Failure | None = None

    @property
    def seconds(self) -> float:
        return (self.at - self.started).total_seconds()


@dataclass(frozen=True)
class StepStarted:
    """A step of the recipe, inside Customize."""

    at: datetime
    name: str
    number: int
    total: int


@dataclass(frozen=True)
class StepEnded:
    at: datetime
    name: str
    number: int
    total: int
    seconds: float
    failed: bool = False


@dataclass(frozen=True)
class PartEnded:
    """A part of TestAndCopy: a test on one test instance, or the copy to a Region. Parts run beside
    each other, so each is told once, when it has ended."""

    at: datetime
    title: str
    seconds: float
    detail: str = ""
    failed: bool = False


@dataclass(frozen=True)
class TriedAgain:
    """A task is tried once more after an error."""

    at: datetime
    stage: Stage
    tries: int
    failure: Failure


@dataclass(frozen=True)
class BuilderReplaced:
    """AWS has taken the builder; another one begins, after Plan."""

    at: datetime
    why: str


@dataclass(frozen=True)
class Ended:
    """The execution is over."""

    at: datetime
    status: str


Change = (
    StageStarted
    | StageEnded
    | StepStarted
    | StepEnded
    | PartEnded
    | TriedAgain
    | BuilderReplaced
    | Ended
)


def latest_end_only(events: Sequence[Event]) -> list[Event]:
    """The events without the ends of tries that a redrive has followed."""
    last = len(events) - 1
    return [it for number, it in enumerate(events) if number == last or it["type"] not in _ENDED]


class Tracker:
    """Reads events in order, each once, and says what changed."""

    def __init__(self) -> None:
        self.plan: Mapping[str, Any] = {}
        """The bake's plan, as soon as it is known."""
        self.state: Mapping[str, Any] = {}
        """The execution's state after the last stage that told it."""
        self.failed: StageEnded | None = None
        """The first stage that failed."""
        self.started: datetime | None = None
        self.last_event = 0
        self._stage: StageStarted | None = None
        self._step: StepStarted | None = None
        self._parts: dict[str, datetime] = {}
        self._failure: Failure | None = None
        self._tries = 0

    @property
    def stage(self) -> Stage | None:
        """The stage under way."""
        return self._stage.stage if self._stage else None

    @property
    def step(self) -> str | None:
        """The step of the recipe under way, or the one that failed."""
        return self._step.name if self._step else None

    def feed(self, event: Event) -> Iterator[Change]:
        """The changes that an event stands for."""
        kind, at = event["type"], event["timestamp"]
        self.last_event = max(self.last_event, event["id"])
        if kind == "ExecutionStarted":
            self.started = at
        elif kind == "ExecutionRedriven":
            self.failed = self._stage = self._failure = None
        elif kind in _ENDED:
            yield from self._end(event, _ENDED[kind])
        elif kind.endswith("StateEntered"):
            yield from self._enter(event["stateEnteredEventDetails"], at)
        elif kind.endswith("StateExited"):
            yield from self._exit(event["stateExitedEventDetails"], at)
        elif kind.startswith("MapIteration"):
            yield from self._iteration(kind, event, at)
        else:
            yield from self._attempt(kind, event, at)

    def _enter(self, details: Mapping[str, Any], at: datetime) -> Iterator[Change]:
        name = details["name"]
        if name == REPLACE_BUILDER:
            self._failure = None
        elif name in PARTS:
            self._parts[_part(name, details.get("input", "")).key] = at
        elif stage := BY_STATE.get(name):
            started = StageStarted(at, stage, waits_for(stage, self.state))
            self._stage, self._failure, self._tries = started, None, 0
            yield self._stage

    def _exit(self, details: Mapping[str, Any], at: datetime) -> Iterator[Change]:
        if details["name"] == REPLACE_BUILDER and not self._failure:
            self._learn(details.get("output", ""))
            self.failed = self._step = None
            yield BuilderReplaced(at, self.state.get(LOST, {}).get("why", ""))
            return
        if details["name"] in PARTS:
            yield from self._end_part(details, at)
            return
        stage = self._stage
        if stage is None or details["name"] != stage.stage.state:
            return
        before = self.state.get("failure")
        self._learn(details.get("output", ""))
        failure = self._failure
        if (caught := self.state.get("failure")) and caught != before:
            # Of parts that run beside each other, another one may have been heard of since.
            failure = Failure(caught.get("Error", ""), message_of(caught.get("Cause", "")))
        told = "" if failure else detail(stage.stage, self.state)
        ended = StageEnded(at, stage.stage, stage.at, told, failure)
        if ended.failure and self.failed is None:
            self.failed = ended
        self._stage = None
        yield ended

    def _end_part(self, details: Mapping[str, Any], at: datetime) -> Iterator[Change]:
        part = _part(details["name"], details.get("output", ""))
        seconds = (at - self._parts.pop(part.key, at)).total_seconds()
        # The Region of the stack has its image already.
        if part.detail != self.state.get("create_image", {}).get("image_id"):
            yield PartEnded(at, part.title, seconds, part.detail, part.failed)

    def _learn(self, output: str) -> None:
        try:
            state = json.loads(output)
        except ValueError:
            return  # cut off: more than the history holds
        if isinstance(state, dict) and "plan" in state:
            self.state, self.plan = state, state["plan"]

    def _iteration(self, kind: str, event: Event, at: datetime) -> Iterator[Change]:
        if _details(event, kind).get("name", CUSTOMIZE) != CUSTOMIZE:
            return
        index = _details(event, kind).get("index", 0)
        steps = self.plan.get("customize", ())
        if kind == "MapIterationStarted":
            name = step_name(steps[index]["label"]) if index < len(steps) else f"step {index + 1}"
            self._step, self._failure = StepStarted(at, name, index + 1, len(steps)), None
            yield self._step
        elif self._step is not None:
            step, failed = self._step, kind != "MapIterationSucceeded"
            seconds = (at - step.at).total_seconds()
            yield StepEnded(at, step.name, step.number, step.total, seconds, failed)
            if not failed:
                self._step = None

    def _attempt(self, kind: str, event: Event, at: datetime) -> Iterator[Change]:
        if kind in _BEGAN:
            self._tries += 1
            if self._failure and self._stage:
                yield TriedAgain(at, self._stage.stage, self._tries, self._failure)
            self._failure = None
        elif kind in _WENT_WELL:
            self._failure, self._tries = None, 0
        elif kind in _FAILED:
            found = event.get(_FAILED[kind], {})
            self._failure = Failure(found.get("error", kind), message_of(found.get("cause", "")))

    def _end(self, event: Event, status: str) -> Iterator[Change]:
        if self._stage and self.failed is None and status != "SUCCEEDED":
            # Not caught, aborted, or out of time: the stage under way never exits.
            failure = self._failure or Failure(status, "")
            stage = self._stage
            self.failed = StageEnded(event["timestamp"], stage.stage, stage.at, "", failure)
            yield self.failed
        self._stage = None
        yield Ended(event["timestamp"], status)


class _Part(NamedTuple):
    key: str
    """The same when its state is entered and when it is left."""
    title: str
    detail: str
    failed: bool


def _part(name: str, content: str) -> _Part:
    """A part of TestAndCopy, as its state's input or output tells it."""
    try:
        told = json.loads(content)
    except ValueError:
        told = {}
    if name == RUN_TEST:
        label, where = str(told.get("test", "")), f"on {told.get('instance_id', '')}"
        return _Part(f"{label} {where}", f"{label[:1].lower()}{label[1:]}", where, failed=False)
    title, failed = f"copy to {told.get('region', '')}", told.get("failed")
    return _Part(title, title, str(failed or told.get("image_id")), bool(failed))


def message_of(cause: str) -> str:
    """The message inside the JSON that the Lambda runtime makes of an exception."""
    try:
        content = json.loads(cause)
    except ValueError:
        return cause
    if isinstance(content, dict) and "errorMessage" in content:
        return str(content["errorMessage"])
    return cause


def _details(event: Event, kind: str) -> Mapping[str, Any]:
    found = event.get(f"{kind[0].lower()}{kind[1:]}EventDetails", {})
    return found if isinstance(found, Mapping) else {}
