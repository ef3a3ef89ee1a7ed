"""Compares what two overlays made of the same root."""

import difflib
import hashlib
import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path


def touched(upper: Path) -> set[str]:
    """Every path that an overlay added, changed or removed."""
    paths = set()
    for folder, folders, files in os.walk(upper):
        for name in (*folders, *files):
            paths.add(str((Path(folder) / name).relative_to(upper)))
    return paths


def state(root: Path, path: str) -> tuple[object, ...]:
    """What a path is: nothing, a folder, a link, a file of that content."""
    try:
        found = os.lstat(root / path)
    except (FileNotFoundError, NotADirectoryError):
        return ("nothing",)
    kind = stat.S_IFMT(found.st_mode)
    facts = (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid)
    if stat.S_ISLNK(kind):
        return ("link", str((root / path).readlink()))
    if stat.S_ISREG(kind):
        return ("file", *facts, hashlib.sha256((root / path).read_bytes()).hexdigest())
    return ("folder" if stat.S_ISDIR(kind) else "special", *facts)


def fingerprint(root: Path, upper: Path, ignored: Sequence[str]) -> dict[str, tuple[object, ...]]:
    """The state of every path that an overlay touched."""
    pattern = re.compile("|".join(f"(?:{text})" for text in ignored))
    paths = (path for path in touched(upper) if not pattern.fullmatch(path))
    return {path: state(root, path) for path in paths}


def differences(
    one: Path, one_upper: Path, other: Path, other_upper: Path, allowed: Sequence[str]
) -> Iterator[str]:
    """Paths that differ between two roots over the same base, but for the allowed patterns."""
    pattern = re.compile("|".join(f"(?:{text})" for text in allowed) or "(?!)")
    for path in sorted(touched(one_upper) | touched(other_upper)):
        if pattern.fullmatch(path):
            continue
        here, there = state(one, path), state(other, path)
        if here != there:
            yield f"{path}: {here} instead of {there}{_lines(one / path, other / path)}"


def _lines(here: Path, there: Path) -> str:
    """How two small text files differ."""
    try:
        wanted, found = there.read_text().splitlines(), here.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return ""
    lines = list(difflib.unified_diff(wanted, found, lineterm="", n=0))
    return "".join(f"\n    {line}" for line in lines[2:20])
