"""What comes from AWS, a recipe or the command line is shown, and does nothing to the terminal."""

import ast
import json
import re
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.table import Table
from rich.text import Text

from bakery.bake import WholePlan
from bakery.inventory import Package
from scripts import bakery_cli
from scripts.bakery_cli import diff, listing, summary
from scripts.bakery_cli import plan as plans
from scripts.bakery_cli.aws.stack import PlanRefusedError
from scripts.bakery_cli.errors import CommandError
from scripts.bakery_cli.follow import Followed, View
from scripts.bakery_cli.history import Event
from scripts.bakery_cli.live import LiveView
from scripts.bakery_cli.main import main
from scripts.bakery_cli.plain import PlainView
from scripts.bakery_cli.sbom import cyclonedx
from scripts.bakery_cli.screen import Screen, complain, line
from tests.hostile import CLASSICS, MIXED, is_plain, strings_in
from tests.unit.cli import events
from tests.unit.cli.events import PLAN
from tests.unit.cli.test_diff import NEW, OLD
from tests.unit.cli.test_follow import execution

EVIL = "[/x][red]a[/red]\x1b[2J\x1b]0;t\x07\x9b31m\u202eb\rc\x08\x00\u2028:skull:"
"""Everything that a terminal or a screen could take for a command."""
SEEN = "[/x][red]a[/red]\\x1b[2J\\x1b]0;t"
"""How its beginning is shown (rich leaves out a bell)."""

_OF_A_MACHINE = {"stage", "started", "seconds", "outcome", "recipe", "entered", "region", "id"}
_MOVES = {"\x1b[?25l", "\x1b[?25h", "\x1b[1A", "\x1b[2K"}


def screen(**options: Any) -> tuple[Screen, StringIO]:
    out = StringIO()
    return Screen(file=out, width=options.pop("width", 400), **options), out


def poisoned(value: Any, key: str = "") -> Any:
    """The same data, every text that a person or AWS has written with a hostile end."""
    if isinstance(value, str) and key in ("input", "output"):
        return json.dumps(poisoned(json.loads(value)))
    if isinstance(value, str):
        return value if key in _OF_A_MACHINE else value + EVIL
    if isinstance(value, dict):
        return {name: poisoned(inner, name) for name, inner in value.items()}
    return [poisoned(inner, key) for inner in value] if isinstance(value, list | tuple) else value


def poisoned_event(event: Event) -> Event:
    """Names of states and types of events are Step Functions' own."""
    return {
        key: {name: it if name == "name" else poisoned(it, name) for name, it in value.items()}
        if isinstance(value, dict)
        else value
        for key, value in event.items()
    }


HISTORIES = [events.good_bake, events.failed_step, events.failed_test, events.refused]


def shown_plain(text: str) -> None:
    assert text
    assert all(map(is_plain, text.splitlines())), text


def test_every_text_is_a_line_that_shows_it() -> None:
    for text in [*CLASSICS, *MIXED]:
        one, out = screen(width=20_000)
        line(one, text)
        line(one, Text.assemble((text, "bold"), text), style="red")
        one.print(text)
        table = Table("x")
        table.add_row(text, Text(text))
        one.print(table)
        shown_plain(out.getvalue())


def test_an_error_is_shown_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    out = StringIO()
    monkeypatch.setattr("sys.stderr", out)
    complain(CommandError(EVIL, EVIL))
    shown_plain(out.getvalue())
    assert SEEN in out.getvalue()


@pytest.mark.parametrize("history", HISTORIES)
def test_a_followed_bake_is_shown_as_it_is(history: Callable[[], list[Event]]) -> None:
    one, out = screen()
    view, followed = PlainView(one), Followed()
    for event in map(poisoned_event, history()):
        followed.feed(event, view)
    shown_plain(out.getvalue())


