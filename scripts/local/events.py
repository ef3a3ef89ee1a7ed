"""EventBridge: AWS's own events and the product's, matched by the deployed rules, delivered to
their targets.

Supplies what moto lacks: events of EC2, SSM and Step Functions, and Lambda, SNS and state machine
targets. Rules and targets themselves are moto's.
"""

from __future__ import annotations

import json
import random
import re
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from scripts.local import moto_seam
from scripts.local.clock import Clock, Timers, iso_seconds, parse_time
from scripts.local.errors import AwsError
from scripts.local.iam import ACCOUNT

if TYPE_CHECKING:
    from scripts.local.calls import Call

Event = dict[str, Any]
Deliver = Callable[[str, str, str | None, str], None]
ENTRY_LIMIT = 1024 * 1024


@dataclass
class Interference:
    """A rule about what happens to matching events on their way: dropped, repeated, or held
    back."""

    kind: str
    detail_type: str | None
    when: Callable[[Event], bool] | None
    times: float
    copies: int = 1
    held: list[Event] = field(default_factory=list)
    matched: int = 0

    def hits(self, event: Event) -> bool:
        if self.times <= 0 or self.detail_type not in (None, event["detail-type"]):
            return False
        return self.when is None or self.when(event)


@dataclass(frozen=True)
class Failure:
    """A delivery that a target refused, with the reason."""

    rule: str
    target: str
    reason: str
    event: Event


class Events:
    """`aws.events`. `recorded` has every event put on a bus, also those that were dropped or
    held."""

    def __init__(self, clock: Clock, timers: Timers, deliver: Deliver) -> None:
        self._clock = clock
        self._timers = timers
        self._deliver = deliver
        self._lock = threading.Lock()
        self._interference: list[Interference] = []
        self.delay = 1.0
        self._spread = 0.0
        self._dice = random.Random()
        self.recorded: list[Event] = []
        self.failures: list[Failure] = []

    # Knobs

    def drop(
        self,
        detail_type: str | None = None,
        *,
        when: Callable[[Event], bool] | None = None,
        times: float = 1,
    ) -> Interference:
        """The next such events are lost."""
        return self._interfere(Interference("drop", detail_type, when, times))

    def duplicate(
        self,
        detail_type: str | None = None,
        *,
        when: Callable[[Event], bool] | None = None,
        times: float = 1,
        copies: int = 2,
    ) -> Interference:
        """The next such events are delivered `copies` times."""
        return self._interfere(Interference("duplicate", detail_type, when, times, copies))

    def hold(
        self,
        detail_type: str | None = None,
        *,
        when: Callable[[Event], bool] | None = None,
        times: float = float("inf"),
    ) -> Interference:
        """Such events wait until `release`."""
        return self._interfere(Interference("hold", detail_type, when, times))

    def release(self, held: Interference | None = None, *, reverse: bool = False) -> int:
        """Deliver what is held now (of one rule, or of all), and hold no more."""
        chosen = [held] if held else [i for i in self._interference if i.kind == "hold"]
        count = 0
        for rule in chosen:
            rule.times = 0
            waiting, rule.held = rule.held, []
            for event in reversed(waiting) if reverse else waiting:
                self._route(event)
                count += 1
        return count

    def shuffle(self, *, seconds: float, seed: int) -> None:
        """Every delivery comes up to so many AWS seconds late, each by itself, until `clear`."""
        self._spread, self._dice = seconds, random.Random(seed)

    def clear(self) -> None:
        """Let everything pass from now on; what is held stays held."""
        self._spread = 0.0
        for rule in self._interference:
            rule.times = 0

    def of(self, detail_type: str) -> list[Event]:
        return [e for e in list(self.recorded) if e["detail-type"] == detail_type]

    def _interfere(self, rule: Interference) -> Interference:
        with self._lock:
            self._interference.append(rule)
        return rule

    # Putting

    def emit(
        self,
        region: str,
        source: str,
        detail_type: str,
        resources: list[str],
        detail: dict[str, Any],
    ) -> Event:
        """Put one event of an AWS service on the default bus."""
        return self.put(
            {
                "version": "0",
                "id": str(uuid.uuid4()),
                "detail-type": detail_type,
                "source": source,
                "account": ACCOUNT,
                "time": iso_seconds(self._clock.now()),
                "region": region,
                "resources": resources,
                "detail": detail,
            }
        )

    def put(self, event: Event, bus: str = "default") -> Event:
        with self._lock:
            self.recorded.append(event)
            rule = next((i for i in self._interference if i.hits(event)), None)
            copies = 1
            if rule is not None:
                rule.times -= 1
                rule.matched += 1
                copies = {"drop": 0, "hold": 0}.get(rule.kind, rule.copies)
                if rule.kind == "hold":
                    rule.held.append(event)
        for _ in range(copies):
            late = self.delay + self._dice.uniform(0, self._spread)
            self._timers.after(late, lambda: self._route(event, bus), event["detail-type"])
        return event

    def _route(self, event: Event, bus: str = "default") -> None:
        backend = moto_seam.backend("events", event["region"])
        found = backend.event_buses.get(bus)
        for rule in list(found.rules.values()) if found else []:
            if rule.state != "ENABLED" or not rule.event_pattern.get_pattern():
                continue
            if rule.event_pattern.matches_event(event):
                for target in list(rule.targets):
                    self._to_target(rule, target, event)

    def _to_target(self, rule: Any, target: dict[str, Any], event: Event) -> None:
        payload = target_input(target, event)
        try:
            self._deliver(target["Arn"], payload, target.get("RoleArn"), rule.arn)
        except Exception as error:
            self.failures.append(Failure(rule.name, target["Arn"], str(error), event))
            dead = (target.get("DeadLetterConfig") or {}).get("Arn")
            if dead:
                self._deliver(dead, json.dumps(event), None, rule.arn)

    # The API

    def put_events(self, call: Call) -> dict[str, Any]:
        entries = call.parameters["Entries"]
        if not 1 <= len(entries) <= 10:
            raise AwsError(
                "ValidationException", "The Entries parameter must have 1 to 10 members."
            )
        size = sum(len(str(e.get("Detail") or "").encode()) for e in entries)
        if size > ENTRY_LIMIT:
            message = f"Total size of the entries in the request is over the limit: {size}."
            raise AwsError("ValidationException", message, 400)
        results = [self._entry(call, entry) for entry in entries]
        failed = sum(1 for r in results if "ErrorCode" in r)
        return {"Entries": results, "FailedEntryCount": failed}

    def _entry(self, call: Call, entry: dict[str, Any]) -> dict[str, str]:
        for name in ("Source", "DetailType", "Detail"):
            if not entry.get(name):
                return {
                    "ErrorCode": "InvalidArgument",
                    "ErrorMessage": f"Parameter {name} is not valid.",
                }
        if str(entry["Source"]).startswith("aws."):
            return {
                "ErrorCode": "NotAuthorizedForSourceException",
                "ErrorMessage": "Not authorized for the source.",
            }
        try:
            detail = json.loads(entry["Detail"])
        except ValueError:
            return {"ErrorCode": "MalformedDetail", "ErrorMessage": "Detail is malformed."}
        if not isinstance(detail, dict):
            return {"ErrorCode": "MalformedDetail", "ErrorMessage": "Detail is malformed."}
        moment = parse_time(entry["Time"]) if entry.get("Time") else self._clock.now()
        event = {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": entry["DetailType"],
            "source": entry["Source"],
            "account": call.account,
            "time": iso_seconds(moment),
            "region": call.region,
            "resources": entry.get("Resources") or [],
            "detail": detail,
        }
        bus = str(entry.get("EventBusName") or "default").rsplit("/", 1)[-1]
        self.put(event, bus)
        return {"EventId": event["id"]}


