"""What ``bakery retire`` prints, and its exit code."""

from collections.abc import Mapping
from io import StringIO
from typing import Any

from rich.console import Console

from scripts.bakery_cli.aws.stack import RefusedError
from scripts.bakery_cli.retire import retire

KEPT = "ami-1: keep: parameter /ami-bakery/web/image holds it"
DONE = "ami-0: disable: is 91 days old, 2 newer ones are there, and it is not in use"


def found(region: str, **changes: Any) -> dict[str, Any]:
    return {
        "region": region,
        "counts": {"keep": 1, "disable": 1},
        "kept": [KEPT],
        "done": [DONE],
        "left": [],
        "regions": [],
        **changes,
    }


class FakeStack:
    """Answers by Region; the first call names none."""

    region = "eu-west-1"

    def __init__(self, **answers: Mapping[str, Any] | RefusedError) -> None:
        self.answers = answers
        self.dry: set[bool] = set()

    def retire(self, recipe: str, *, dry_run: bool, region: str = "") -> dict[str, Any]:
        self.dry.add(dry_run)
        answer = self.answers[region.replace("-", "_") or "home"]
        if isinstance(answer, RefusedError):
            raise answer
        return dict(answer)


def run(stack: FakeStack, *, dry_run: bool = False) -> tuple[int, list[str]]:
    out = StringIO()
    code = retire(Console(file=out, width=160), stack, "web", dry_run=dry_run)
    assert stack.dry == {dry_run}
    return code, out.getvalue().splitlines()


def test_each_image_has_a_line_in_every_region() -> None:
    home = found("eu-west-1", regions=["eu-west-1", "us-east-1"])
    code, lines = run(FakeStack(home=home, us_east_1=found("us-east-1", done=[])), dry_run=True)
    assert code == 0
    assert lines == [
        "eu-west-1: 2 images",
        f"  {KEPT}",
        f"  {DONE}",
        "  1 step would be done",
        "us-east-1: 2 images",
        f"  {KEPT}",
        "  0 steps would be done",
    ]


def test_what_was_not_possible_is_told_by_the_exit_code_too() -> None:
    home = found("eu-west-1", left=["ami-0: could not disable: denied"], regions=["eu-west-1"])
    code, lines = run(FakeStack(home=home))
    assert code == 1
    assert lines[-2:] == [
        "  1 step was done",
        "  not possible: ami-0: could not disable: denied",
    ]


def test_a_region_that_fails_does_not_keep_the_others_from_being_looked_at() -> None:
    stack = FakeStack(
        home=found("eu-west-1", regions=["eu-west-1", "us-east-1", "us-east-2"]),
        us_east_1=RefusedError("ThrottledError", "too fast"),
        us_east_2=found("us-east-2"),
    )
    code, lines = run(stack)
    assert code == 1
    assert "us-east-1: ThrottledError: too fast" in lines
    assert "us-east-2: 2 images" in lines


def test_a_recipe_that_keeps_all_is_refused_with_the_reason() -> None:
    code, lines = run(FakeStack(home=RefusedError("InvalidInputError", "says nothing of it")))
    assert (code, lines) == (1, ["InvalidInputError", "says nothing of it"])
