"""What ``bakery rollback`` and ``bakery promote`` ask for and print."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import StringIO
from typing import Any, cast

from rich.console import Console

from scripts.bakery_cli.aws.stack import Execution, Stack
from scripts.bakery_cli.move import move
from scripts.bakery_cli.target import Target

NOW = datetime(2026, 1, 31, 3, tzinfo=UTC)
MOVED = {
    "parameter": "/ami-bakery/web/image",
    "moved_to": "ami-1",
    "regions": {
        "eu-west-1": {"from": "ami-2", "to": "ami-1"},
        "us-east-1": {"from": None, "to": "ami-3"},
    },
    "launch_templates": {"lt-1": 7},
}


@dataclass
class FakeStack:
    """Runs for a while, then ends as it is told."""

    status: str = "SUCCEEDED"
    output: dict[str, Any] = field(default_factory=lambda: dict(MOVED))
    cause: str = ""
    looks: int = 0
    asked: list[Mapping[str, object]] = field(default_factory=list)
    region: str = "eu-west-1"

    def who(self) -> str:
        return "arn:aws:iam::1:user/ada"

    def move_pointer(self, wanted: Mapping[str, object], *, name: str) -> str:
        self.asked.append(wanted)
        return f"arn:{name}"

    def execution(self, arn: str) -> Execution:
        self.looks += 1
        status = self.status if self.looks > 2 else "RUNNING"
        error = "CannotMovePointerError" if status == "FAILED" else ""
        return Execution(arn, arn[4:], status, NOW, "web", self.output, error, self.cause)


def run(stack: FakeStack, **options: Any) -> tuple[int, list[str]]:
    out = StringIO()
    target = Target(cast("Stack", stack), lambda: NOW, 2.0, True, lambda _: [])
    sleep = options.pop("sleep", lambda _: None)
    wanted = {"recipe": "web", **options}
    code = move(Console(file=out, width=120), target, wanted, what="rollback", sleep=sleep)
    return code, out.getvalue().splitlines()


def test_it_asks_in_the_name_of_who_asks_and_waits_for_the_end() -> None:
    stack = FakeStack()
    code, lines = run(stack, to="ami-1")
    assert (code, stack.looks) == (0, 3)
    assert stack.asked == [{"recipe": "web", "to": "ami-1", "by": "arn:aws:iam::1:user/ada"}]
    assert lines[0].startswith("Rollback of web in eu-west-1, execution rollback-web-20260131-")
    assert lines[1:] == [
        "/ami-bakery/web/image has moved",
        "  eu-west-1: ami-2 -> ami-1",
        "  us-east-1: nothing -> ami-3",
        "  launch template lt-1: version 7",
    ]


def test_a_label_that_is_there_already_is_no_failure() -> None:
    code, lines = run(FakeStack(output={**MOVED, "regions": {}}))
    assert (code, lines[1:]) == (0, ["/ami-bakery/web/image holds ami-1 already"])


def test_a_failure_is_told_with_all_its_reasons() -> None:
    code, lines = run(FakeStack("FAILED", cause="Nothing has moved:\n- us-east-1: no copy"))
    assert code == 1
    assert lines[1:] == [
        "CannotMovePointerError",
        "  Nothing has moved:",
        "  - us-east-1: no copy",
    ]


def test_who_stops_watching_stops_nothing() -> None:
    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    code, lines = run(FakeStack(), sleep=interrupted)
    assert code == 130
    assert "everywhere or nowhere" in lines[1]
