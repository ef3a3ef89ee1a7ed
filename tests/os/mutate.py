"""Leaves out each deletion of the cleaning documents in turn and reports what no test noticed.

    python -m tests.os.mutate [remove-opsworks-identity | generalize-linux] [jobs]

A deletion is a command that removes something, or one path of a command or loop that names
several. Deletions whose paths do not touch are left out together: each is noticed when what is left
names its path. The others, and those that were not noticed, are left out one by one. Survivors are
explained in EXPLAINED, or they are holes; exit code 1 when there is one.
"""

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from scripts.local.opsworks_past import PASTS
from scripts.local.runner import StepOutcome, aggregate, run_document
from scripts.local.sandbox import Sandbox
from tests.os import test_generalize, test_opsworks_past
from tests.os.mutants import Mutant, batches, mutants, mutated

DOCUMENTS = {
    path.stem: yaml.safe_load(path.read_text())
    for path in (Path(__file__).parents[2] / "documents").glob("*.yaml")
}
HOSTS: Mapping[str, Sequence[str]] = {
    "remove-opsworks-identity": (
        *("ubuntu-16.04-chef-12", "amazon-linux-chef-11"),
        *("rhel-7-chef-12", "ubuntu-14.04-chef-12"),
    ),
    "generalize-linux": ("debian", "sysvinit"),
}
"""Hosts on which a document is judged; a deletion is noticed when it is missed on one of them."""

EXPLAINED: Mapping[str, str] = {
    'rm -f "$secret"': "only where there is no shred, or where it fails",
    "rm -f /run/ami-bakery-homes": "tidies a memory file system",
    "/run/ami-bakery-logs": "tidies a memory file system",
    "find /var/lib/amazon/ssm/Vault": "overwrites blocks; the rm beside it removes the files",
    "/var/lib/systemd/random-seed": "systemd saves a new one at the shut-down",
    "/var/lib/urandom/random-seed": "the init script saves a new one at the shut-down",
    'shred -n 1 -u "$secret"': "overwrites blocks; the rm beside it removes the file",
    'find "$tree" -xdev': "overwrites blocks; the rm beside it removes the tree",
    "wipe /etc/aws/opsworks/instance-agent.yml": "overwrites blocks; its folder goes next",
    'rm -f "$tree"': "a link in place of a folder; has a test of its own",
    "initctl stop": "there is no Upstart here; what it runs is ended all the same",
    "systemctl -q disable opsworks-agent": "the link is removed by name as well",
    "/etc/systemd/system/*.wants/opsworks-agent.service": "systemctl disable removes it as well",
    "/etc/rc?.d/": "update-rc.d removes these links as well",
    "/lib/systemd/system/opsworks-agent.service": "/lib and /usr/lib are one folder here",
    "systemctl daemon-reload": "nothing on the disk",
    "stop_service awslogs": "nothing on the disk; has a test of its own",
    "stop_service ecs": "nothing on the disk; has a test of its own",
    "systemctl reset-failed": "nothing on the disk",
    "/tmp/opsworks-": "generalize-linux empties /tmp and /var/tmp",
    "usr-local-lib.conf": "Debian has the setting; has a test of its own",
    "ldconfig": "the setting stays, under another name",
    '"/var/spool/mail/$name"': "a link to /var/mail here",
    "for … in … aws …": "userdel removes a user's own group as well",
    "drop_empty … /opt/aws …": "the applications have files in it",
    "drop_empty … /etc/apache2/ssl …": "the applications have files in it",
    "drop_empty /vol": "the applications have files in it",
    "/var/lib/ami-bakery": "generalize-linux removes the folder",
}
"""Part of the text of a mutant, and why no test can see that the deletion is gone."""


