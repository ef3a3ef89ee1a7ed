"""The runner does what the SSM agent does, oddities included."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from scripts.local.download import DownloadError
from scripts.local.hosts import CheckedHost, HereHost
from scripts.local.runner import Ran, StepOutcome, aggregate, run_document
from scripts.local.ssm_rules import dialect_of

LINUX = {"StringEquals": ["platformType", "Linux"]}


def sh(name: str, script: str, **inputs: Any) -> dict[str, Any]:
    return {
        "action": "aws:runShellScript",
        "name": name,
        "inputs": {"runCommand": script.split("\n"), **inputs},
    }


def ps(name: str, lines: list[str]) -> dict[str, Any]:
    return {"action": "aws:runPowerShellScript", "name": name, "inputs": {"runCommand": lines}}


def doc(*steps: dict[str, Any], **parameters: Any) -> dict[str, Any]:
    return {"schemaVersion": "2.2", "parameters": parameters, "mainSteps": list(steps)}


def text(default: str, **more: Any) -> dict[str, Any]:
    return {"type": "String", "default": default, **more}


@pytest.fixture
def host(tmp_path: Path) -> HereHost:
    return HereHost(tmp_path)


def statuses(outcomes: list[StepOutcome]) -> list[str]:
    return [outcome.status for outcome in outcomes]


@pytest.mark.parametrize(
    ("code", "status"),
    [(0, "Success"), (1, "Failed"), (7, "Failed"), (137, "TimedOut"), (255, "Failed")],
)
def test_exit_code_gives_the_status(host: HereHost, code: int, status: str) -> None:
    [outcome] = run_document(doc(sh("a", f"echo out\necho err >&2\nexit {code}")), {}, host)

    assert outcome == StepOutcome("a", status, code, "out\n", "err\n")
    assert aggregate([outcome]) == (status, code)


def test_a_failed_step_does_not_stop_the_next_one(host: HereHost) -> None:
    outcomes = run_document(doc(sh("a", "exit 3"), sh("b", "echo b")), {}, host)

    assert statuses(outcomes) == ["Failed", "Success"]
    assert aggregate(outcomes) == ("Failed", 3)


def test_on_failure_exit_skips_the_rest(host: HereHost) -> None:
    outcomes = run_document(doc(sh("a", "exit 3", onFailure="exit"), sh("b", ":")), {}, host)

    assert statuses(outcomes) == ["Failed", "Skipped"]
    assert "onFailure" in outcomes[0].stderr
    assert aggregate(outcomes) == ("Failed", 3)


def test_on_failure_at_the_step_itself_is_ignored(host: HereHost) -> None:
    outcomes = run_document(doc({**sh("a", "exit 3"), "onFailure": "exit"}, sh("b", ":")), {}, host)

    assert statuses(outcomes) == ["Failed", "Success"]


def test_success_and_exit_turns_a_failure_into_a_success(host: HereHost) -> None:
    document = doc(sh("a", "exit 3", onFailure="successAndExit"), sh("b", ":"))
    outcomes = run_document(document, {}, host)

    assert statuses(outcomes) == ["Success", "Skipped"]
    assert aggregate(outcomes) == ("Success", 0)


def test_on_success_exit_skips_the_rest(host: HereHost) -> None:
    outcomes = run_document(doc(sh("a", ":", onSuccess="exit"), sh("b", ":")), {}, host)

    assert statuses(outcomes) == ["Success", "Skipped"]


@pytest.mark.parametrize(("code", "first"), [(168, "Success"), (169, "Failed")])
def test_reserved_exit_codes_end_the_document(host: HereHost, code: int, first: str) -> None:
    outcomes = run_document(doc(sh("a", f"exit {code}"), sh("b", ":")), {}, host)

    assert statuses(outcomes) == [first, "Skipped"]
    assert aggregate(outcomes)[0] == first


@pytest.mark.parametrize("flag", [True, "true"])
def test_a_finally_step_runs_after_a_failure(host: HereHost, flag: object) -> None:
    last = sh("c", "echo finally", finallyStep=flag)
    outcomes = run_document(doc(sh("a", "exit 1", onFailure="exit"), sh("b", ":"), last), {}, host)

    assert statuses(outcomes) == ["Failed", "Skipped", "Success"]


def test_a_finally_step_counts_at_the_end_only(host: HereHost) -> None:
    middle = sh("b", ":", finallyStep=True)
    outcomes = run_document(
        doc(sh("a", "exit 1", onFailure="exit"), middle, sh("c", ":")), {}, host
    )

    assert statuses(outcomes) == ["Failed", "Skipped", "Skipped"]


def test_194_reboots_and_runs_the_same_step_again(host: HereHost, tmp_path: Path) -> None:
    script = f"echo run\n[ -e {tmp_path}/seen ] && exit 0\n: >{tmp_path}/seen\nexit 194"
    outcomes = run_document(doc(sh("a", script), sh("b", "echo b")), {}, host)

    assert host.reboots == 1
    assert [outcome.stdout for outcome in outcomes] == ["run\nrun\n", "b\n"]
    assert statuses(outcomes) == ["Success", "Success"]


def test_a_step_that_never_stops_rebooting_fails(host: HereHost) -> None:
    [outcome] = run_document(doc(sh("a", "exit 194")), {}, host)

    assert outcome.status == "Failed"
    assert "reboots" in outcome.stderr


def test_time_out_kills_the_whole_process_group(host: HereHost, tmp_path: Path) -> None:
    script = f"(sleep 8; : >{tmp_path}/survived) &\necho before\nsleep 60"
    began = time.monotonic()
    outcomes = run_document(
        doc(sh("a", script, timeoutSeconds="5", onFailure="exit"), sh("b", "echo b")), {}, host
    )

    assert time.monotonic() - began < 8
    assert (outcomes[0].status, outcomes[0].exit_code) == ("TimedOut", 137)
    assert outcomes[0].stdout == "before\n"
    # The agent's onFailure is about failures; a time-out is none, so the next step runs.
    assert outcomes[1].status == "Success"
    assert aggregate(outcomes) == ("TimedOut", 137)
    time.sleep(4)
    assert not (tmp_path / "survived").exists()


@pytest.mark.failure(24)
def test_output_is_cut_where_aws_cuts_it(host: HereHost) -> None:
    script = "head -c 30000 /dev/zero | tr '\\0' x\nhead -c 30000 /dev/zero | tr '\\0' y >&2"
    [outcome] = run_document(doc(sh("a", script)), {}, host)

    assert (len(outcome.stdout), len(outcome.stderr)) == (24_000, 8_000)
    assert outcome.stdout.endswith("x--output truncated--")


def test_scripts_run_by_their_interpreter_and_else_by_sh(host: HereHost) -> None:
    python = "#!/usr/bin/env python3\nimport sys\nprint(sys.version_info[0])"
    outcomes = run_document(doc(sh("a", python), sh("b", "echo $0")), {}, host)

    assert outcomes[0].stdout == "3\n"
    assert outcomes[1].stdout.endswith("/b/_script.sh\n")


def test_environment_is_the_agents(host: HereHost) -> None:
    [outcome] = run_document(
        doc(sh("a", 'pwd\necho "${HOME-none}"\necho "$SSM_COMMAND_ID"')), {}, host
    )

    directory, home, command_id = outcome.stdout.splitlines()
    assert (directory, home) == ("/usr/bin", "none")
    assert len(command_id) == 36


def test_a_shell_step_takes_an_absolute_working_directory(host: HereHost) -> None:
    [outcome] = run_document(doc(sh("a", "pwd", workingDirectory="/tmp")), {}, host)

    assert outcome.stdout == "/tmp\n"


class TestParameters:
    """Substitution, as the agent's ReplaceParameters does it."""

    def test_values_and_defaults_are_pasted(self, host: HereHost) -> None:
        document = doc(sh("a", "echo {{ X }} {{Y}} {{ Z }}"), X=text("1"), Y=text("2"))
        [outcome] = run_document(document, {"X": ["one"]}, host)

        assert outcome.stdout == "one 2 {{ Z }}\n"

    def test_pasting_is_one_pass_and_halves_dollars(self, host: HereHost) -> None:
        document = doc(sh("a", "echo '{{ X }}'"), X=text(""), Y=text("no"))
        [outcome] = run_document(document, {"X": ["{{ Y }} $$"]}, host)

        assert outcome.stdout == "{{ Y }} $\n"

    def test_a_list_becomes_the_script(self, host: HereHost) -> None:
        step = sh("a", "")
        step["inputs"]["runCommand"] = "{{ Lines }}"
        document = doc(step, Lines={"type": "StringList"})
        [outcome] = run_document(document, {"Lines": ["echo 1", "echo 2"]}, host)

        assert outcome.stdout == "1\n2\n"

    def test_a_list_inside_a_line_becomes_json(self, host: HereHost) -> None:
        document = doc(sh("a", "echo 'x {{ Lines }}'"), Lines={"type": "StringList"})
        [outcome] = run_document(document, {"Lines": ["a", "b"]}, host)

        assert outcome.stdout == 'x ["a","b"]\n'

    def test_a_new_agent_exports_instead_of_pasting(self, tmp_path: Path) -> None:
        document = doc(
            sh("a", "echo \"$SSM_X\" '{{ X }}'"), X=text("v", interpolationType="ENV_VAR")
        )
        [new] = run_document(document, {}, HereHost(tmp_path / "new"))
        [old] = run_document(document, {}, HereHost(tmp_path / "old", new_agent=False))

        assert new.stdout == "v {{ X }}\n"
        assert old.stdout == " v\n"