@pytest.mark.parametrize("history", HISTORIES)
def test_a_table_that_is_drawn_anew_has_no_command_but_those_that_draw_it(
    history: Callable[[], list[Event]],
) -> None:
    can_draw = {"TERM": "xterm"}  # whatever the terminal is that runs the tests
    one, out = screen(
        width=100, height=60, force_terminal=True, color_system=None, _environ=can_draw
    )
    followed, view = Followed(), LiveView(one)
    with view:
        for number, event in enumerate(map(poisoned_event, history())):
            followed.feed(event, view)
            view.note(EVIL)
            if number % 8 == 0:  # each time all rows, most of them as before
                view._live.refresh()
    written = out.getvalue().replace("\r", "")
    assert set(re.findall(r"\x1b\[[?0-9;]*[A-Za-z]", written)) <= _MOVES
    shown_plain(re.sub("|".join(map(re.escape, _MOVES)), "", written))


@pytest.mark.parametrize("status", ["SUCCEEDED", "FAILED"])
@pytest.mark.parametrize("history", HISTORIES)
def test_the_end_of_a_bake_is_shown_as_it_is(
    history: Callable[[], list[Event]], status: str
) -> None:
    followed = Followed()
    view: View = PlainView(screen()[0])
    for event in map(poisoned_event, history()):
        followed.feed(event, view)
    found = execution(status, error=EVIL, cause=f"{EVIL}\n{EVIL}")
    found = replace(found, output=poisoned(found.output))
    one, out = screen()
    rows = summary.rows_of(found, followed.stages)
    summary.show(one, found, followed.tracker, rows, command_log=EVIL)
    shown_plain(out.getvalue())
    assert SEEN in out.getvalue()


def test_a_plan_and_a_refusal_are_shown_as_they_are() -> None:
    one, out = screen()
    plans.show(one, WholePlan.model_validate(poisoned(PLAN) | {"usd_per_hour": {}}))
    plans.show_refusal(one, EVIL, PlanRefusedError(EVIL, EVIL))
    shown_plain(out.getvalue())
    assert SEEN in out.getvalue()


def test_a_comparison_of_images_is_shown_as_it_is() -> None:
    name = f"x{EVIL}"
    new = NEW.model_copy(
        update={
            "image_name": EVIL,
            "fingerprint": f"bakery={EVIL}",
            "packages": (
                *NEW.packages,
                Package(kind="deb", name=name, version="1", architecture=EVIL, source=""),
            ),
        }
    )
    one, out = screen()
    diff.show(one, OLD, new)
    shown_plain(out.getvalue())
    assert SEEN in out.getvalue()
    for text in (diff.as_json(OLD, new), cyclonedx(new)):
        shown_plain(text)
        assert name in strings_in(json.loads(text))


def test_a_list_of_recipes_is_shown_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "web.yaml").write_text(
        "description: '[/x]'\nbase: {search: {owner: self, name: '[/x]web [red]*[/red]'}}\n"
    )
    one, out = screen()
    listing.show(one, tmp_path, {"web": EVIL}, EVIL)
    shown_plain(out.getvalue())
    assert "newest [/x]web [red]*[/red] of self" in out.getvalue()
    assert SEEN in out.getvalue()


@pytest.mark.parametrize(
    "arguments", [[EVIL], ["check", EVIL], [f"--{EVIL}"], ["plan", "--local", EVIL]]
)
def test_what_was_typed_is_shown_as_it_is(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) != 0
    printed = capsys.readouterr()
    shown_plain(printed.out + printed.err)


def test_a_hostile_file_is_told_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "a\x1b[2J"
    folder.mkdir()
    (folder / "x\n[red]\x1b[2J.yaml").write_text('description: x\n"\\e(B{red}": 1\n')
    assert main([f"--recipes={folder}", "check"]) == 1
    assert main([f"--recipes={folder}", "recipes"]) == 1
    printed = capsys.readouterr()
    shown_plain(printed.out + printed.err)
    assert "x\\n[red]\\x1b[2J.yaml:" in printed.out
    assert ": \\x1b(B{red}: " in printed.out


def test_nothing_is_printed_past_the_screen() -> None:
    """No other console, and no print; what typer.echo writes is JSON, see above."""
    folder = Path(bakery_cli.__file__).parent
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = ast.unparse(node)
                assert not called.startswith(("print(", "sys.stdout.write(", "sys.stderr.write("))
                if called.startswith("Console("):
                    assert called == "Console(quiet=True)", path
