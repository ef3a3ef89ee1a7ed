"""YAML as this project accepts it.

Stricter than YAML: no key twice, no key but text, no tags, and the plain scalars of YAML 1.2
only, so that `on` stays a text and `012` does not become ten.
"""

import re
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from bakery.texts import BIDI
from infra.loading.problems import FileProblem, YamlError

MAX_FILE_BYTES = 1024 * 1024
MAX_NODES = 20_000
"""After aliases are followed: a few lines of them can stand for billions of values."""

# Comments are for people, too: what looks like the end of one could be its middle.
_HIDDEN = re.compile(f"{yaml.reader.Reader.NON_PRINTABLE.pattern}|[{BIDI}]")
_PART = re.compile(r"[^.\[\]]+|\[\d+\]")
_MERGE = "tag:yaml.org,2002:merge"
_TEXT = "tag:yaml.org,2002:str"
_KINDS = ("str", "bool", "int", "float", "null", "seq", "map")
_PLAIN = {f"tag:yaml.org,2002:{kind}" for kind in _KINDS}

_REMEDIES = {
    "while parsing a flow mapping": "; inside { } put a text with , : ? or { } in quotes",
    "while parsing a flow sequence": "; inside [ ] put a text with , : ? or { } in quotes",
    "while parsing a block mapping": "; keys of one mapping begin in the same column",
    "while parsing a block collection": "; items of one list begin in the same column",
}
"""By what PyYAML was doing: what the writer most likely meant."""

At = tuple[str | int, ...]


@dataclass(frozen=True)
class Source:
    """The content of a file, and where in the file each part of it is."""

    file: Path
    content: Any
    lines: Mapping[At, int] = field(default_factory=dict)
    bare: Set[At] = frozenset()
    """Keys inside { } that have no value: most often the rest of a text with a comma."""

    def problem(self, path: str, message: str, line: int = 0) -> FileProblem:
        """A problem at ``path``, e.g. ``customize[2].shell``; at its parent if it is missing.

        ``line`` is one of the text there, from 1: exact for texts in a literal block (``|``).
        """
        at = (*parts(path), line - 1) if line else parts(path)
        while at and at not in self.lines:
            at = at[:-1]
        return FileProblem(self.file, self.lines.get(at, 1) if path else 0, path, message)

    def value(self, path: str) -> Any:
        """What the file has at ``path``; None if nothing."""
        found = self.content
        for part in parts(path):
            try:
                found = found[part]
            except (KeyError, IndexError, TypeError):
                return None
        return found


def parts(path: str) -> At:
    """``customize[2].shell`` as its keys and indices."""
    return tuple(int(p[1:-1]) if p[0] == "[" else p for p in _PART.findall(path))


class _Loader(yaml.SafeLoader):
    """SafeLoader with the core schema of YAML 1.2."""

    yaml_implicit_resolvers: dict[str, Any] = {}


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("merge", r"<<", "<"),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}",
        re.compile(rf"(?:{_pattern})\Z"),
        ["" if character == "\0" else character for character in _first],
    )


def load_yaml(path: Path) -> Any:
    """The plain data in a YAML file; raises YamlError with every problem, each with its line."""
    return read(path).content


def read(path: Path) -> Source:
    """The content of a YAML file with the line of each part; raises YamlError."""
    loader = _Loader(_text(path))
    try:
        node = loader.get_single_node()
        if node is None:
            raise _error(path, 0, "is empty; write it, or remove the file")
        if problems := list(_node_problems(node)):
            raise YamlError(FileProblem(path, *problem) for problem in problems)
        lines: dict[At, int] = {}
        _note_lines(node, (), lines)
        bare = frozenset(_bare_keys(node, ()))
        return Source(path, loader.construct_document(node), lines, bare)
    except yaml.MarkedYAMLError as error:
        raise _from_yaml(path, error) from None
    except RecursionError:
        raise _error(path, 0, "is nested too deeply; flatten it") from None
    except (yaml.YAMLError, ValueError) as error:
        raise _error(path, 0, f"is not YAML: {error}") from None
    finally:
        loader.dispose()


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _error(path, 0, f"cannot be read: {error.strerror or error}") from None
    if len(content) > MAX_FILE_BYTES:
        raise _error(path, 0, f"has {len(content)} bytes; more than {MAX_FILE_BYTES} are not read")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise _error(path, line, "is not UTF-8 text; save it in that encoding") from None
    for character in _HIDDEN.finditer(text):
        line = text[: character.start()].count("\n") + 1
        shown = f"U+{ord(character.group()):04X}"
        raise _error(path, line, f"the control character {shown} is not allowed; remove it")
    return text


