"""Which of two versions of a package is the newer one, as dpkg and rpm decide it.

Sources: Debian Policy, 5.6.12 "Version"; rpm, ``rpmvercmp`` and rpm-version(7).
"""

import re

Key = tuple[int, list[object], list[object]]
"""Of two keys of the same kind of package the greater one is the newer version's."""

_DEBIAN_PARTS = re.compile(r"(\D*)(\d*)")
_NOTHING: list[object] = [[0], 0]
_RPM_PARTS = re.compile(r"\d+|[a-zA-Z]+|~|\^")


def key(kind: str, version: str) -> Key:
    """What a version of a ``deb`` or ``rpm`` package is ordered by."""
    epoch, colon, rest = version.partition(":")
    if not (colon and epoch.isdecimal()):
        epoch, rest = "0", version
    upstream, _, revision = rest.rpartition("-") if "-" in rest else (rest, "", "")
    part = _rpm if kind == "rpm" else _debian
    return int(epoch), part(upstream), part(revision)


def _debian(text: str) -> list[object]:
    """Texts and numbers in turn; where one text ends, the other one goes on after it."""
    found: list[object] = []
    for letters, digits in _DEBIAN_PARTS.findall(text):
        found += [[*map(_rank, letters), 0], int(digits or 0)]
    while found[-2:] == _NOTHING:  # no revision is as good as 0
        del found[-2:]
    return [*found, [0]]


def _rank(letter: str) -> int:
    """A tilde is before the end (0), letters come before all else."""
    if letter == "~":
        return -1
    return ord(letter) if letter.isalpha() else ord(letter) + 256


def _rpm(text: str) -> list[object]:
    """Numbers are newer than letters; a tilde is before the end, a caret right after it."""
    found: list[object] = []
    for part in _RPM_PARTS.findall(text):
        if part.isdecimal():
            found.append((4, int(part), ""))
        elif part in "~^":
            found.append((0 if part == "~" else 2, 0, ""))
        else:
            found.append((3, 0, part))
    return [*found, (1, 0, "")]
