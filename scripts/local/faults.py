"""Failures on demand: errors instead of an effect, and effects whose answer is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from scripts.local.errors import AwsError

Predicate = Callable[[dict[str, Any]], bool]


@dataclass
class Fault:
    """One rule. `times` counts down; `matched` says how often it was applied."""

    service: str
    operation: str
    times: int
    when: Predicate | None = None
    error: AwsError | None = None
    skip: int = 0
    matched: int = 0
    side_effect: Callable[[], None] | None = None

    def applies(self, service: str, operation: str, parameters: dict[str, Any]) -> bool:
        if self.times <= 0 or self.service not in ("*", service):
            return False
        if self.operation not in ("*", operation):
            return False
        return self.when is None or self.when(parameters)


@dataclass
class Faults:
    """`aws.faults`: what shall go wrong, for every caller alike."""

    _errors: list[Fault] = field(default_factory=list)
    _lost: list[Fault] = field(default_factory=list)
    _after: list[Fault] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def error(
        self,
        service: str,
        operation: str,
        *,
        code: str,
        message: str = "Injected by the local AWS.",
        status: int = 400,
        times: int = 1,
        skip: int = 0,
        when: Predicate | None = None,
    ) -> Fault:
        """Answer with this error instead of doing the work. `*` stands for every service or
        operation."""
        fault = Fault(service, operation, times, when, AwsError(code, message, status), skip)
        self._errors.append(fault)
        return fault

    def lost_answer(
        self,
        service: str,
        operation: str,
        *,
        times: int = 1,
        skip: int = 0,
        when: Predicate | None = None,
    ) -> Fault:
        """Do the work, then drop the connection. The SDK retries by itself: the product sees the
        loss only when `times` is more than the SDK's attempts."""
        fault = Fault(service, operation, times, when, skip=skip)
        self._lost.append(fault)
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

    def error_for(
        self, service: str, operation: str, parameters: dict[str, Any]
    ) -> AwsError | None:
        fault = self._take(self._errors, service, operation, parameters)
        return fault.error if fault else None

    def loses(self, service: str, operation: str, parameters: dict[str, Any]) -> bool:
        return self._take(self._lost, service, operation, parameters) is not None

    def run_after(self, service: str, operation: str, parameters: dict[str, Any]) -> None:
        fault = self._take(self._after, service, operation, parameters)
        if fault and fault.side_effect:
            fault.side_effect()

    def _take(
        self, rules: list[Fault], service: str, operation: str, parameters: dict[str, Any]
    ) -> Fault | None:
        with self._lock:
            for fault in rules:
                if not fault.applies(service, operation, parameters):
                    continue
                if fault.skip > 0:
                    fault.skip -= 1
                    return None
                fault.times -= 1
                fault.matched += 1
                return fault
        return None
