"""What a running host is: the report of ``inspect-host``, and what EC2 says of the instance.

Pure. ``documents/inspect-host.yaml`` prints what ``read`` reads.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from bakery.resources import Host, HostVolume

ASKED_BY: Final = "inspect"
"""Stands where a bake's name stands in the documents of a bake."""
SENTINEL: Final = f"ami-bakery: {ASKED_BY} done"

_USERS_AND_ORDERS = re.compile(
    r"/etc/((passwd|group|shadow|gshadow|subuid|subgid)-?|init\.d/\.depend\..*)"
)
"""Written anew whenever what they name is removed."""
_GENERALIZED = ("/etc/ssh/ssh_host_", "/var/lib/cloud/", "/tmp/", "/var/tmp/")
"""Begin what ``generalize-linux`` removes, of what may have a secret in it."""

_CRONS_OF_THE_SYSTEM = frozenset(
    ("0hourly", "anacron", "e2scrub_all", "mdadm", "php", "popularity-contest", "raid-check")
    + ("sysstat", "zfsutils-linux")
)


class IncompleteReportError(Exception):
    """A part of the report is missing; what is there must not be taken for the whole."""


@dataclass(frozen=True)
class Removal:
    """One thing that ``remove-opsworks-identity`` would remove."""

    keep: str
    """Name under which a recipe may keep it (``opsworks: {keep: …}``); empty: it may not."""
    kind: str
    """package, user, group, file, folder, link, or lines: a part of a file."""
    what: str
    detail: str = ""

    def takes(self, path: str) -> bool:
        """Whether that path is gone afterwards."""
        if self.kind == "folder":
            return path == self.what or path.startswith(f"{self.what}/")
        return self.kind in ("file", "link") and path == self.what


@dataclass(frozen=True)
class Stays:
    """What mentions OpsWorks, or the host, and is left because removing it could break the host."""

    what: str
    why: str


@dataclass(frozen=True)
class Application:
    """One that OpsWorks deployed, or that lies where it deployed them."""

    name: str
    kind: str
    source: str
    """git, svn, archive, s3 or other; empty if Chef's files do not tell."""
    address: str
    """Without user, password and signature."""
    revision: str
    directory: str
    there: bool
    """Whether the directory is."""


@dataclass(frozen=True)
class User:
    """Somebody who can log in."""

    name: str
    home: str
    opsworks: bool
    keys: int
    """How many public keys may log in as this user."""


@dataclass(frozen=True)
class Mount:
    """A file system in use; sizes in KiB, 0 where nobody asked."""

    device: str
    point: str
    type: str
    size: int
    free: int


@dataclass(frozen=True)
class Planned:
    """A line of fstab."""

    device: str
    point: str
    type: str
    options: tuple[str, ...]
    resolved: str
    """The device that it stands for now; ``missing``; or ``-`` where it names none."""


@dataclass(frozen=True)
class Disk:
    """A block device; its size in GiB."""

    device: str
    size: int
    model: str
    serial: str


@dataclass(frozen=True)
class Cookbooks:
    """Where a stack's own cookbooks came from."""

    source: str
    address: str
    revision: str


@dataclass(frozen=True)
class HostReport:
    """All that is told of a host."""

    facts: Mapping[str, str]
    removals: tuple[Removal, ...] = ()
    stays: tuple[Stays, ...] = ()
    layers: Mapping[str, str] = field(default_factory=dict)
    """Short name to name."""
    cookbooks: Cookbooks | None = None
    run_lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By event (setup, configure, deploy, …), the recipes that are not OpsWorks's own."""
    built_in: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By event, OpsWorks's own recipes, on Chef 11: nobody has them any more."""
    applications: tuple[Application, ...] = ()
    users: tuple[User, ...] = ()
    services: Mapping[str, str] = field(default_factory=dict)
    """Name to ``runs``, ``enabled`` or both."""
    crons: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    fstab: tuple[Planned, ...] = ()
    disks: tuple[Disk, ...] = ()
    secrets: tuple[str, ...] = ()
    """What verification would fail on: neither removed with OpsWorks nor by generalizing."""
    more: Mapping[str, int] = field(default_factory=dict)
    """By kind of line, how many did not fit into the report."""
    problems: tuple[str, ...] = ()

    @property
    def past(self) -> str:
        """The value of ``opsworks`` in a recipe: chef-11, chef-12 or none."""
        return self.chef if self.facts.get("opsworks") else "none"

    @property
    def chef(self) -> str:
        """chef-11 or chef-12: OpsWorks's; other: somebody else's; none."""
        told = self.facts.get("chef", "none")
        return told if told in ("chef-11", "chef-12", "other") else "none"

    @property
    def system(self) -> str:
        return self.facts.get("os-name") or "an unknown system"


