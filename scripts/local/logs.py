"""CloudWatch Logs: what functions and commands write, kept where FilterLogEvents finds it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from scripts.local import moto_seam

if TYPE_CHECKING:
    from scripts.local.clock import Clock


class Logs:
    """Writes to moto's log groups, which it creates when they are missing (as Lambda and SSM
    do)."""

    def __init__(self, clock: Clock, region: str) -> None:
        self._clock = clock
        self._region = region
        self._lock = threading.Lock()

    def create_stream(self, group: str, stream: str) -> None:
        backend = moto_seam.backend("logs", self._region)
        with self._lock:
            if group not in backend.groups:
                backend.create_log_group(group, {})
            if stream not in backend.groups[group].streams:
                backend.create_log_stream(group, stream)

    def put(self, group: str, stream: str, lines: list[str]) -> None:
        if not lines:
            return
        self.create_stream(group, stream)
        backend = moto_seam.backend("logs", self._region)
        moment = int(self._clock.timestamp() * 1000)
        events = [{"timestamp": moment, "message": line} for line in lines if line]
        with self._lock:
            if events:
                backend.groups[group].streams[stream].put_log_events(events)
