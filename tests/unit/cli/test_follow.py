"""Watching an execution: what is asked of AWS, and what happens when it does not answer."""

import re
from collections.abc import Iterator
from datetime import datetime
from io import StringIO

import pytest
from rich.console import Console

from scripts.bakery_cli.aws.stack import Execution
from scripts.bakery_cli.errors import NoAnswerError
from scripts.bakery_cli.follow import Followed, follow
from scripts.bakery_cli.history import Event
from scripts.bakery_cli.live import LiveView
from scripts.bakery_cli.plain import PlainView
from scripts.bakery_cli.stages import STAGES
from tests.unit.cli import events
from tests.unit.cli.events import ARN, OUTPUT, START


def execution(status: str = "SUCCEEDED", error: str = "", cause: str = "") -> Execution:
    return Execution(
        arn=ARN,
        name="web-1",
        status=status,
        started=START,
        recipe="web",
        output=OUTPUT if status == "SUCCEEDED" else {},
        error=error,
        cause=cause,
    )


class FakeStack:
    """Tells a few more events at each look, or does not answer."""

    def __init__(self, history: list[Event], *, silent: int = 0) -> None:
        self._history = history
        self._told = 0
        self.silent = silent
        self.looks: list[int] = []

    def events_after(self, arn: str, last: int) -> list[Event]:
        self.looks.append(last)
        if self.silent:
            self.silent -= 1
            raise NoAnswerError("AWS does not answer.")
        self._told = min(self._told + 9, len(self._history))
        return [event for event in self._history[: self._told] if event["id"] > last]

    def execution(self, arn: str) -> Execution:
        return execution()


def clock() -> Iterator[datetime]:
    while True:
        yield START


def plain() -> tuple[PlainView, StringIO]:
    out = StringIO()
    return PlainView(Console(file=out, width=120)), out


def watch(stack: FakeStack, view: PlainView | LiveView, naps: list[float]) -> Followed:
    followed, _ = follow(stack, ARN, view, now=lambda: START, poll_seconds=2.0, sleep=naps.append)
    return followed


def test_each_look_asks_only_for_news_and_the_last_one_is_the_end() -> None:
    stack, naps = FakeStack(events.good_bake()), list[float]()
    view, _ = plain()
    followed = watch(stack, view, naps)
    assert stack.looks == sorted(set(stack.looks)) and stack.looks[0] == 0
    assert len(naps) == len(stack.looks) - 1 and set(naps) == {2.0}
    assert len(followed.stages) == len(STAGES)


def test_plain_progress_has_a_line_for_each_start_and_end() -> None:
    view, out = plain()
    watch(FakeStack(events.good_bake()), view, [])
    lines = out.getvalue().splitlines()
    assert "start  Launch builder" in lines[2]
    assert "done   Launch builder" in lines[3] and f"{events.BUILDER}, t3.medium" in lines[3]
    assert any("start    1/2 packages" in line for line in lines)
    assert any("done     2/2 kernel" in line for line in lines)
    assert len([line for line in lines if "start" in line]) == len(STAGES) + 2
    # That the agent is not there yet is no news.
    assert "NotManagedYetError" not in out.getvalue() and "retry" not in out.getvalue()
    assert out.getvalue().isascii()


def test_plain_progress_tells_each_test_and_each_copy_when_it_has_ended() -> None:
    copies = [
        {"region": "eu-central-1", "image_id": "ami-0000000000000copy", "failed": None},
        {"region": "us-east-1", "image_id": None, "failed": "us-east-1 is full"},
    ]
    script = events.Script().function("Plan", events.STATE).function("CreateImage", events.STATE)
    script.test_and_copy(events.STATE, places=copies).add("ExecutionAborted")
    view, out = plain()
    watch(FakeStack(script.events), view, [])
    lines = [line for line in out.getvalue().splitlines() if "test '" in line or "copy to" in line]
    assert [re.sub(r" +", " ", line.strip())[5:] for line in lines[:2]] == [
        f"done test 'it has come up' 4.0 s on {events.TEST_INSTANCES[1]}",
        f"done test 'it has come up' 10 s on {events.TEST_INSTANCES[0]}",
    ]
    assert "done" in lines[-2] and lines[-2].endswith("ami-0000000000000copy")
    assert "FAIL" in lines[-1] and lines[-1].endswith("us-east-1 is full")


def test_the_live_table_shows_tests_and_copies_below_their_stage() -> None:
    screen = Console(file=StringIO(), width=160, height=60, force_terminal=True)
    view, followed = LiveView(screen), Followed()
    for event in events.good_bake():
        followed.feed(event, view)
    screen.print(view._table())
    text = screen.file.getvalue()  # type: ignore[attr-defined]
    below, _, rest = text.partition("Test and copy")[2].partition("Release")
    assert below.count("test 'answers'") == 2 and "test '" not in rest


