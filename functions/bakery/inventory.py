"""What is in an image: its packages, and what has changed since another image.

Pure. ``documents/report-packages.yaml`` prints what ``read_report`` reads; ``RecordInventory``
keeps it in S3 as an ``Inventory``, which the command line reads back.
"""

import gzip
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from bakery import versions
from bakery.problems import one_line

PREFIX: Final = "inventories/"
"""Of the keys of all inventories."""

MAX_SUMMARY: Final = 240
"""Characters of a summary: it travels in the execution's state, and must fit into a line."""

_NAMED = 3
"""How many changes a summary names."""

_TELLING = (
    *("kernel", "linux", "openssl", "glibc", "gnutls28", "openssh", "sudo", "systemd", "pam"),
    *("curl", "ca-certificates", "amazon-ssm-agent", "cloud-init"),
)
"""Source packages that people ask about first, the most telling first."""

_SOURCE_RPM = re.compile(r"-[^-]+-[^-]+[.]src[.]rpm$")


class IncompleteReportError(Exception):
    """A part of the report is missing; what is there must not be taken for the whole."""


class FailedReportError(Exception):
    """The report is whole, and says that packages could not be listed."""


class UnreadableInventoryError(Exception):
    """What is kept as an inventory is none."""


class _Part(BaseModel):
    # Another release may have added something.
    model_config = ConfigDict(frozen=True, extra="ignore")


class Package(_Part):
    """One installed package."""

    kind: str
    """``deb`` or ``rpm``; on Windows ``program`` or ``update``."""
    name: str
    version: str
    """As dpkg writes it, or ``epoch:version-release`` of rpm, without an epoch that is not set."""
    architecture: str
    source: str = ""
    """Name of the source package that it was built from."""
    vendor: str = ""
    """Who built it, where the package says so."""

    @property
    def place(self) -> tuple[str, str, str]:
        """What it shares with its other versions, and with no other package."""
        return self.kind, self.name, self.architecture


class System(_Part):
    """The operating system of an image, as one of its instances told it."""

    id: str = ""
    """ID of os-release, e.g. ``amzn``."""
    version: str = ""
    name: str = ""
    kernel: str = ""
    machine: str = ""


class Report(_Part):
    """What ``report-packages`` said."""

    system: System
    packages: tuple[Package, ...]


class Source(_Part):
    """The image that a bake started from."""

    id: str
    name: str = ""


class Inventory(_Part):
    """What is in an image, and what it was made of."""

    format: int = 1
    recipe: str
    bake: str
    region: str
    image_id: str
    image_name: str
    created: str
    """When CreateImage began, ISO 8601."""
    size_gib: int
    """Of the root volume."""
    base_image: Source
    fingerprint: str = ""
    """The value of the image's tag, see ``bakery.fingerprint``."""
    system: System
    packages: tuple[Package, ...]


def key(recipe: str, image_id: str) -> str:
    """Where in the bucket the inventory of an image is."""
    return f"{PREFIX}{recipe}/{image_id}.json.gz"


def pack(inventory: Inventory) -> bytes:
    """The inventory as it is kept: the same bytes for the same inventory."""
    return gzip.compress(inventory.model_dump_json().encode(), mtime=0)


def unpack(content: bytes) -> Inventory:
    """The inventory that is kept as ``content``; raises UnreadableInventoryError."""
    try:
        found = Inventory.model_validate_json(gzip.decompress(content))
    except (OSError, EOFError, zlib.error, ValidationError) as error:
        raise UnreadableInventoryError(str(error).partition("\n")[0]) from error
    if found.format != 1:
        raise UnreadableInventoryError(f"its format is {found.format}; a newer bakery reads it")
    return found


# --- reading a report --------------------------------------------------------------------------


def read_report(output: str, *, sentinel: str) -> Report:
    """The report in the output of ``report-packages``.

    The agent sends a part again when its answer was lost, so a package that comes twice counts
    once. Raises IncompleteReportError when the last line or one of the packages is missing, and
    FailedReportError when the host says that it could not list them.
    """
    # Not splitlines: it also breaks at separators that a name may contain.
    lines = output.replace("\r\n", "\n").split("\n")
    if sentinel not in lines:
        raise IncompleteReportError(f"the line '{sentinel}' is missing")
    facts: dict[str, str] = {}
    packages: set[Package] = set()
    for line in lines:
        kind, *fields = line.split("\t")
        if kind == "package" and len(fields) == 6:
            packages.add(_package(*fields))
        elif len(fields) == 1:
            facts[kind] = fields[0]
    announced = facts.get("packages", "")
    if announced != str(len(packages)):
        raise IncompleteReportError(f"{len(packages)} of {announced or 'some'} packages are there")
    if problem := facts.get("problem"):
        raise FailedReportError(one_line(problem))
    system = System(
        id=facts.get("os-id", ""),
        version=facts.get("os-version", ""),
        name=facts.get("os-name", ""),
        kernel=facts.get("kernel", ""),
        machine=facts.get("machine", ""),
    )
    return Report(system=system, packages=tuple(sorted(packages, key=_order)))


def _package(kind: str, name: str, version: str, arch: str, source: str, vendor: str) -> Package:
    return Package(
        kind=kind,
        name=name,
        version=version,
        architecture=_known(arch),
        source=_SOURCE_RPM.sub("", _known(source)),
        vendor=_known(vendor),
    )


