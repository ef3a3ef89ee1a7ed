"""The log of API calls, and what a handler of the local AWS gets to see of one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime

    from scripts.local.iam import Principal


@dataclass(frozen=True)
class Raw:
    """An HTTP answer that is passed on as it is."""

    status: int
    headers: Mapping[str, str]
    body: bytes


Answer = Mapping[str, Any] | Raw | None

READING = ("Describe", "Get", "List", "Query", "Scan")
"""What the names of operations begin with that change nothing."""


@dataclass
class Call:
    """One API call: `service` is botocore's client name, `parameters` are as the SDK documents
    them."""

    principal: Principal
    service: str
    operation: str
    parameters: dict[str, Any]
    region: str
    account: str
    time: datetime
    error: str | None = None
    proceed: Callable[[], Raw] = field(repr=False, default=lambda: Raw(500, {}, b""))

    def get(self, name: str, default: Any = None) -> Any:
        return self.parameters.get(name, default)

    @property
    def reads(self) -> bool:
        """Whether it changes nothing, as the operation's name says; what is unknown may change."""
        return self.operation.startswith(READING)


Handler = Callable[[Call], Answer]


@dataclass
class CallLog:
    """`aws.calls`: every API call since the start, oldest first."""

    entries: list[Call] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, call: Call) -> None:
        with self._lock:
            self.entries.append(call)

    def of(
        self, service: str | None = None, operation: str | None = None, role: str | None = None
    ) -> list[Call]:
        """The calls of one service, operation and role (a part of the role's name is enough)."""
        return [
            call
            for call in list(self.entries)
            if service in (None, call.service)
            and operation in (None, call.operation)
            and (role is None or role in call.principal.role)
        ]

    def clear(self) -> None:
        with self._lock:
            self.entries.clear()

    def __iter__(self) -> Iterator[Call]:
        return iter(list(self.entries))

    def __len__(self) -> int:
        return len(self.entries)
