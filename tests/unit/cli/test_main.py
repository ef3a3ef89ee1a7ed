"""The commands that need no AWS, as somebody types them: output and exit code."""

import os
import re
from pathlib import Path

import pytest

from bakery import VERSION
from scripts.bakery_cli import check as checks
from scripts.bakery_cli import main as cli
from scripts.bakery_cli.main import main

PROJECT = Path(__file__).resolve().parents[3]
BASE = "base: {ami: ami-0123456789abcdef0}\n"
GOOD = f"description: web tier\n{BASE}"


@pytest.fixture(autouse=True)
def in_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PROJECT)
    monkeypatch.setenv("TERM", "dumb")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "web.yaml").write_text(GOOD)
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(list(arguments))
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    return code, out, err


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["--help"], ["-h"]):
        code, out, _ = run(capsys, *arguments)
        assert code == 0
        assert all(name in out for name in ("bake", "follow", "check", "plan", "recipes"))


def test_the_summary_of_a_command_is_not_cut_off(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    _, _, commands = run(capsys, "--help")[1].partition("Commands:")
    assert commands and "..." not in commands


@pytest.mark.parametrize(
    ("command", "says"),
    [("bake", "Ctrl-C ends the watching, not the bake"), ("plan", "baked first")],
)
def test_help_of_a_command_says_what_it_leaves_behind(
    capsys: pytest.CaptureFixture[str], command: str, says: str
) -> None:
    assert says in " ".join(run(capsys, command, "--help")[1].split())


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "version")[:2] == (0, f"{VERSION}\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bake"], "Which recipe?"),
        (["bakke", "web"], "Did you mean 'bake'?"),
        (["--nonsense", "check"], "No such option"),
        (["check", "--sandbox"], "--sandbox runs scripts on the local AWS only"),
        (["bake", "web", "--objects", "docs"], "fills the S3 of the local AWS only"),
        (["bake", "web", "--local", "--profile", "x"], "so no --profile"),
        (["bake", "web-al2023", "--local", "--detach"], "cannot be left to it"),
        (["follow", "x", "--local"], "nothing to follow"),
    ],
)
def test_wrong_usage_is_one_sentence_with_a_remedy_and_code_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    code, out, err = run(capsys, *arguments)
    assert code == 2 and out == ""
    assert message in err and len(err.splitlines()) == 2


@pytest.mark.parametrize("command", ["bake", "plan"])
def test_a_recipe_that_is_not_there_is_answered_with_those_that_are(
    capsys: pytest.CaptureFixture[str], command: str, folder: Path
) -> None:
    code, _, err = run(capsys, "--local", command, "wep", "--recipes", str(folder))
    assert code == 1
    assert "There is no recipe 'wep'" in err and "Recipes here: web." in err


