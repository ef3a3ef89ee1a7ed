"""Time of the local AWS: fast where nothing works, real where something does, still in a stall."""

import threading
import time
from collections.abc import Iterator

import pytest

from scripts.local.clock import Clock, Timers


class Wall:
    """The machine's own clock, moved by hand."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Iterator[Wall]:
    wall = Wall()
    monkeypatch.setattr(time, "monotonic", wall.monotonic)
    yield wall
    monkeypatch.undo()


def passed(clock: Clock, wall: Wall, seconds: float) -> float:
    before = clock.timestamp()
    wall.seconds += seconds
    return round(clock.timestamp() - before, 3)


def test_it_runs_at_its_scale(wall: Wall) -> None:
    clock = Clock(100.0)
    assert passed(clock, wall, 10.0) == 1000.0


def test_it_runs_at_the_pace_of_the_machine_while_something_works(wall: Wall) -> None:
    clock = Clock(100.0)
    clock.steady(True)
    with clock.busy():
        assert passed(clock, wall, 10.0) == 10.0


def test_a_machine_that_stalls_stops_it(wall: Wall) -> None:
    clock = Clock(100.0)
    clock.steady(True)
    assert passed(clock, wall, 60.0) == 100.0 * Clock.STALL
    clock.beat()
    assert passed(clock, wall, Clock.BEAT) == 100.0 * Clock.BEAT


def test_a_stall_before_work_or_a_jump_is_not_counted_later(wall: Wall) -> None:
    clock = Clock(100.0)
    clock.steady(True)
    before = clock.timestamp()
    wall.seconds += 60.0
    with clock.busy():
        pass
    wall.seconds += 60.0
    clock.advance(5.0)
    assert clock.timestamp() - before == pytest.approx(2 * 100.0 * Clock.STALL + 5.0)


def test_a_jump_before_a_wait_counts_from_when_it_is_told(wall: Wall) -> None:
    clock = Clock(100.0)
    began = clock.timestamp()
    clock.advance(hours=1)
    assert not clock.wait(threading.Event(), 3000.0, lambda: pytest.fail("it waits"), since=began)


def test_timers_keep_it_running() -> None:
    clock = Clock(1000.0)
    timers = Timers(clock)
    try:
        assert not clock.wait(threading.Event(), 1000.0), "longer than a stall"
    finally:
        timers.close()
    assert passed_for_real(clock) > 0


def passed_for_real(clock: Clock) -> float:
    """Without timers nobody beats, and nothing stops."""
    before = clock.timestamp()
    clock.sleep(2 * 1000.0 * Clock.STALL)
    return clock.timestamp() - before