def _known(value: str) -> str:
    """rpm writes ``(none)`` for what a package does not say."""
    return "" if value == "(none)" else value


def _order(package: Package) -> tuple[Any, ...]:
    return (*package.place, versions.key(package.kind, package.version))


# --- comparing two inventories -----------------------------------------------------------------


@dataclass(frozen=True)
class Change:
    """A package that two images have in other versions, or that one of them has not.

    Of a package that is installed in several versions, as kernels are, all are named.
    """

    package: Package
    """Of the newer image, or of the older one where it was removed."""
    old: str
    """Empty: it was added."""
    new: str
    """Empty: it was removed."""
    downgraded: bool = False

    def __str__(self) -> str:
        if not self.old:
            return f"{self.package.name} {self.new} added"
        if not self.new:
            return f"{self.package.name} {self.old} removed"
        return f"{self.package.name} {self.old} to {self.new}"


@dataclass(frozen=True)
class Difference:
    """What has changed from one image to another, by name."""

    updated: tuple[Change, ...] = ()
    """Downgraded ones as well."""
    added: tuple[Change, ...] = ()
    removed: tuple[Change, ...] = ()

    def __iter__(self) -> Iterator[Change]:
        return iter((*self.updated, *self.added, *self.removed))

    @property
    def downgraded(self) -> int:
        return sum(change.downgraded for change in self.updated)


def difference(old: Iterable[Package], new: Iterable[Package]) -> Difference:
    """What ``new`` has that ``old`` has not, the other way round, and in other versions."""
    before, after = _by_place(old), _by_place(new)
    updated = [
        _updated(before[place], after[place])
        for place in sorted(before.keys() & after.keys())
        if _versions(before[place]) != _versions(after[place])
    ]
    return Difference(
        updated=tuple(updated),
        added=tuple(
            Change(after[place][-1], "", _versions(after[place]))
            for place in sorted(after.keys() - before.keys())
        ),
        removed=tuple(
            Change(before[place][-1], _versions(before[place]), "")
            for place in sorted(before.keys() - after.keys())
        ),
    )


def _by_place(packages: Iterable[Package]) -> dict[tuple[str, str, str], list[Package]]:
    """The packages by what their versions share, the newest version last."""
    found: dict[tuple[str, str, str], list[Package]] = {}
    for package in sorted(packages, key=_order):
        found.setdefault(package.place, []).append(package)
    return found


def _versions(packages: Iterable[Package]) -> str:
    return ", ".join(package.version for package in packages)


def _updated(before: list[Package], after: list[Package]) -> Change:
    newest = (_order(before[-1]), _order(after[-1]))
    return Change(after[-1], _versions(before), _versions(after), downgraded=newest[1] < newest[0])


# --- saying it in one line ---------------------------------------------------------------------


def first(report: Report) -> str:
    """The one line about an image that there is nothing to compare with."""
    system = one_line(report.system.name) or "an unknown system"
    return _cut(f"{_count(report.packages)} of {system}")


def summary(old: Inventory, new: Report) -> str:
    """The one line about what has changed, e.g. ``17 updated, 2 added; openssl 1-1 to 1-2``.

    At most MAX_SUMMARY characters: the most telling changes come first, and those that do not fit
    are left to ``bakery diff``.
    """
    found = difference(old.packages, new.packages)
    kernel = _kernel(old.system, new.system)
    counts = {
        "updated": len(found.updated) - found.downgraded,
        "downgraded": found.downgraded,
        "added": len(found.added),
        "removed": len(found.removed),
    }
    said = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    if not said:
        said = f"no package of {len(new.packages)} has changed"
    for text in map(one_line, (*kernel, *map(str, _telling(found, room=_NAMED - len(kernel))))):
        separator = ", " if ";" in said else "; "
        if len(said) + len(separator) + len(text) <= MAX_SUMMARY:
            said += separator + text
    return _cut(said)


def _kernel(old: System, new: System) -> tuple[str, ...]:
    """The kernel that runs, which a name of a package tells in some distributions only."""
    if not old.kernel or not new.kernel or old.kernel == new.kernel:
        return ()
    return (f"kernel {old.kernel} to {new.kernel}",)


def _telling(found: Difference, *, room: int) -> list[Change]:
    """The changes that people ask about first, one for each source package."""
    chosen: dict[str, Change] = {}
    for change in sorted(found, key=_rank):
        chosen.setdefault(change.package.source or change.package.name, change)
    return list(chosen.values())[:room]


def _rank(change: Change) -> tuple[bool, int, bool, str]:
    package = change.package
    source = package.source or package.name
    known: Mapping[str, int] = {name: place for place, name in enumerate(_TELLING)}
    place = known.get(source, known.get(package.name, len(known)))
    # Of the packages of one source the one that has its name says it best.
    return not change.downgraded, place, package.name != source, package.name


def _count(packages: tuple[Package, ...]) -> str:
    return f"{len(packages)} package{'' if len(packages) == 1 else 's'}"


def _cut(text: str) -> str:
    return text if len(text) <= MAX_SUMMARY else f"{text[: MAX_SUMMARY - 1]}…"
