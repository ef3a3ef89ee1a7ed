"""What the SSM agents do, as tests script it, and the records of managed instances and commands."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from scripts.local import runner
from scripts.local.runner import Ran, StepOutcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from scripts.local.documents import Version

LATEST_AGENT = "3.3.3050.0"
TERMINAL = [
    "Success",
    "DeliveryTimedOut",
    "ExecutionTimedOut",
    "Failed",
    "Cancelled",
    "Undeliverable",
    "Terminated",
    "InvalidPlatform",
    "AccessDenied",
]
#: StatusDetails -> Status of an invocation.
STATUS = {
    "DeliveryTimedOut": "TimedOut",
    "ExecutionTimedOut": "TimedOut",
    "Undeliverable": "Failed",
    "Terminated": "Failed",
    "InvalidPlatform": "Failed",
    "AccessDenied": "Failed",
}
#: Outcomes that are the service's, not a script's.
UNDELIVERED = (
    "Undeliverable",
    "DeliveryTimedOut",
    "Terminated",
    "InvalidPlatform",
    "AccessDenied",
    "Cancelled",
)


@dataclass
class Script:
    """A scripted outcome: of a step's script, or of the whole command."""

    document: str
    step: str | None
    status: str
    ran: Ran
    times: float
    seconds: float | None
    when: Callable[[Command], bool] | None
    matched: int = 0

    @property
    def whole(self) -> bool:
        return self.status in (*UNDELIVERED, "InProgress", "Pending")

    def hits(self, command: Command, step: str | None) -> bool:
        if self.times <= 0 or not fnmatch.fnmatchcase(command.document, self.document):
            return False
        if self.whole != (step is None) or (step is not None and self.step not in (None, step)):
            return False
        return self.when is None or self.when(command)


@dataclass
class Agent:
    """`aws.agent`: what the SSM agents of the instances do."""

    scripts: list[Script] = field(default_factory=list)
    invocation_lag: int = 0
    step_seconds: float = 5.0
    silent: set[str] = field(default_factory=set)
    all_silent: bool = False

    def script(
        self,
        document: str = "*",
        *,
        step: str | None = None,
        status: str | None = None,
        exit_code: int | None = None,
        stdout: str = "",
        stderr: str = "",
        times: float = 1,
        seconds: float | None = None,
        when: Callable[[Command], bool] | None = None,
    ) -> Script:
        """What the next commands of a document (a pattern) come to.

        An exit code, or status `Failed`, `TimedOut` (ExecutionTimedOut) or `Success`, is that of
        one script, the first that runs or that of `step`; 194 reboots and runs the step again.
        `InProgress` and `Pending` never end by themselves. The others are the service's:
        `Undeliverable`, `DeliveryTimedOut`, `Cancelled`, ... `seconds` is how long it takes.
        """
        if status is None:
            status = "Success" if exit_code in (None, 0) else "Failed"
        timed_out = status in ("TimedOut", "ExecutionTimedOut")
        code = exit_code if exit_code is not None else 0 if status == "Success" else 1
        rule = Script(
            document, step, status, Ran(code, stdout, stderr, timed_out), times, seconds, when
        )
        self.scripts.append(rule)
        return rule

    def never_online(self, instance_id: str | None = None) -> None:
        """The agent of this instance (or of any) does not register."""
        if instance_id:
            self.silent.add(instance_id)
        else:
            self.all_silent = True

    def take(self, command: Command, step: str | None) -> Script | None:
        for rule in self.scripts:
            if rule.hits(command, step):
                rule.times -= 1
                rule.matched += 1
                return rule
        return None


@dataclass
class Managed:
    """An instance as Systems Manager knows it."""

    region: str
    instance_id: str
    image_id: str
    role: str
    system: Mapping[str, Any]
    registered: datetime
    last_ping: datetime
    online: bool = True


@dataclass
class Command:
    """One command to one instance."""

    id: str
    region: str
    instance_id: str
    document: str
    version: Version
    parameters: dict[str, list[str]]
    comment: str
    requested: datetime
    delivery: float
    logs: dict[str, Any]
    details: str = "Pending"
    outcomes: list[StepOutcome] = field(default_factory=list)
    started: datetime | None = None
    ended: datetime | None = None
    cancelled: bool = False
    reads: int = 0

    @property
    def status(self) -> str:
        return STATUS.get(self.details, self.details)

    @property
    def execution_seconds(self) -> float:
        return sum(
            runner.seconds_of(s.get("inputs", {}).get("timeoutSeconds")) for s in self.version.steps
        )

    @property
    def expires(self) -> datetime:
        return self.requested + timedelta(seconds=self.delivery + self.execution_seconds)