def at_path(event: Any, path: str) -> Any:
    """The value at a simple JSONPath (`$.detail.state`, `$.resources[0]`), None when there is
    none."""
    value = event
    for key in re.findall(r"[^.\[\]$]+", path.removeprefix("$")):
        key = key.strip("'\"")
        try:
            value = value[int(key)] if isinstance(value, list) else value[key]
        except (KeyError, IndexError, ValueError, TypeError):
            return None
    return value


def target_input(target: dict[str, Any], event: Event) -> str:
    """What the target is sent: the event, a part of it, a constant, or a transformed text."""
    if target.get("Input") is not None:
        return str(target["Input"])
    if target.get("InputPath"):
        return json.dumps(at_path(event, target["InputPath"]))
    transformer = target.get("InputTransformer")
    if transformer:
        return transform(
            transformer.get("InputPathsMap") or {}, transformer["InputTemplate"], event
        )
    return json.dumps(event)


def transform(paths: dict[str, str], template: str, event: Event) -> str:
    """EventBridge's input transformer: a JSON template takes JSON values, a text template plain
    text."""
    values = {name: at_path(event, path) for name, path in paths.items()}
    values["aws.events.event.json"] = event
    values["aws.events.event"] = {k: v for k, v in event.items() if k != "detail"}
    as_text = template.strip().startswith('"')

    def put(match: re.Match[str]) -> str:
        name = match.group(2)
        if name not in values:
            return match.group(0)
        value = values[name]
        inside = _in_string(template, match.start())
        if inside:
            plain = value if isinstance(value, str) else "" if value is None else json.dumps(value)
            return json.dumps(plain)[1:-1]
        if as_text:
            return str(value)
        return json.dumps(value if value is not None else "")

    return re.sub(r"(<)([A-Za-z0-9_.-]+)>", put, template)


def _in_string(template: str, position: int) -> bool:
    """Whether a place of a JSON template is inside a string literal."""
    quotes = re.findall(r'(?<!\\)"', template[:position])
    return len(quotes) % 2 == 1