@dataclass(frozen=True)
class Instance(Host):
    """What EC2 and Systems Manager say."""

    agent: str = ""
    """Version of the SSM agent; empty: the instance is not managed."""
    ping: str = ""
    """Whether that agent answers: Online, or not."""

    @property
    def windows(self) -> bool:
        return "windows" in self.platform.lower()

    @property
    def data_volumes(self) -> tuple[HostVolume, ...]:
        return tuple(it for it in self.volumes if it.device != self.root_device)


# --- reading the report --------------------------------------------------------------------------


def read(output: str) -> HostReport:
    """What ``inspect-host`` said; raises IncompleteReportError when its end is missing."""
    lines = output.replace("\r\n", "\n").split("\n")
    if SENTINEL not in lines:
        raise IncompleteReportError("the last line of the host's report is missing")
    told: dict[str, list[list[str]]] = {}
    for line in lines:
        kind, *fields = line.split("\t")
        if fields:
            told.setdefault(kind, []).append(fields)
    removals = tuple(_removals(_rows(told, "remove", 4)))
    return HostReport(
        facts={kind: rows[0][0] for kind, rows in told.items() if len(rows[0]) == 1},
        removals=removals,
        stays=tuple(_stays(_rows(told, "stays", 2), removals)),
        layers={row[0]: row[1] or row[0] for row in _rows(told, "layer", 2)},
        cookbooks=next((Cookbooks(*row) for row in _rows(told, "cookbooks", 3)), None),
        run_lists={row[0]: _list(row[1]) for row in _rows(told, "run-list", 2)},
        built_in={row[0]: _list(row[1]) for row in _rows(told, "built-in", 2)},
        applications=tuple(
            Application(row[0], row[1], row[2], row[3], row[4], row[5], there=row[6] == "yes")
            for row in _rows(told, "application", 7)
        ),
        users=tuple(
            User(row[0], row[2], opsworks=row[3] == "opsworks", keys=_number(row[4]))
            for row in _rows(told, "user", 5)
        ),
        services={row[0]: row[1] for row in _rows(told, "service", 2)},
        crons=tuple(_crons(_rows(told, "cron", 1), removals)),
        mounts=tuple(
            Mount(row[0], row[1], row[2], size=_number(row[3]), free=_number(row[4]))
            for row in _rows(told, "mount", 5)
        ),
        fstab=tuple(
            Planned(row[0], row[1], row[2], tuple(row[3].split(",")), resolved=row[4])
            for row in _rows(told, "fstab", 5)
        ),
        disks=tuple(
            Disk(row[0], _number(row[1]), row[2], row[3]) for row in _rows(told, "disk", 4)
        ),
        secrets=tuple(_left(_rows(told, "secret", 1), removals)),
        more={row[0]: _number(row[1]) for row in _rows(told, "more", 2)},
        problems=tuple(row[0] for row in _rows(told, "problem", 1)),
    )


def _rows(told: Mapping[str, list[list[str]]], kind: str, width: int) -> list[list[str]]:
    """The lines of a kind, each with so many fields: those of later releases may have more."""
    return [(row + [""] * width)[:width] for row in told.get(kind, [])]


def _removals(rows: Sequence[Sequence[str]]) -> Iterator[Removal]:
    for keep, kind, what, detail in rows:
        yield Removal("" if keep == "-" else keep, kind, what, detail)


def _stays(rows: Sequence[Sequence[str]], removals: Sequence[Removal]) -> Iterator[Stays]:
    """What mentions OpsWorks, but for what goes with it, or is edited."""
    edited = {it.what for it in removals if it.kind == "lines"}
    for what, why in rows:
        if what in edited or _USERS_AND_ORDERS.fullmatch(what):
            continue
        if not any(it.takes(what) for it in removals):
            yield Stays(what, why)


def _crons(rows: Sequence[Sequence[str]], removals: Sequence[Removal]) -> Iterator[str]:
    """Somebody's, that are still there on an instance of the image."""
    for path, *_ in rows:
        ours = path.rpartition("/")[2] in _CRONS_OF_THE_SYSTEM
        if not ours and not any(it.takes(path) for it in removals):
            yield path


def _left(rows: Sequence[Sequence[str]], removals: Sequence[Removal]) -> Iterator[str]:
    """Files with secrets that are still there when verification looks for them."""
    for path, *_ in rows:
        generalized = path.startswith(_GENERALIZED)
        if not generalized and not any(it.takes(path) for it in removals):
            yield path


def _list(text: str) -> tuple[str, ...]:
    """A list that the report may have cut: without the last, which is not whole then."""
    items = [item for item in text.removesuffix("...").split(",") if item]
    return tuple(items[:-1] if text.endswith("...") else items)


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0
