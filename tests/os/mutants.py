"""Documents with one deletion less: a command that removes something, or one of its paths."""

import copy
import fnmatch
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bakery.documents import script_of

_WORD = r"""(?:"[^"]*"|'[^']*'|>&\d|[^;|&"'])*"""
_COMMAND = re.compile(
    r"(?:^\s*|(?<=; )|(?<=&& )|(?<=\|\| )|(?<=then )|(?<=do )|(?<=\) )|(?<=\{ ))"
    rf"(?P<command>[a-z:\"]{_WORD})"
)
_REMOVES = re.compile(
    r"(drop|drop_tree|drop_empty|wipe|settle|rewrite|empty|remove_package|remove_user|stop_service"
    r"|end_processes|deploy_keys|rm|rmdir|shred|userdel|groupdel|passwd|swapoff|ldconfig|chkconfig"
    r"|update-rc\.d|journalctl -q|dpkg -P|rpm -e|ln|initctl stop)\b"
    r"|kill |find .*-exec (rm|shred)|systemctl .*(stop|disable|daemon-reload|reset-failed)"
    r"|\"/etc/init\.d/|cloud-init clean \$|(apt-get|dnf|yum) -q clean|: >|cat \"/etc/\$file\""
    r"|printf .* >/etc/|DEBIAN_FRONTEND|find /var/log"
)
_LISTS = re.compile(r"(drop|drop_tree|drop_empty|wipe|rm|deploy_keys)\b")
_LOOP = re.compile(r"^\s*for (?!trace|signal|second)\w+ in (?P<list>[^;]*); do")
_ARGUMENT = re.compile(r'(?<= )(?![->12])(?:"[^"]*"|[^\s"])+')
_NAME = re.compile(r"-name (?P<name>'[^']+'|[\w.]+) -o (?=-name)")
_FIRST_PATH = re.compile(r"(?<=[ >])/[^\s\"]+")
_VARIABLE = re.compile(r"\$\{\w+[^}]*\}|\$\w+")


@dataclass(frozen=True)
class Mutant:
    """A deletion that is left out: the script from `start` to `end`, replaced."""

    line: int
    text: str
    start: int
    end: int
    instead: str
    path: str = ""
    """What stays on the disk because of it, if that can be read from the script."""

    def seen_in(self, residues: Sequence[str]) -> bool:
        """Whether something that was found left over has this path."""
        pattern = fnmatch.translate(self.path.lstrip("/"))[4:-3]
        found = re.compile(rf"(?:^|[/ ]){pattern}(?![\w.-])")
        return any(found.search(line) for line in residues)

    def nests(self, other: "Mutant") -> bool:
        """Whether one path may be, or lie below, the other: one deletion would hide the other."""
        if self.path.startswith("/") and other.path.startswith("/"):
            paths = (re.split(r"[*?\[]", path)[0].rstrip("/") for path in (self.path, other.path))
            one, two = (f"{path}/" for path in paths)
            return one.startswith(two) or two.startswith(one)
        one, two = self.path.lstrip("*"), other.path.lstrip("*")
        return one.endswith(two) or two.endswith(one)


def mutants(document: Mapping[str, Any]) -> Iterator[Mutant]:
    """One for each command that removes something, and for each path of those with several."""
    script = script_of(document["mainSteps"][-1])
    offset = 0
    for number, line in enumerate(script.split("\n"), 1):
        if not line.lstrip().startswith("#"):
            for found in (*_commands(line), *_loops(line)):
                moved = replace(
                    found, line=number, start=found.start + offset, end=found.end + offset
                )
                if _parses(mutated_script(script, [moved])):
                    yield moved
        offset += len(line) + 1


def mutated(document: Mapping[str, Any], some: Sequence[Mutant]) -> dict[str, Any]:
    """The document without these deletions."""
    changed: dict[str, Any] = copy.deepcopy(dict(document))
    script = mutated_script(script_of(document["mainSteps"][-1]), some)
    changed["mainSteps"][-1]["inputs"]["runCommand"] = [script.rstrip("\n")]
    return changed


def mutated_script(script: str, some: Sequence[Mutant]) -> str:
    """The script without these deletions; they do not overlap."""
    for it in sorted(some, key=lambda mutant: -mutant.start):
        script = script[: it.start] + it.instead + script[it.end :]
    return script


def batches(some: Sequence[Mutant]) -> list[list[Mutant]]:
    """Mutants that can be judged together, because none hides another."""
    found: list[list[Mutant]] = []
    for mutant in some:
        for batch in found:
            if not any(mutant.nests(other) for other in batch):
                batch.append(mutant)
                break
        else:
            found.append([mutant])
    return found


def _commands(line: str) -> Iterator[Mutant]:
    for found in _COMMAND.finditer(line):
        command = found["command"].rstrip().removesuffix(" }")
        if not _REMOVES.match(command):
            continue
        start = found.start("command")
        arguments = list(_ARGUMENT.finditer(command)) if _LISTS.match(command) else []
        names = list(_NAME.finditer(command)) if command.startswith("find") else []
        if len(arguments) > 1 or len(names) > 1:
            # Each of them counts; all of them together prove nothing more.
            yield from _without_each(arguments, start, f"{command.split()[0]} … {{}} …")
            yield from _without_each(names, start, "find … {} …")
            continue
        first = _FIRST_PATH.search(command)
        path = _path(first[0]) if first and not first[0].startswith("/dev/") else ""
        yield Mutant(0, command, start, start + len(command), ":", path)


def _loops(line: str) -> Iterator[Mutant]:
    if found := _LOOP.search(line):
        arguments = list(_ARGUMENT.finditer(f" {found['list']}"))
        yield from _without_each(arguments, found.start("list") - 1, "for … in … {} …")


def _without_each(found: Sequence[re.Match[str]], start: int, text: str) -> Iterator[Mutant]:
    """A mutant for each of several words; what a single one does is the whole command's."""
    for it in found if len(found) > 1 else ():
        name = it.groupdict().get("name")
        path = _path(f"*/log*/{name}" if name else it[0])
        shown = text.format(name or it[0])
        # A bare word says nothing by itself: what is left may have it for other reasons.
        path = path if path.startswith(("/", "*", ".")) else ""
        yield Mutant(0, shown, start + it.start(), start + it.end(), "", path)


def _path(word: str) -> str:
    """The pattern of a path in a script: what a variable holds may be anything."""
    return _VARIABLE.sub("*", word.replace('"', "").replace("'", "")).replace("**", "*")


def _parses(script: str) -> bool:
    checked = subprocess.run(["sh", "-n"], input=script, text=True, capture_output=True)
    return checked.returncode == 0