def _error(path: Path, line: int, message: str) -> YamlError:
    return YamlError([FileProblem(path, line, "", message)])


def _from_yaml(path: Path, error: yaml.MarkedYAMLError) -> YamlError:
    mark = error.problem_mark or error.context_mark
    if "quoted scalar" in (error.context or "") and error.context_mark:
        mark = error.context_mark  # where the quote is, not where the file ends
    line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
    return _error(path, line, _explained(error, column))


def _explained(error: yaml.MarkedYAMLError, column: int) -> str:
    """PyYAML's message in the words of somebody who writes a recipe, with the remedy."""
    problem = error.problem or error.context or "is not YAML"
    context = error.context or ""
    if r"'\t'" in problem:
        return f"column {column} is a tab; YAML wants spaces for indentation, replace it"
    if "but found another document" in problem:
        return "a second document begins here; keep one per file and remove the '---'"
    if "mapping values are not allowed" in problem:
        return f"column {column} is a colon inside of a text; put the text in quotes"
    if "cannot start any token" in problem:
        return f"column {column}: a text cannot begin so; put it in quotes"
    if problem.endswith("end of stream") and "quoted scalar" in context:
        return f"the quote that opens in column {column} is never closed; close it"
    if context.startswith("while scanning an alias"):
        return f"column {column}: a text that begins with * must be in quotes"
    remedy = _REMEDIES.get(context, "")
    shown = f" {context}" if context and context != problem else ""
    return f"is not YAML: {problem}{shown} (column {column}){remedy}"


def _node_problems(node: yaml.Node) -> Iterator[tuple[int, str, str]]:
    """Line, path and message of all that YAML allows and this project does not."""
    if (size := _size(node, {}, set())) is None:
        yield _line(node), "", "an alias stands for a part that contains it; write the part out"
        return
    if size > MAX_NODES:
        yield 0, "", f"stands for more than {MAX_NODES} values; use fewer aliases"
        return
    yield from _walk(node, "")


def _size(node: yaml.Node, known: dict[int, int], open_: set[int]) -> int | None:
    """Number of values that a node stands for once aliases are followed; None for a circle."""
    if id(node) in open_:
        return None
    if id(node) not in known:
        open_.add(id(node))
        sizes = [_size(child, known, open_) for child in _children(node)]
        open_.discard(id(node))
        if any(size is None for size in sizes):
            return None
        known[id(node)] = 1 + sum(size or 0 for size in sizes)
    return known[id(node)]


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [child for pair in node.value for child in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _walk(node: yaml.Node, path: str) -> Iterator[tuple[int, str, str]]:
    if node.tag not in _PLAIN:
        yield _line(node), path, f"the tag {node.tag} is not known here; write plain values"
    elif isinstance(node, yaml.MappingNode):
        yield from _mapping_problems(node, path)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _walk(item, f"{path}[{index}]")


def _mapping_problems(node: yaml.MappingNode, path: str) -> Iterator[tuple[int, str, str]]:
    seen: dict[str, int] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag not in (_MERGE, _TEXT):
            shown = key.value if isinstance(key, yaml.ScalarNode) else "a list or mapping"
            yield _line(key), path, f"the key {shown} is not text; put it in quotes"
            continue
        name = str(key.value)
        inner = f"{path}.{name}" if path else name
        if name in seen:
            yield _line(key), inner, f"is there twice, first in line {seen[name]}; keep one of them"
        seen.setdefault(name, _line(key))
        yield from _walk(value, path if key.tag == _MERGE else inner)


def _note_lines(node: yaml.Node, at: At, lines: dict[At, int]) -> None:
    lines.setdefault(at, _line(node))
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.tag != _MERGE:
                lines[(*at, key.value)] = _line(key)
                _note_lines(value, (*at, key.value), lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _note_lines(item, (*at, index), lines)
    elif isinstance(node, yaml.ScalarNode) and node.style == "|":
        for index in range(str(node.value).count("\n") + 1):
            lines[(*at, index)] = _line(node) + 1 + index


def _bare_keys(node: yaml.Node, at: At) -> Iterator[At]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if node.flow_style and value.value == "" and value.style is None:
                yield (*at, key.value)
            yield from _bare_keys(value, (*at, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _bare_keys(item, (*at, index))


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