class TestPreconditions:
    """Skipped steps succeed; steps that the agent does not understand fail."""

    @pytest.mark.parametrize(
        ("sides", "status"),
        [
            (["platformType", "Linux"], "Success"),
            (["linux", "platformType"], "Success"),
            (["platformType", "Windows"], "Skipped"),
            (["{{ X }}", "yes"], "Success"),
            (["{{ X }}", "no"], "Skipped"),
            (["yes", "yes"], "Failed"),
            (["yes", "no"], "Failed"),
            (["platformType", "{{ X }}"], "Failed"),
        ],
    )
    def test_string_equals(self, host: HereHost, sides: list[str], status: str) -> None:
        step = {**sh("a", ":"), "precondition": {"StringEquals": sides}}
        [outcome] = run_document(doc(step, X=text("yes")), {}, host)

        assert outcome.status == status

    def test_an_unknown_operator_fails(self, host: HereHost) -> None:
        step = {**sh("a", ":"), "precondition": {"StringLike": ["platformType", "L*"]}}
        [outcome] = run_document(doc(step), {}, host)

        assert outcome.status == "Failed"

    def test_a_document_of_skipped_steps_succeeds(self, host: HereHost) -> None:
        step = {**sh("a", "exit 1"), "precondition": {"StringEquals": ["platformType", "Windows"]}}

        assert aggregate(run_document(doc(step), {}, host)) == ("Success", 0)

    @pytest.mark.parametrize(
        ("action", "precondition", "status"),
        [
            ("aws:doesNotExist", {}, "Failed"),
            ("aws:doesNotExist", LINUX, "Failed"),
            ("aws:psModule", {}, "Skipped"),
            ("aws:updateSsmAgent", {}, "Failed"),
        ],
    )
    def test_other_plugins(
        self, host: HereHost, action: str, precondition: dict[str, Any], status: str
    ) -> None:
        step = {"action": action, "name": "a", "precondition": precondition, "inputs": {}}
        [outcome] = run_document(doc(step), {}, host)

        assert outcome.status == status


