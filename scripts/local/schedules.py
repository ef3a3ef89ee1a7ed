"""EventBridge Scheduler: rates fire with the clock, cron expressions when a test says so, or with
the clock after `keep_time`."""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from scripts import cron
from scripts.local.clock import Clock, Timer, Timers, iso_seconds, parse_time
from scripts.local.errors import LocalAwsError
from scripts.local.iam import ACCOUNT

if TYPE_CHECKING:
    from datetime import datetime

    from scripts.local.targets import Targets

_RATE = re.compile(r"rate\((\d+) (minute|hour|day)s?\)")
_CRON = re.compile(r"cron\((.*)\)")
_SECONDS = {"minute": 60, "hour": 3600, "day": 86400}
_FAR = timedelta(days=400)
DEFAULT_RETRIES = 185


@dataclass
class Schedule:
    """A deployed schedule, and what was made of it so far."""

    name: str
    group: str
    region: str
    expression: str
    timezone: str
    target: dict[str, Any]
    state: str = "ENABLED"
    properties: dict[str, Any] = field(default_factory=dict)
    fired: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    timer: Timer | None = None

    @property
    def arn(self) -> str:
        return f"arn:aws:scheduler:{self.region}:{ACCOUNT}:schedule/{self.group}/{self.name}"


class Schedules:
    """`aws.schedules`."""

    def __init__(self, clock: Clock, timers: Timers, targets: Targets) -> None:
        self._clock = clock
        self._timers = timers
        self._targets = targets
        self.paused = False
        self.all: dict[str, Schedule] = {}

    def define(self, schedule: Schedule) -> None:
        """Create or replace. A rate starts to count now."""
        self.remove(schedule.name)
        self.all[schedule.name] = schedule
        rate = _RATE.fullmatch(schedule.expression)
        if rate and schedule.state == "ENABLED":
            period = int(rate[1]) * _SECONDS[rate[2]]
            schedule.timer = self._timers.every(period, lambda: self._tick(schedule), schedule.name)

    def remove(self, name: str) -> None:
        before = self.all.pop(name, None)
        if before and before.timer:
            before.timer.cancel()

    def find(self, name: str) -> Schedule:
        """By its name, or by a part of it that only one schedule has."""
        if name in self.all:
            return self.all[name]
        fitting = [s for s in self.all.values() if name in s.name]
        if len(fitting) != 1:
            raise LocalAwsError(
                f"no single schedule is named like {name!r}: there are {sorted(self.all)}"
            )
        return fitting[0]

    def fire(self, name: str, slot: str | datetime | None = None, *, attempt: int = 1) -> Schedule:
        """Deliver one occurrence now. The slot is what the schedule says it was planned for."""
        schedule = self.find(name)
        moment = iso_seconds(parse_time(slot)) if slot else iso_seconds(self._clock.now())
        self._deliver(schedule, moment, attempt)
        return schedule

    def keep_time(self, name: str, *, since: datetime | None = None) -> Schedule:
        """Start at the times of the cron expression, as on AWS; the first since now, or `since`.

        Not of itself: a jump of the clock past the night would start bakes in every test. Of the
        times that one jumps over, the first is delivered, late.
        """
        schedule = self.find(name)
        if schedule.timer:
            schedule.timer.cancel()
        self._arm(schedule, since or self._clock.now())
        return schedule

    def _arm(self, schedule: Schedule, after: datetime) -> None:
        expression = _CRON.fullmatch(schedule.expression)
        if expression is None:
            raise LocalAwsError(f"{schedule.name} has no cron expression: {schedule.expression}")
        slot = next(cron.slots(expression[1], schedule.timezone, after, after + _FAR), None)
        if slot is not None:
            wait = (slot - self._clock.now()).total_seconds()
            schedule.timer = self._timers.after(wait, lambda: self._strike(schedule, slot))

    def _strike(self, schedule: Schedule, slot: datetime) -> None:
        self._arm(schedule, max(slot + timedelta(minutes=1), self._clock.now()))
        if not self.paused and schedule.state == "ENABLED":
            self._deliver(schedule, iso_seconds(slot), 1)

    def _tick(self, schedule: Schedule) -> None:
        if not self.paused and schedule.state == "ENABLED":
            self._deliver(schedule, iso_seconds(self._clock.now()), 1)

    def _deliver(self, schedule: Schedule, slot: str, attempt: int) -> None:
        schedule.fired.append(slot)
        payload = fill(schedule, slot, attempt)
        try:
            self._targets.schedule(schedule.target, payload, schedule.arn)
        except Exception as error:
            schedule.errors.append(str(error))
            self._again(schedule, slot, attempt, payload)

    def _again(self, schedule: Schedule, slot: str, attempt: int, payload: str) -> None:
        policy = schedule.target.get("RetryPolicy") or {}
        if attempt <= int(policy.get("MaximumRetryAttempts", DEFAULT_RETRIES)) and attempt < 5:
            again = lambda: self._deliver(schedule, slot, attempt + 1)  # noqa: E731
            self._timers.after(60.0 * attempt, again, f"retry of {schedule.name}")
            return
        dead = (schedule.target.get("DeadLetterConfig") or {}).get("Arn")
        if dead:
            self._targets.deliver(dead, payload, None, schedule.arn)


def fill(schedule: Schedule, slot: str, attempt: int) -> str:
    """The target's input with Scheduler's context attributes in place."""
    default = json.dumps(
        {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": "Scheduled Event",
            "source": "aws.scheduler",
            "account": ACCOUNT,
            "time": slot,
            "region": schedule.region,
            "resources": [schedule.arn],
            "detail": "{}",
        }
    )
    text = str(schedule.target.get("Input") or default)
    values = {
        "schedule-arn": schedule.arn,
        "scheduled-time": slot,
        "execution-id": uuid.uuid4().hex,
        "attempt-number": str(attempt),
    }
    for name, value in values.items():
        text = text.replace(f"<aws.scheduler.{name}>", value)
    return text