@pytest.mark.parametrize("command", [["bake", "x"], ["follow", "x"], ["plan", "x"]])
def test_without_a_region_every_command_of_aws_says_so(
    capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        os.environ.pop(name, None)
    code, _, err = run(capsys, *command)
    assert code == 2 and "No AWS Region is set. " not in err
    assert "No AWS Region is set." in err and "--region" in err


def test_an_unexpected_error_is_one_line_unless_debug_asks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("of all things")

    monkeypatch.setattr(checks, "check", broken)
    code, _, err = run(capsys, "check")
    assert code == 2 and "Unexpected: ZeroDivisionError: of all things" in err
    assert "--debug" in err
    with pytest.raises(ZeroDivisionError):
        main(["check", "--debug"])


# --- check ------------------------------------------------------------------------------------


def test_check_is_content_with_this_project(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "check")
    assert code == 0
    assert out.startswith("No problem in ") and len(out.splitlines()) == 1


NIGHTLY = """
description: nightly
base: {ami: ami-0123456789abcdef0}
schedule:
  cron: "CRON"
  timezone: ZONE
"""


def nightly(folder: Path, name: str, cron: str, zone: str) -> None:
    text = NIGHTLY.replace("CRON", cron).replace("ZONE", zone)
    (folder / f"{name}.yaml").write_text(text, encoding="utf-8")


def test_check_warns_of_a_night_that_clocks_jump_over_and_is_content(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    nightly(tmp_path, "lost", "30 1 * * ? *", "Europe/London")
    nightly(tmp_path, "fine", "30 3 * * ? *", "Europe/London")
    nightly(tmp_path, "unknown", "30 1 LW * ? *", "Europe/London")
    code, out, _ = run(capsys, "--recipes", str(tmp_path), "check")
    text = " ".join(out.split())
    assert code == 0
    assert re.search(
        r"lost.yaml:5: schedule.cron: warning: 01:30 on \d{4}-03-\d\d does not exist in "
        r"Europe/London, because clocks go forward: EventBridge Scheduler skips that bake; name an "
        r"hour at which no clocks change",
        text,
    )
    assert text.count("warning:") == 1
    assert "No problem in 3 recipes" in text and "1 warning, see above." in text


def test_check_warns_of_a_password_that_stays_in_the_image(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    text = "description: w\nbase: {ami: ami-0123456789abcdef0}\nwindows:\n"
    secret = "  administrator_password: {secret: windows/admin}\n"
    (tmp_path / "office.yaml").write_text(text + secret, encoding="utf-8")
    (tmp_path / "plain.yaml").write_text(text.replace("windows:", "windows: {}"), encoding="utf-8")
    code, out, _ = run(capsys, "--recipes", str(tmp_path), "check")
    told = " ".join(out.split())
    assert code == 0 and "1 warning, see above." in told
    assert "office.yaml:4: windows.administrator_password: warning: it stays readable" in told


def test_check_of_another_recipe_does_not_warn(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    nightly(tmp_path, "lost", "30 1 * * ? *", "Europe/London")
    nightly(tmp_path, "fine", "30 1 * * ? *", "Asia/Kolkata")
    code, out, _ = run(capsys, "--recipes", str(tmp_path), "check", "fine")
    assert code == 0 and "warning" not in out


HOST = """
description: of a running host
base: {instance: i-0123456789abcdef0}
"""


def test_check_warns_of_what_is_otherwise_for_a_running_host(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "plain.yaml").write_text(HOST, encoding="utf-8")
    more = "customize: [{name: a, shell: b}]\nschedule: {cron: '0 3 * * ? *'}\n"
    (tmp_path / "more.yaml").write_text(f"{HOST}{more}", encoding="utf-8")
    code, out, _ = run(capsys, "--recipes", str(tmp_path), "check")
    text = " ".join(out.split())
    assert code == 0
    assert text.count("warning:") == 2
    assert "more.yaml:4: customize: warning: these steps run on a clone of the host" in text
    assert "more.yaml:5: schedule: warning: every slot bakes" in text


def test_check_of_one_recipe_names_it(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "check", "web-al2023")
    assert code == 0 and "No problem in web-al2023 and" in out


def test_check_of_a_recipe_that_is_not_there_fails(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "check", "wep")
    assert code == 1 and "There is no recipe 'wep' in recipes." in err


def test_check_of_a_folder_that_is_not_there_fails(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "check", "--recipes", "nowhere")
    assert code == 1 and "there is no such folder" in err


STEP = "customize:\n  - {name: app, %s}\n"


@pytest.mark.parametrize(
    ("text", "where", "what", "remedy"),
    [
        ("{}", "web.yaml:1: base", "is missing", "One of: parameter, ami"),
        (f"{GOOD}sizes: 1\n", "web.yaml:3: sizes", "not a known key", "known here"),
        (f"{GOOD}{BASE}", "web.yaml:3: base", "is there twice", "keep one of them"),
        ("description:\n\tx\n", "web.yaml:2", "a tab", "replace it"),
        (
            "description: x\nbase: {ami: ami-0123456789abcdef0, recipe: web}\n",
            "web.yaml:2: base",
            "needs exactly one of",
            "parameter, ami, search",
        ),
        ("description: x\n", "web.yaml:1: base", "is missing", "add it"),
        (
            "description: x\nbase: {search: {name: ubuntu-*}}\n",
            "web.yaml:2: base.search.owner",
            "is missing",
            "`self` or `amazon`",
        ),
        (f"{GOOD}schedule: {{cron: daily}}\n", "web.yaml:3: schedule.cron", "1 field", "e.g."),
        (
            f"{GOOD}schedule: {{cron: '0 3 * * ? *', timezone: London}}\n",
            "web.yaml:3: schedule.timezone",
            "no IANA time zone",
            "Europe/London",
        ),
        (
            f"{GOOD}distribute: [{{region: eu-west-1, accounts: ['111122223333']}}]\n",
            "web.yaml:3: distribute[0]",
            "cannot be shared",
            "kms_key",
        ),
        (f"{GOOD}image_name: 'web {{time}}'\n", "web.yaml:3: image_name", "' '", "allow letters"),
        (f"{GOOD}image_name: '{{nope}}-x'\n", "web.yaml:3: image_name", "{nope}", "{recipe}"),
        (f"{GOOD}retention: {{keep: 1}}\n", "web.yaml:3: retention.keep", "at least 2", "is: 1"),
        (
            GOOD + STEP % "document: AmiBakery-reboot-linux, parameters: {Bake: x}",
            "web.yaml:4: customize[0].document",
            "'AmiBakery-reboot-linux' belongs to the bakery",
            "write the step with shell, reboot or application",
        ),
        (
            GOOD + STEP % "document: AWS-RunDocument",
            "web.yaml:4: customize[0].document",
            "runs whatever document its parameters point to",
            "name that document itself",
        ),
        (
            GOOD
            + "customize:\n"
            + "".join(f"  - {{name: s{n}, shell: {'x' * 47000}}}\n" for n in range(5)),
            "web.yaml",
            "larger than 200 KiB",
            "application archive",
        ),
    ],
)
def test_check_says_what_is_wrong_where_and_what_to_do(
    capsys: pytest.CaptureFixture[str],
    folder: Path,
    text: str,
    where: str,
    what: str,
    remedy: str,
) -> None:
    (folder / "web.yaml").write_text(text)
    code, out, _ = run(capsys, "check", "--recipes", str(folder))
    assert code == 1
    assert any(where in line and what in line and remedy in line for line in out.splitlines()), out
    assert "problem" in out.splitlines()[-1]


def test_check_reports_a_bad_document(
    capsys: pytest.CaptureFixture[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "bad.yaml").write_text("schemaVersion: '0.3'\n")
    monkeypatch.setattr(cli, "DOCUMENTS", folder)
    code, out, _ = run(capsys, "check")
    assert code == 1 and "bad.yaml:1: schemaVersion: must be" in out


def test_check_reports_what_steps_do_wrong_beside_the_faults_of_other_recipes(
    capsys: pytest.CaptureFixture[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here because a changed document of the bakery no longer takes what the step gives it."""
    documents = folder / "documents"
    documents.mkdir()
    text = (cli.DOCUMENTS / "reboot-linux.yaml").read_text()
    (documents / "reboot-linux.yaml").write_text(text.replace("Bake", "Oven"))
    monkeypatch.setattr(cli, "DOCUMENTS", documents)
    (folder / "other.yaml").write_text("{}")
    (folder / "web.yaml").write_text(GOOD + STEP % "reboot: true")
    code, out, _ = run(capsys, "check", "--recipes", str(folder))
    assert code == 1 and "other.yaml:1: base" in out
    assert "web.yaml:4: customize[0].parameters: Bake: the document has no such parameter" in out


def test_check_of_one_recipe_is_not_disturbed_by_another(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    (folder / "other.yaml").write_text("{}")
    assert run(capsys, "check", "web", "--recipes", str(folder))[0] == 0
    assert run(capsys, "check", "other", "--recipes", str(folder))[0] == 1


# --- recipes ----------------------------------------------------------------------------------


def test_recipes_lists_base_schedule_and_steps(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--local", "recipes")
    assert code == 0
    (line,) = [line for line in out.splitlines() if line.strip().startswith("web-al2023")]
    assert "ami-amazon-linux-latest" in line and " 4 " in line and "daily at 03:00" in line
    assert "recipe web-al2023" in out and "The local AWS starts without images." in out


def test_recipes_without_aws_says_why_images_are_unknown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        os.environ.pop(name, None)
    code, out, _ = run(capsys, "recipes")
    assert code == 0 and "Current images are not known: No AWS Region is set." in out


def test_recipes_of_an_empty_folder(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, _ = run(capsys, "--local", "recipes", "--recipes", str(tmp_path))
    assert code == 0 and "There is no recipe in" in out
