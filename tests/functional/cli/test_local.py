"""``bakery --local``, as somebody types it in a fresh clone: a process of its own."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bakery.recipe import InstanceBase, parse_recipe
from infra.loading import load_yaml
from scripts.bakery_cli import check
from scripts.bakery_cli.screen import console
from scripts.bakery_cli.stages import CLONE_HOST, STAGES
from scripts.local import estate
from tests import watched

PROJECT = Path(__file__).resolve().parents[3]
COMMAND = ["scripts.bakery_cli.main", "--local"]


@pytest.fixture
def notes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the processes of a test note their launches, of which all must be sound: the look at
    every launch sees no process but the tests' own."""
    notes = tmp_path_factory.mktemp("notes") / "launches"
    yield notes
    assert [it for it in watched.noted(notes) if it] == []


def command(notes: Path | None, *arguments: str) -> list[str]:
    """As somebody types it, or so that its launches are noted."""
    watcher = ["tests.watched", str(notes)] if notes else []
    return [sys.executable, "-m", *watcher, *COMMAND, *arguments]


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return {**kept, "TERM": "dumb", **more}


def run(notes: Path | None, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(notes, *arguments),
        cwd=PROJECT,
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=240,
    )


def test_a_bake_needs_no_account_and_ends_with_its_image() -> None:
    # Settings of a real account, broken ones at that, must not matter. Who watches imports the
    # local AWS before the command has put them aside; the next test watches a bake of this recipe.
    done = run(None, "bake", "web-al2023", AWS_PROFILE="images", HTTPS_PROXY="http://127.0.0.1:9")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert "time runs 60 times faster; scripts are checked but NOT executed" in done.stdout
    lines = [line.rstrip() for line in done.stdout.splitlines()]
    for stage in STAGES:
        assert any(re.search(rf"start  {stage.title}$", line) for line in lines)
    last = "\n".join(lines[-10:])
    assert re.search(r"^Image       ami-[0-9a-f]{17}$", last, re.M)
    for label in ("Name", "Region", "Base image", "Cost", "Pointer"):
        assert re.search(rf"^{label} ", last, re.M)


def test_a_recipe_that_builds_on_another_bakes_that_one_first(notes: Path) -> None:
    done = run(notes, "plan", "app-on-web")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "app-on-web builds on web-al2023" in done.stdout
    assert "start  " not in done.stdout and "Customize        4 steps" not in done.stdout
    found = re.search(r"^Baked web-al2023: (ami-\w+)", done.stdout, re.M)
    assert found and f"Base image            {found[1]} (web-al2023-" in done.stdout
    assert len(watched.noted(notes)) > 1  # builder and tests


def test_ctrl_c_says_that_the_local_bake_is_gone(notes: Path) -> None:
    running = subprocess.Popen(
        command(notes, "bake", "web-al2023"),
        cwd=PROJECT,
        env=environment(PYTHONUNBUFFERED="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # Who runs the tests in the background has them ignore SIGINT, and so their children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert running.stdout
    for line in running.stdout:
        if "Launch builder" in line:
            os.killpg(running.pid, signal.SIGINT)
            break
    rest = running.stdout.read()
    assert running.wait(60) == 130
    assert "Stopped, and the local AWS with it: the bake is gone." in rest
    assert "Traceback" not in rest


CHEF_11, CHEF_12, PLAIN = estate.HOSTS


@pytest.mark.parametrize(
    "id_",
    [
        CHEF_12,
        pytest.param(CHEF_11, marks=pytest.mark.long),
        pytest.param(PLAIN, marks=pytest.mark.long),
    ],
)
def test_an_adopted_host_is_sound_and_bakes(id_: str, tmp_path: Path, notes: Path) -> None:
    """What README says: adopt it, check it, bake it."""
    adopted = run(notes, "adopt", id_)
    assert adopted.returncode == 0, adopted.stderr
    file = tmp_path / "shop.yaml"
    file.write_text(adopted.stdout)
    assert parse_recipe("shop", load_yaml(file)).base == InstanceBase(instance=id_)
    assert check.check(console(), ["shop"], recipes=tmp_path, documents=PROJECT / "documents") == 0
    done = run(notes, "bake", "shop", "--recipes", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert id_ in next(line for line in done.stdout.splitlines() if "Instances here" in line)
    assert re.search(rf"start  {CLONE_HOST.title}$", done.stdout, re.M)
    assert re.search(r"^Image       ami-[0-9a-f]{17}$", done.stdout, re.M)
    assert re.search(rf"^Base image .*{id_}", done.stdout, re.M)
    assert len(watched.noted(notes)) > 1
