"""Drops each cleaning line of the documents in turn and reports the drops that no test noticed.

    python -m tests.os.mutate [remove-opsworks-identity | generalize-linux] [jobs]

Takes some ten seconds per line, so it is not part of `make test-os`. Survivors are explained in
EXPLAINED, or they are holes. Exit code 1 when there is one that is neither.
"""

import contextlib
import copy
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from bakery.documents import script_of
from scripts.local.opsworks_past import PASTS
from scripts.local.runner import StepOutcome, aggregate, run_document
from scripts.local.sandbox import Sandbox
from tests.os import test_generalize, test_opsworks_past

DOCUMENTS = {
    path.stem: yaml.safe_load(path.read_text())
    for path in (Path(__file__).parents[2] / "documents").glob("*.yaml")
}
CLEANING = re.compile(
    r"^\s*(drop|drop_tree|wipe|settle|rewrite|remove_package|stop_service|end_processes|drop_empty"
    r"|rm|rmdir|userdel|passwd|deploy_keys|cloud-init clean|shred|empty|find .* -exec rm|: >"
    r"|printf .* >/etc|systemctl .*(stop|disable|daemon-reload)|journalctl)\b"
    r"|^\s*: >|cat \"/etc/\$file\""
)
PAST_HOSTS = ("ubuntu-16.04-chef-12", "amazon-linux-chef-11", "rhel-7-chef-12")

EXPLAINED: Mapping[str, str] = {
    "rm -f /run/ami-bakery-homes": "tidies a memory file system",
    'find "$tree" -xdev -type f -links 1': "overwrites blocks: not visible in files",
    "find /var/lib/amazon/ssm/Vault": "overwrites blocks: the rm beside it removes the files",
    "wipe /etc/aws/opsworks/instance-agent.yml": "overwrites blocks: its folder goes next",
    'systemctl stop "$timer"': "prepare-linux had stopped it; has a test of its own",
    "99-no-automatic-updates": "AptTimers=disable; has a test of its own",
    "random-seed": "systemd saves a new one at the shut-down",
    "cloud-init clean": "runs hooks; the rm beside it removes the same state",
    "rm -f /var/log/cloud-init.log": "cloud-init clean --logs removes them where it can",
    'rm -f "$tree"': "a link in place of a folder; has a test of its own",
    "opsworks-agent.service /etc/systemd/system/*.wants": "systemctl disable removes the link",
    "systemctl daemon-reload": "nothing on the disk",
    "drop_tree /tmp/opsworks": "generalize-linux empties /tmp",
    "usr-local-lib.conf": "Debian has the setting; has a test of its own",
    "stop_service awslogs": "nothing on the disk; the past has the files only",
    "stop_service ecs": "nothing on the disk; the past has the files only",
    "drop_empty /vol": "the past has data in it",
    "/var/lib/ami-bakery": "generalize-linux removes the folder",
}
"""Part of the line, and why no test of `survives` can see that it is gone."""


def mutants(stem: str) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Every document with one cleaning line replaced by `:`, if that is still a script."""
    lines = script_of(DOCUMENTS[stem]["mainSteps"][-1]).rstrip("\n").split("\n")
    for number, line in enumerate(lines):
        if not CLEANING.search(line):
            continue
        indent = line[: len(line) - len(line.lstrip())]
        tail = " ;;" if line.rstrip().endswith(";;") else ""
        changed = [*lines[:number], f"{indent}:{tail}", *lines[number + 1 :]]
        script = "\n".join(changed)
        if subprocess.run(["sh", "-n"], input=script, text=True, capture_output=True).returncode:
            continue
        document = copy.deepcopy(DOCUMENTS[stem])
        document["mainSteps"][-1]["inputs"]["runCommand"] = [script]
        yield number + 1, line.strip(), document


def survives(stem: str, document: Mapping[str, Any], clean: Mapping[str, Sandbox]) -> bool:
    """Whether everything that judges a host is content with what the mutant left."""

    def run(host: Sandbox, name: str, **parameters: str) -> list[StepOutcome]:
        sent = {key: [value] for key, value in {"Bake": "bake-1", **parameters}.items()}
        outcomes = run_document(document if name == stem else DOCUMENTS[name], sent, host)
        assert aggregate(outcomes) == ("Success", 0), outcomes[-1].stderr
        return outcomes

    try:
        if stem == "generalize-linux":
            for family in ("debian", "sysvinit"):
                _generalized(run, family)
        else:
            for name in PAST_HOSTS:
                past = PASTS[name]
                with test_opsworks_past.baked(run, past.family, past) as host:
                    left = list(test_opsworks_past.residues(past, host, clean[past.family]))
                    assert not left
    except AssertionError:
        return False
    return True


def _generalized(run: Any, family: str) -> None:
    with Sandbox.boot(family) as builder:
        test_generalize.make_identity(builder)
        run(builder, "prepare-linux")
        run(builder, "generalize-linux")
        run(builder, "verify-identity")
        builder.stop()
        test_generalize.inspect(builder)


def _original(stem: str) -> Any:
    def run(host: Sandbox, name: str, **parameters: str) -> list[StepOutcome]:
        sent = {key: [value] for key, value in {"Bake": "bake-1", **parameters}.items()}
        return run_document(DOCUMENTS[name], sent, host)

    return run


def main(stem: str = "remove-opsworks-identity", jobs: str = "2") -> int:
    """Report every survivor."""
    holes = total = 0
    with contextlib.ExitStack() as stack:
        clean = {
            family: stack.enter_context(test_opsworks_past.baked(_original(stem), family, None))
            for family in ("debian", "sysvinit")
        }
        pool = stack.enter_context(ThreadPoolExecutor(int(jobs)))
        found = [
            (number, line, pool.submit(survives, stem, document, clean))
            for number, line, document in mutants(stem)
        ]
        for number, line, judged in found:
            total += 1
            if not judged.result():
                continue
            reason = next((text for part, text in EXPLAINED.items() if part in line), "")
            holes += not reason
            print(f"{stem}:{number}: survived: {line}  [{reason or 'NOT EXPLAINED'}]", flush=True)
    print(f"{stem}: {total} lines dropped, {holes} survivors without an explanation")
    return 1 if holes else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