class TestDownloads:
    """aws:downloadContent, for the two kinds of source that the product uses."""

    @staticmethod
    def step(kind: str, info: Any, target: str = "file") -> dict[str, Any]:
        return {
            "action": "aws:downloadContent",
            "name": "get",
            "inputs": {"sourceType": kind, "sourceInfo": info, "destinationPath": target},
        }

    def test_content_lands_where_the_next_step_starts(self, host: HereHost) -> None:
        info = json.dumps({"path": "https://s3.eu-west-1.amazonaws.com/b/app.tar"})
        document = doc(self.step("S3", info), sh("a", "cat file; pwd"))
        outcomes = run_document(document, {}, host, fetch=lambda kind, info: b"hello\n")

        assert outcomes[1].stdout.startswith("hello\n")
        assert outcomes[1].stdout.endswith("/downloads\n")

    def test_a_folder_keeps_the_sources_name(self, host: HereHost) -> None:
        info = {"path": "https://s3.eu-west-1.amazonaws.com/b/app.tar"}
        document = doc(self.step("S3", info, "sub/"), sh("a", "ls sub"))
        outcomes = run_document(document, {}, host, fetch=lambda kind, info: b"hello\n")

        assert outcomes[1].stdout == "app.tar\n"

    def test_a_quoted_name_is_unquoted(self, host: HereHost) -> None:
        info = {"path": "https://s3.eu-west-1.amazonaws.com/b/a%20b%2Bc%25.tar"}
        document = doc(self.step("S3", info, "sub/"), sh("a", "ls sub"))
        outcomes = run_document(document, {}, host, fetch=lambda kind, info: b"hello\n")

        assert outcomes[1].stdout == "a b+c%.tar\n"

    @pytest.mark.parametrize(
        ("kind", "info", "word"),
        [
            ("FTP", "{}", "FTP"),
            ("S3", "{", "not JSON"),
            ("S3", "{}", "path"),
            ("HTTP", '{"url": "http://localhost/x"}', "https"),
            ("S3", '{"path": "https://s3.amazonaws.com/b/k"}', "no S3"),
        ],
    )
    def test_what_can_not_be_fetched_fails(
        self, host: HereHost, kind: str, info: str, word: str
    ) -> None:
        [outcome] = run_document(doc(self.step(kind, info)), {}, host)

        assert outcome.status == "Failed"
        assert word in outcome.stderr

    def test_a_failed_fetch_fails_the_step(self, host: HereHost) -> None:
        def refuse(kind: str, info: object) -> bytes:
            raise DownloadError("403 Forbidden")

        info = json.dumps({"path": "https://s3.amazonaws.com/b/k"})
        [outcome] = run_document(doc(self.step("S3", info)), {}, host, fetch=refuse)

        assert (outcome.status, outcome.stderr) == ("Failed", "403 Forbidden")