@dataclass
class Judge:
    """Runs a document with deletions left out, and says what is left over."""

    stem: str
    clean: dict[str, Sandbox] = field(default_factory=dict)

    def residues(self, some: Sequence[Mutant], host: str) -> list[str]:
        """Everything that is wrong after the mutated document, whoever says so."""
        document = mutated(DOCUMENTS[self.stem], some)
        said: list[str] = []

        def run(sandbox: Sandbox, name: str, **parameters: str) -> list[StepOutcome]:
            sent = {key: [value] for key, value in {"Bake": "bake-1", **parameters}.items()}
            outcomes = run_document(
                document if name == self.stem else DOCUMENTS[name], sent, sandbox
            )
            if name == "verify-identity":
                said.extend(it for it in outcomes[-1].stdout.splitlines() if "\tfail\t" in it)
            else:
                assert aggregate(outcomes) == ("Success", 0), outcomes[-1].stderr
            return outcomes

        try:
            found = list(self._left(run, host))
        except AssertionError as error:
            return [*said, f"broken: {error}"]
        return said + found

    def _left(self, run: Any, host: str) -> Iterator[str]:
        if self.stem == "generalize-linux":
            with Sandbox.boot(host, cloud_init=False) as builder:
                test_generalize.make_identity(builder)
                run(builder, "prepare-linux")
                if host == "sysvinit":
                    test_generalize.before_clean(builder)
                    run(builder, "generalize-linux")
                else:
                    builder.sh("systemctl start apt-daily.timer apt-daily-upgrade.timer")
                    run(builder, "generalize-linux", AptTimers="disable")
                    yield from test_generalize.timers(builder, enabled=False)
                run(builder, "verify-identity")
                test_generalize.write_journal(builder)
                builder.stop()
                yield from test_generalize.left(builder)
            return
        past = PASTS[host]
        with test_opsworks_past.baked(run, past.family, past) as sandbox:
            yield from test_opsworks_past.residues(past, sandbox, self.clean[past.family])

    def noticed(self, mutant: Mutant) -> bool:
        """Whether leaving out this deletion alone is noticed on one of the hosts."""
        return any(self.residues([mutant], host) for host in HOSTS[self.stem])

    def unnoticed(self, batch: Sequence[Mutant]) -> list[Mutant]:
        """Those of a batch that nothing left over names."""
        found = [self.residues(batch, host) for host in HOSTS[self.stem]]
        whole = [lines for lines in found if not any("broken: " in line for line in lines)]
        return [it for it in batch if not any(it.seen_in(lines) for lines in whole)]


@contextlib.contextmanager
def judging(stem: str) -> Iterator[Judge]:
    """A judge, with the hosts that never knew OpsWorks to compare with."""
    judge = Judge(stem)
    with contextlib.ExitStack() as stack:
        if stem != "generalize-linux":

            def run(sandbox: Sandbox, name: str) -> list[StepOutcome]:
                return run_document(DOCUMENTS[name], {"Bake": ["bake-1"]}, sandbox)

            for family in ("debian", "sysvinit"):
                baked = test_opsworks_past.baked(run, family, None)
                judge.clean[family] = stack.enter_context(baked)
        for host in HOSTS[stem]:
            whole = judge.residues([], host)
            assert whole == [], f"{host} fails without any mutant: {whole}"
        yield judge


def explanation(mutant: Mutant) -> str:
    """Why nothing can notice it; empty when that is not known."""
    return next((why for part, why in EXPLAINED.items() if part in mutant.text), "")


def main(stem: str, jobs: int) -> int:
    """Report every survivor; the number of those that nothing explains."""
    every = list(mutants(DOCUMENTS[stem]))
    together = batches([it for it in every if it.path])
    with judging(stem) as judge, ThreadPoolExecutor(jobs) as pool:
        missed = [it for batch in pool.map(judge.unnoticed, together) for it in batch]
        left = [it for it in every if not it.path] + missed
        alone = [it for it in left if not explanation(it)]
        verdicts = list(pool.map(judge.noticed, alone))
    holes = [it for it, noticed in zip(alone, verdicts, strict=True) if not noticed]
    explained = [it for it in left if explanation(it)]
    survivors = sorted([*holes, *explained], key=lambda it: it.start)
    for it in survivors:
        print(f"{stem}:{it.line}: survived: {it.text}\n    {explanation(it) or 'NOT EXPLAINED'}")
    print(
        f"{stem}: {len(every)} deletions left out, {len(every) - len(survivors)} noticed, "
        f"{len(explained)} explained, {len(holes)} holes",
        flush=True,
    )
    return len(holes)


if __name__ == "__main__":
    stems = sys.argv[1:2] or list(HOSTS)
    wanted = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    sys.exit(1 if sum([main(stem, wanted) for stem in stems]) else 0)
