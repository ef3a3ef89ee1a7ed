"""CloudWatch Logs: what functions and commands write, kept where FilterLogEvents finds it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from scripts.local import moto_seam
from scripts.local.errors import AwsError

if TYPE_CHECKING:
    from scripts.local.calls import Answer, Call, Handler
    from scripts.local.clock import Clock

AGENT_EVENT = 200_000
"""Bytes of an event of the SSM agent (`MessageLengthThresholdInBytes`)."""
_PAGE_BYTES = 1_048_576
_PAGE_EVENTS = 10_000


class Logs:
    """Writes to moto's log groups, which it creates when they are missing (as Lambda and SSM
    do)."""

    def __init__(self, clock: Clock, region: str) -> None:
        self._clock = clock
        self._region = region
        self._lock = threading.Lock()

    def handlers(self) -> dict[str, Handler]:
        return {"GetLogEvents": self._get_events}

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

    def _get_events(self, call: Call) -> Answer:
        """Pages of 1 MB, which moto lacks; backwards, as moto does."""
        if not call.get("startFromHead"):
            return call.proceed()
        events = self._events(call)
        start = int(str(call.get("nextToken") or "f/0")[2:])
        end, room = start, _PAGE_BYTES
        while end < len(events) and end - start < (call.get("limit") or _PAGE_EVENTS):
            room -= len(events[end].message.encode()) + 26
            if room < 0:
                break
            end += 1
        return {
            "events": [event.to_response_dict() for event in events[start:end]],
            "nextForwardToken": f"f/{end:056d}",
            "nextBackwardToken": f"b/{start:056d}",
        }

    def _events(self, call: Call) -> list[Any]:
        groups = moto_seam.backend("logs", call.region).groups
        group = groups.get(str(call.get("logGroupName")))
        stream = group.streams.get(str(call.get("logStreamName"))) if group else None
        if stream is None:
            what = "stream" if group else "group"
            message = f"The specified log {what} does not exist."
            raise AwsError("ResourceNotFoundException", message)
        with self._lock:
            return sorted(stream.events, key=lambda event: event.timestamp)


def agent_events(text: str) -> list[str]:
    """The events in which the SSM agent sends an output: as many whole lines as go into one.

    The line feed at the end of one goes with it only while the script still runs; here it does not.
    Source: amazon-ssm-agent, cloudwatchlogsservice.go, getNextMessage and buildEventInfo.
    """
    events, size = [""], 0
    for line in text.splitlines(keepends=True):
        size += len(line.encode())
        if size > AGENT_EVENT and events[-1]:
            events.append("")
            size = len(line.encode())
        events[-1] += line
    return [event.removesuffix("\n") for event in events]
