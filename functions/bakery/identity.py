"""Whether two instances of one image are two: compares what ``report-identity`` printed on each.

Pure: the stage that tests an image runs the document on two instances and asks here. Comparing is
not enough by itself, because cloud-init renews host keys that an image still carries; that they are
gone is verify-identity's to prove, on the builder.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

HOST_KEY: Final = "ssh-host-key"
"""Begins the names of the facts about SSH host keys; a dash and the type of the key follow."""

REQUIRED: Final = (
    *("machine-id", "cloud-init-instance-id", "ssm-registration", "hostname"),
    HOST_KEY,
)
"""What every Linux instance must have; of host keys at least one."""

WINDOWS: Final = ("machine-sid", "machine-guid", "computer-name", "ssm-registration")
"""What every Windows instance must have."""

WITHOUT_SYSPREP: Final = ("machine-sid", "machine-guid", "computer-name", "rdp-certificate")
"""What instances of one Windows image share that was not generalized with Sysprep."""

UNUSED: Final = "unused"
"""In place of a machine-id: without systemd and dbus nothing makes one, and nothing asks for it."""


class UnreadableReportError(Exception):
    """What an instance printed is not a whole report; nothing may be concluded from it."""


@dataclass(frozen=True)
class Report:
    """The facts that make an instance itself, by name; an empty value is one that it lacks."""

    instance: str
    facts: Mapping[str, str]


@dataclass(frozen=True)
class Finding:
    """One reason why two instances do not count as two."""

    fact: str
    text: str


@dataclass(frozen=True)
class Comparison:
    """What came out; two instances are two when nothing is shared and nothing is missing."""

    instances: tuple[str, str]
    shared: tuple[Finding, ...] = ()
    missing: tuple[Finding, ...] = ()
    kept: tuple[Finding, ...] = ()
    """Shared as well, and meant to be: told, and no failure."""

    @property
    def differ(self) -> bool:
        """Whether the two are two."""
        return not self.shared and not self.missing

    @property
    def cause(self) -> str:
        """Every finding, as the cause of a bake's failure; empty when there is none."""
        if self.differ:
            return ""
        found = "\n".join(f"- {it.fact}: {it.text}" for it in (*self.shared, *self.missing))
        return f"Instances {self.instances[0]} and {self.instances[1]} are not two:\n{found}"


def read_report(instance: str, stdout: str, *, sentinel: str) -> Report:
    """The report in a command's output.

    Raises UnreadableReportError when its last line is missing (a skipped step, output that was cut)
    or a line of it is not as the document writes it.
    """
    lines = stdout.splitlines()
    if not lines or lines[-1] != sentinel:
        raise UnreadableReportError(
            f"{instance} did not report its identity to the end: the line '{sentinel}' is missing "
            "from the output of report-identity"
        )
    facts: dict[str, str] = {}
    for line in lines:
        kind, *fields = line.split("\t")
        if kind != "identity":
            continue
        if len(fields) != 2 or fields[0] in facts:
            raise UnreadableReportError(f"{instance} reported a line that means nothing: {line!r}")
        facts[fields[0]] = fields[1].strip()
    return Report(instance, facts)


def compare(
    one: Report,
    other: Report,
    *,
    kept: Collection[str] = (),
    required: Collection[str] = REQUIRED,
) -> Comparison:
    """Name every fact that two instances share, or that one of them lacks.

    ``kept`` are facts that the recipe lets an image keep: ``hostname`` may then be the same.
    """
    found = {*one.facts, *other.facts, *required}
    if any(name.startswith(f"{HOST_KEY}-") for name in found):
        found.discard(HOST_KEY)
    names = sorted(found)
    shared = tuple(
        Finding(name, f"both have {one.facts[name]}")
        for name in names
        if _is_shared(one.facts.get(name, ""), other.facts.get(name, ""))
    )
    return Comparison(
        (one.instance, other.instance),
        shared=tuple(it for it in shared if it.fact not in kept),
        missing=tuple(
            Finding(name, f"{report.instance} has none")
            for name in names
            for report in (one, other)
            if not report.facts.get(name)
        ),
        kept=tuple(it for it in shared if it.fact in kept),
    )


def _is_shared(value: str, other: str) -> bool:
    return value == other and value not in ("", UNUSED)
