"""Every field of a model, found by walking its JSON schema, with a way to write just that field."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator
from pydantic import BaseModel

from bakery.recipe import Recipe

# What else an object needs, by the name of its model, so that one more field can be written in it.
# A model that has fields which it must have, and is not here, fails the walk.
NEEDED: dict[str, dict[str, Any]] = {
    "Recipe": {"description": "web tier", "base": {"ami": "ami-0123456789abcdef0"}},
    "ParameterBase": {"parameter": "/images/web"},
    "AmiBase": {"ami": "ami-0123456789abcdef0"},
    "SearchBase": {"search": {"owner": "self", "name": "web-*"}},
    "ImageSearch": {"owner": "self", "name": "web-*"},
    "RecipeBase": {"recipe": "golden"},
    "InstanceBase": {"instance": "i-0123456789abcdef0"},
    "ShellStep": {"name": "packages", "shell": "true"},
    "PowershellStep": {"name": "tools", "powershell": "exit 0"},
    "SecretPassword": {"secret": "windows/admin"},
    "ManagedSecret": {"secret": "web/token"},
    "SecureParameter": {"parameter": "/web/token"},
    "DocumentStep": {"name": "patch", "document": "AWS-RunPatchBaseline"},
    "RebootStep": {"name": "kernel", "reboot": True},
    "ApplicationStep": {
        "name": "app",
        "application": {"source": "s3://abc/k", "sha256": "0" * 64, "directory": "/srv/a"},
    },
    "Application": {"source": "s3://abc/k", "sha256": "0" * 64, "directory": "/srv/a"},
    "Destination": {"region": "eu-central-1", "kms_key": "alias/images"},
    "FastLaunch": {"launch_template": "lt-0123456789abcdef0", "version": 1},
    "Schedule": {"cron": "0 3 * * ? *"},
    "ExecutionInput": {"recipe": "web"},
    "Asked": {"recipe": "web"},
}

_AROUND: dict[str, dict[str, Any]] = {
    "PowershellStep": {"windows": {}},
    "FastLaunch": {"windows": {}, "retention": {"keep": 3}},
}
"""What a recipe must say elsewhere to have one."""

_WRONG: tuple[Any, ...] = (
    *(None, True, 7, -1, 1.5, 10**30, "", "?", "x y", "\u0661" * 12, "7", "true", "null", "2018.3"),
    *([], [None], [7], [["x"]], ["?"], {}, {"unknown": 1}, {"x": None}, "x" * 60_000),
)


_KEYWORDS = {
    *("type", "enum", "const", "pattern", "minLength", "maxLength", "minimum", "maximum"),
    *("items", "maxItems", "properties", "required", "additionalProperties", "patternProperties"),
    *("maxProperties", "title", "description", "default", "examples", "$defs"),
}
"""What the walk follows, or has no need to: any other may lead to fields that nothing tries."""


@dataclass(frozen=True)
class Node:
    """A place in a model: a field, an item of a list, a value of a mapping."""

    path: str
    schemas: tuple[Mapping[str, Any], ...]
    """What may stand there, by JSON schema: one of them."""
    write: Callable[[Any], dict[str, Any]]
    """The whole content, in order but for this value there."""

    @property
    def is_text(self) -> bool:
        """Whether a text may stand there, a fixed word included."""
        return any(it.get("type") == "string" for it in self.schemas)


@dataclass(frozen=True)
class Case:
    """Something that must be refused, and the path that must be named."""

    what: str
    path: str
    content: dict[str, Any]

    def is_named(self, paths: Collection[str]) -> bool:
        """Whether one of the paths names the field, or something inside what stands there."""
        # A value of a parameter is told as a whole: it is a text or a list of texts.
        whole = self.path.removesuffix(".Key[0]")
        here = f"{whole}.Key" if whole != self.path else self.path
        return any(it == here or it.startswith((f"{here}.", f"{here}[")) for it in paths)


@cache
def nodes(model: type[BaseModel] = Recipe) -> tuple[Node, ...]:
    """Every place of the model, each once for each way that leads there."""
    schema = model.model_json_schema()
    return tuple(_walk(schema, schema, "", lambda value: dict(value)))


def cases(model: type[BaseModel] = Recipe) -> list[Case]:
    """For each place: what is of the wrong type or out of bounds, missing, or unknown there."""
    found = [case for node in nodes(model) for case in (*_wrong(node, model), *_keys(node))]
    return list({(case.path, repr(case.content)): case for case in found}.values())


def _walk(
    root: Mapping[str, Any],
    schema: Mapping[str, Any],
    path: str,
    write: Callable[[Any], dict[str, Any]],
) -> Iterator[Node]:
    forms = tuple(_forms(root, schema))
    yield Node(path, forms, write)
    for form in forms:
        if "properties" in form:
            yield from _walk_object(root, form, path, write)
        if "items" in form:
            yield from _walk(root, form["items"], f"{path}[0]", _inside(write, lambda it: [it]))
        for inner in _of_keys(form):
            yield from _walk(root, inner, f"{path}.Key", _inside(write, lambda it: {"Key": it}))


def _of_keys(form: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """What a mapping may hold, whose keys are names that the recipe gives."""
    if unknown := form.keys() - _KEYWORDS:
        raise AssertionError(f"the walk does not follow {sorted(unknown)}")
    if isinstance(inner := form.get("additionalProperties"), Mapping):
        yield inner
    for pattern, inner in form.get("patternProperties", {}).items():
        assert re.search(pattern, "Key"), pattern
        yield inner


def _walk_object(
    root: Mapping[str, Any],
    form: Mapping[str, Any],
    path: str,
    write: Callable[[Any], dict[str, Any]],
) -> Iterator[Node]:
    needed = _needed(form)
    if around := _AROUND.get(form["title"]):
        whole = write
        write = lambda value: {**whole(value), **around}  # noqa: E731
    for name, inner in form["properties"].items():
        at = f"{path}.{name}" if path else name
        if at.startswith("test") and name == "secrets":
            continue  # no test may have any, whatever they are
        yield from _walk(root, inner, at, _inside(write, _beside(needed, name)))


def _inside(
    write: Callable[[Any], dict[str, Any]], put: Callable[[Any], Any]
) -> Callable[[Any], dict[str, Any]]:
    return lambda value: write(put(value))


def _beside(needed: Mapping[str, Any], name: str) -> Callable[[Any], Any]:
    return lambda value: {**deepcopy(dict(needed)), name: value}


def _needed(form: Mapping[str, Any]) -> Mapping[str, Any]:
    return NEEDED[form["title"]] if form.get("required") else NEEDED.get(form["title"], {})


def _forms(root: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for key in ("oneOf", "anyOf"):
        for form in schema.get(key, ()):
            yield from _forms(root, form)
        if key in schema:
            return
    if "$ref" in schema:
        yield from _forms(root, root["$defs"][schema["$ref"].rpartition("/")[2]])
    else:
        yield schema


def _wrong(node: Node, model: type[BaseModel]) -> Iterator[Case]:
    """Values that JSON Schema, which knows nothing of Pydantic, does not allow there."""
    if not node.path:
        return
    definitions = model.model_json_schema().get("$defs", {})
    judge = Draft202012Validator({"$defs": definitions, "anyOf": list(node.schemas)})
    for value in (*_WRONG, *_beyond(node)):
        if not judge.is_valid(value):
            yield Case(f"{value!r:.40}", node.path, node.write(value))


def _beyond(node: Node) -> Iterator[Any]:
    for form in node.schemas:
        if "minimum" in form:
            yield form["minimum"] - 1
        if "maximum" in form:
            yield form["maximum"] + 1
        if "maxLength" in form:
            yield "x" * (form["maxLength"] + 1)
        if "enum" in form:
            yield from (str(form["enum"][0]).upper(), f"{form['enum'][0]} ")


def _keys(node: Node) -> Iterator[Case]:
    for form in node.schemas:
        if "patternProperties" in form:
            for key in ("7x", "x y", "", "x" * 200):
                yield Case(f"key {key!r:.40}", f"{node.path}.{key}", node.write({key: {}}))
        if "properties" not in form:
            continue
        needed, before = _needed(form), f"{node.path}." if node.path else ""
        unknown = {**needed, "surprise": 1}
        yield Case("unknown", f"{before}surprise", node.write(unknown))
        for name in form.get("required", ()):
            left = {key: value for key, value in needed.items() if key != name}
            # Of several forms, the key that is not there may be the one that tells the form.
            path = node.path if len(node.schemas) > 1 and not _tells(form, left) else before + name
            yield Case(f"no {name}", path, node.write(left))


def _tells(form: Mapping[str, Any], left: Mapping[str, Any]) -> bool:
    kinds = ("parameter", "ami", "search", "recipe", "instance")
    steps = ("shell", "document", "reboot", "application")
    return bool({*kinds, *steps} & {*left} & {*form["properties"]})
