"""Failures on demand: errors instead of an effect, lost answers, functions that are killed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from scripts.local.errors import AwsError

if TYPE_CHECKING:
    from scripts.local.calls import Call

Predicate = Callable[[dict[str, Any]], bool]


@dataclass
class Fault:
    """One rule. `times` counts down; `matched` says how often it was applied. Service and operation
    may have wildcards, as in file names."""

    service: str
    operation: str
    times: float
    when: Predicate | None = None
    error: AwsError | None = None
    skip: int = 0
    matched: int = 0
    side_effect: Callable[[], None] | None = None
    role: str = ""
    """A part of the name of the caller's role; empty for every caller."""
    region: str = ""
    """Where the call is made; empty for everywhere."""

    def applies(self, call: Call) -> bool:
        if self.times <= 0 or self.role not in call.principal.role:
            return False
        if self.region not in ("", call.region):
            return False
        if not fnmatchcase(call.service, self.service):
            return False
        if not fnmatchcase(call.operation, self.operation):
            return False
        return self.when is None or self.when(call.parameters)


@dataclass
class Faults:
    """`aws.faults`: what shall go wrong, for every caller alike or for those with a role."""

    _errors: list[Fault] = field(default_factory=list)
    _lost: list[Fault] = field(default_factory=list)
    _after: list[Fault] = field(default_factory=list)
    _crash_before: list[Fault] = field(default_factory=list)
    _crash_after: list[Fault] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def error(
        self,
        service: str,
        operation: str,
        *,
        code: str,
        message: str = "Injected by the local AWS.",
        status: int = 400,
        times: float = 1,
        skip: int = 0,
        when: Predicate | None = None,
        role: str = "",
        region: str = "",
    ) -> Fault:
        """Answer with this error instead of doing the work."""
        error = AwsError(code, message, status)
        fault = Fault(service, operation, times, when, error, skip, role=role, region=region)
        self._errors.append(fault)
        return fault

    def lost_answer(
        self,
        service: str,
        operation: str,
        *,
        times: float = 1,
        skip: int = 0,
        when: Predicate | None = None,
        role: str = "",
        region: str = "",
    ) -> Fault:
        """Do the work, or refuse it, then drop the connection. The SDK retries by itself: the
        product sees the loss only when `times` is more than the SDK's attempts."""
        fault = Fault(service, operation, times, when, skip=skip, role=role, region=region)
        self._lost.append(fault)
        return fault

    def crash(
        self,
        role: str,
        operation: str,
        *,
        after: bool,
        service: str = "*",
        skip: int = 0,
        region: str = "",
    ) -> Fault:
        """Kill the function with this role when it makes the call: before it has an effect, or
        after it had one."""
        fault = Fault(service, operation, 1, skip=skip, role=role, region=region)
        (self._crash_after if after else self._crash_before).append(fault)
        return fault

    def after(
        self,
        service: str,
        operation: str,
        side_effect: Callable[[], None],
        *,
        times: int = 1,
        when: Predicate | None = None,
    ) -> Fault:
        """Run something of the test's own right after the call took effect, before it is
        answered."""
        fault = Fault(service, operation, times, when, side_effect=side_effect)
        self._after.append(fault)
        return fault

    def clear(self) -> None:
        with self._lock:
            self._errors.clear()
            self._lost.clear()
            self._after.clear()
            self._crash_before.clear()
            self._crash_after.clear()

    def error_for(self, call: Call) -> AwsError | None:
        fault = self._take(self._errors, call)
        return fault.error if fault else None

    def loses(self, call: Call) -> bool:
        return self._take(self._lost, call) is not None

    def crashes(self, call: Call, *, after: bool) -> bool:
        return self._take(self._crash_after if after else self._crash_before, call) is not None

    def run_after(self, call: Call) -> None:
        fault = self._take(self._after, call)
        if fault and fault.side_effect:
            fault.side_effect()

    def _take(self, rules: list[Fault], call: Call) -> Fault | None:
        with self._lock:
            for fault in rules:
                if not fault.applies(call):
                    continue
                if fault.skip > 0:
                    fault.skip -= 1
                    return None
                fault.times -= 1
                fault.matched += 1
                return fault
        return None
