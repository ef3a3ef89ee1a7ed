"""AWS time, running faster than real time, and the timers that live in it."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

Callback = Callable[[], None]


@dataclass(frozen=True)
class ClockReading:
    """What another process needs to follow the clock: both clocks at one moment, and the rate.

    `time.monotonic` is one clock for all processes of a machine, so no message is needed to stay in
    step.
    """

    aws: float
    monotonic: float
    scale: float

    def to_json(self) -> dict[str, float]:
        return {"aws": self.aws, "monotonic": self.monotonic, "scale": self.scale}


class Clock:
    """AWS seconds pass `scale` times faster than real ones; `advance` jumps ahead.

    While something does real work (`busy`: a function, a script) time runs at its real pace: a slow
    machine must not make a quick function time out, nor its work look as if it took hours.
    While it is `steady`, a machine that stalls as a whole stops the time, too: at a high
    scale a second without a processor would be the end of a stage's budget.
    """

    BEAT, STALL = 0.05, 0.15
    """Real seconds between two looks at a running clock, and how late the next may come."""

    def __init__(self, scale: float = 60.0, start: datetime | None = None) -> None:
        if scale <= 0:
            raise ValueError(f"scale must be positive, not {scale}")
        self.scale = scale
        self._lock = threading.Lock()
        self._aws = (start or datetime.now(UTC)).timestamp()
        self._monotonic = time.monotonic()
        self._busy = 0
        self._steady = False
        self._on_jump: list[Callback] = []

    @property
    def rate(self) -> float:
        """AWS seconds per real second at this moment."""
        return min(1.0, self.scale) if self._busy else self.scale

    def timestamp(self) -> float:
        with self._lock:
            return self._timestamp()

    def _timestamp(self) -> float:
        passed = time.monotonic() - self._monotonic
        if self._steady and not self._busy:
            passed = min(passed, self.STALL)
        return self._aws + passed * self.rate

    def _anchor(self, jump: float = 0.0) -> None:
        self._aws, self._monotonic = self._timestamp() + jump, time.monotonic()

    def beat(self) -> None:
        """Somebody is awake: what has passed since the last time counts."""
        with self._lock:
            self._anchor()

    def steady(self, on: bool) -> None:
        """From now on `beat` comes every `BEAT` seconds, or comes no more."""
        with self._lock:
            self._anchor()
            self._steady = on

    def _turn(self, change: int, jump: float = 0.0) -> None:
        with self._lock:
            self._anchor(jump)
            self._busy += change
        for wake in list(self._on_jump):
            wake()

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Real time while real work is done."""
        self._turn(1)
        try:
            yield
        finally:
            self._turn(-1)

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.timestamp(), UTC)

    def reading(self) -> ClockReading:
        with self._lock:
            return ClockReading(self._aws, self._monotonic, self.rate)

    def advance(self, seconds: float = 0, **units: float) -> None:
        """Jump ahead by AWS seconds (or `timedelta` units: minutes=, hours=, days=)."""
        jump = timedelta(seconds=seconds, **units).total_seconds()
        if jump < 0:
            raise ValueError("AWS time never runs backwards")
        self._turn(0, jump)

    def on_jump(self, wake: Callback) -> None:
        self._on_jump.append(wake)

    def real(self, aws_seconds: float) -> float:
        """Real seconds at the present rate."""
        return max(0.0, aws_seconds / self.rate)

    def wait(
        self,
        event: threading.Event,
        aws_seconds: float | None,
        cancelled: Callable[[], bool] = lambda: False,
        *,
        since: float | None = None,
    ) -> bool:
        """Wait for the event for so many AWS seconds; true when it was set. Follows `advance`.

        They count from ``since``, a `timestamp`, without it from now.
        """
        began = self.timestamp() if since is None else since
        deadline = None if aws_seconds is None else began + aws_seconds
        while not event.is_set():
            slice_ = 0.05
            if deadline is not None:
                slice_ = min(slice_, self.real(deadline - self.timestamp()))
                if slice_ <= 0:
                    return event.is_set()
            if cancelled():
                return False
            event.wait(slice_)
        return True

    def sleep(self, aws_seconds: float, cancelled: Callable[[], bool] = lambda: False) -> None:
        self.wait(threading.Event(), aws_seconds, cancelled)


@dataclass
class Timer:
    """One appointment; `cancel` keeps it from ever running."""

    due: float
    callback: Callback
    label: str
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


class Timers:
    """Runs callbacks at AWS times on one thread, in order, and keeps the clock steady meanwhile.
    Errors are kept, not lost."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._queue: list[tuple[float, int, Timer]] = []
        self._count = itertools.count()
        self._wake = threading.Condition()
        self._closed = False
        self.errors: list[tuple[str, BaseException]] = []
        clock.on_jump(self._notify)
        self._over = threading.Event()
        clock.steady(True)
        self._thread = threading.Thread(target=self._run, name="local-aws-timers", daemon=True)
        self._thread.start()
        # Not the thread above: a callback may wait for the clock.
        threading.Thread(target=self._beat, name="local-aws-clock", daemon=True).start()

    def after(self, aws_seconds: float, callback: Callback, label: str = "") -> Timer:
        timer = Timer(self._clock.timestamp() + aws_seconds, callback, label)
        with self._wake:
            heapq.heappush(self._queue, (timer.due, next(self._count), timer))
            self._wake.notify()
        return timer

    def every(self, aws_seconds: float, callback: Callback, label: str = "") -> Timer:
        """Repeat until the returned timer is cancelled. A jump of the clock fires it once, not n
        times."""
        handle = Timer(0.0, callback, label)

        def again() -> None:
            if handle.cancelled:
                return
            self.after(aws_seconds, again, label)
            callback()

        self.after(aws_seconds, again, label)
        return handle

    def close(self) -> None:
        self._over.set()
        self._clock.steady(False)
        with self._wake:
            self._closed = True
            self._queue.clear()
            self._wake.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout=5)

    def _beat(self) -> None:
        while not self._over.wait(self._clock.BEAT):
            self._clock.beat()

    def _notify(self) -> None:
        with self._wake:
            self._wake.notify()

    def _next(self) -> Timer | None:
        with self._wake:
            while not self._closed:
                if not self._queue:
                    self._wake.wait()
                    continue
                remaining = self._clock.real(self._queue[0][0] - self._clock.timestamp())
                if remaining <= 0:
                    return heapq.heappop(self._queue)[2]
                self._wake.wait(remaining)
        return None

    def _run(self) -> None:
        while (timer := self._next()) is not None:
            if timer.cancelled:
                continue
            try:
                timer.callback()
            except Exception as error:
                self.errors.append((timer.label, error))


def iso_seconds(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def iso_millis(moment: datetime) -> str:
    moment = moment.astimezone(UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def parse_time(value: Any) -> datetime:
    """ISO text, epoch seconds or a datetime, as an aware UTC datetime."""
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC)
    moment = datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