class TestWindows:
    """A host of the other platform, on which nothing runs here."""

    @pytest.fixture
    def windows(self) -> CheckedHost:
        return CheckedHost("i-1", platform="Windows")

    def test_a_shell_script_is_skipped_and_powershell_is_not(self, windows: CheckedHost) -> None:
        steps = (sh("a", "exit 1"), ps("b", ["exit 0"]))

        assert statuses(run_document(doc(*steps), {}, windows)) == ["Skipped", "Success"]

    def test_its_preconditions_hold(self, windows: CheckedHost, host: HereHost) -> None:
        only = {"precondition": {"StringEquals": ["platformType", "Windows"]}}
        document = doc(ps("a", ["exit 0"]) | only)

        assert statuses(run_document(document, {}, windows)) == ["Success"]
        assert statuses(run_document(document, {}, host)) == ["Skipped"]

    @pytest.mark.parametrize(("code", "reboots"), [(3010, 1), (194, 0)])
    def test_3010_restarts_it_and_runs_the_step_again(self, code: int, reboots: int) -> None:
        said = [Ran(code, "one\n", ""), Ran(0, "two\n", "")]
        restarted = []

        class Scripted(CheckedHost):
            def execute(self, argv: Any, **how: Any) -> Ran:
                return said.pop(0)

            def reboot(self) -> None:
                restarted.append(self.instance_id)

        document = doc(ps("a", ["exit 0"]))
        [outcome] = run_document(document, {}, Scripted("i-1", platform="Windows"))

        assert len(restarted) == reboots
        assert outcome.status == ("Success" if reboots else "Failed")


class TestCheckedHost:
    """The host that runs nothing, and says so."""

    def test_every_document_reaches_its_sentinel_without_running(
        self, document: dict[str, Any]
    ) -> None:
        values = {
            "Bake": ["bake-1"],
            "SourceType": ["S3"],
            "SourceInfo": ['{"path": "https://s3.eu-west-1.amazonaws.com/b/k"}'],
            "Sha256": ["0" * 64],
            "Directory": ["/srv/app"],
        }
        sent = {name: it for name, it in values.items() if name in document["parameters"]}
        system = dialect_of(document).platform
        outcomes = run_document(document, sent, CheckedHost("i-1", platform=system))

        assert set(statuses(outcomes)) == {"Success"}
        assert "not executed" in outcomes[-1].stdout
        assert outcomes[-1].stdout.endswith("ami-bakery: bake-1 done\n")

    def test_a_syntax_error_fails_all_the_same(self) -> None:
        [outcome] = run_document(doc(sh("a", "if true; then\necho x")), {}, CheckedHost("i-1"))

        assert outcome.status == "Failed"
        assert outcome.stderr

    def test_a_script_of_another_interpreter_is_not_judged_by_sh(self) -> None:
        script = "#!/usr/bin/env python3\nif True:\n  print(')')"
        [outcome] = run_document(doc(sh("a", script)), {}, CheckedHost("i-1"))

        assert outcome.status == "Success"

    def test_powershell_is_held_against_its_grammar_and_not_run(self) -> None:
        right = ps("a", ["if ($true) {", "exit 1 }"])
        wrong = ps("b", ["if ($true) {", "exit 1"])
        first, second = run_document(doc(right, wrong), {}, CheckedHost("i-1"))
        assert (first.status, second.status) == ("Success", "Failed")
        assert first.stdout == "not executed: 2 lines checked (PowerShell never runs here)\n"
        assert "line 2" in second.stderr