def test_plain_progress_shows_what_failed() -> None:
    view, out = plain()
    watch(FakeStack(events.failed_step()), view, [])
    assert "FAIL     1/2 packages" in out.getvalue()
    assert "CustomizationFailedError" in out.getvalue()


def test_plain_progress_shows_a_retry_and_its_reason() -> None:
    script = events.Script().enter("LaunchBuilder").add("LambdaFunctionScheduled")
    script.fail_function("ThrottledError", "slow down").add("LambdaFunctionScheduled")
    view, out = plain()
    watch(FakeStack(script.add("ExecutionAborted").events), view, [])
    assert "retry  Launch builder" in out.getvalue()
    assert "try 2 after ThrottledError: slow down" in out.getvalue()


def test_plain_progress_says_for_whom_a_bake_waits() -> None:
    view, out = plain()
    watch(FakeStack(events.queued_bake()), view, [])
    assert re.search(r"start  Wait for turn +behind bake web-0", out.getvalue())
    assert re.search(r"done   Wait for turn +.* bake web-0 has ended", out.getvalue())


def test_the_live_table_shows_the_wait_for_a_turn_while_there_is_one() -> None:
    out = StringIO()
    screen = Console(file=out, width=100)
    view, followed = LiveView(screen), Followed()
    shown: list[str] = []
    for event in events.queued_bake():
        followed.feed(event, view)
        view.tick(event["timestamp"])
        out.truncate(0)
        screen.print(view._table())
        shown.append(out.getvalue())
    turn = [number for number, text in enumerate(shown) if "Wait for turn" in text]
    assert turn[0] > 0, "no bake is said to wait before it does"
    assert "behind bake web-0" in shown[turn[0]]
    assert "Wait for turn" not in plain_table_of_a_good_bake()


def plain_table_of_a_good_bake() -> str:
    out = StringIO()
    view, followed = LiveView(Console(file=out, width=100)), Followed()
    for event in events.good_bake():
        followed.feed(event, view)
    Console(file=out, width=100).print(view._table())
    return out.getvalue()


def test_silence_is_told_and_borne() -> None:
    view, out = plain()
    watch(FakeStack(events.good_bake(), silent=3), view, [])
    assert "AWS does not answer. Trying again (3 of 10)" in out.getvalue()


def test_long_silence_ends_the_watching() -> None:
    view, _ = plain()
    with pytest.raises(NoAnswerError):
        watch(FakeStack(events.good_bake(), silent=99), view, [])


@pytest.mark.parametrize("history", [events.good_bake(), events.failed_step(), events.refused()])
def test_the_live_table_can_be_drawn_at_every_moment(history: list[Event]) -> None:
    out = StringIO()
    screen = Console(file=out, width=100, force_terminal=True)
    view = LiveView(screen)
    with view:
        followed = Followed()
        for event in history:
            followed.feed(event, view)
            view.tick(event["timestamp"])
            screen.print(view._table())
        view.note("AWS does not answer")
        screen.print(view._table())
    assert "Launch builder" in out.getvalue() and "AWS does not answer" in out.getvalue()


def test_what_a_lost_builder_did_is_shown_when_it_happens_and_not_at_the_end() -> None:
    view, out = plain()
    followed = watch(FakeStack(events.replaced()), view, [])
    lines = out.getvalue().splitlines()
    assert any(
        "again  Replace builder" in line and "SpotInstanceShutdown" in line for line in lines
    )
    assert len([line for line in lines if "start  Launch builder" in line]) == 2
    assert len(followed.stages) == len(STAGES)
    assert all(stage.failure is None for stage in followed.stages)


def test_the_live_table_begins_anew_with_another_builder() -> None:
    # With a height as well, or a dumb terminal is 80 wide whatever is said.
    screen = Console(file=StringIO(), width=160, height=50, force_terminal=True)
    view = LiveView(screen)
    history = events.replaced()
    again = next(
        number
        for number, event in enumerate(history)
        if event.get("stateExitedEventDetails", {}).get("name") == "ReplaceBuilder"
    )
    followed = Followed()
    for event in history[: again + 1]:
        followed.feed(event, view)
    screen.print(view._table())
    text = screen.file.getvalue()  # type: ignore[attr-defined]
    assert "New builder" in text and "is stopped during Step 'packages'" in text
    assert text.count("\N{CHECK MARK}") == 1  # the plan stands
    assert "\N{BALLOT X}" not in text and "packages" not in text.partition("New builder")[0]
