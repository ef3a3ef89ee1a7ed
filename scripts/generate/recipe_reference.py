"""``docs/recipe-reference.md``: every field of a recipe, from the model's own descriptions."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from scripts.generate.recipe_schema import schema

Schema = Mapping[str, Any]

_HEAD = """\
<!-- Made by `make generate` from functions/bakery/recipe.py. Change that, not this. -->

# The fields of a recipe

A recipe is one YAML file, `recipes/<name>.yaml`; the file's stem is the recipe's name. A key that
is not listed here is an error. `bakery check` reports every problem of every recipe, with file,
line, path and remedy.

Let your editor help while you write: begin the file with

```yaml
# yaml-language-server: $schema=recipe.schema.json
```
"""


@dataclass(frozen=True)
class _Place:
    """Where a model stands in a recipe: ``base.search``, or ``customize`` in its form ``shell``."""

    path: str
    form: str = ""

    @property
    def heading(self) -> str:
        return f"{self.path}: {self.form}" if self.form else self.path

    @property
    def link(self) -> str:
        anchor = re.sub(r"[^a-z0-9_ -]", "", self.heading.lower()).replace(" ", "-")
        return f"[{self.form or 'mapping'}](#{anchor})"


Places = Mapping[str, _Place]


def text() -> str:
    """The file's content."""
    whole = schema()
    places = _places(whole)
    sections = [_HEAD, *_section("The recipe", whole, places)]
    for name, place in places.items():
        sections += _section(place.heading, whole["$defs"][name], places)
    return "\n".join(sections)


def _places(whole: Schema) -> Places:
    """Every model below the recipe, in the order in which a reader meets them."""
    places: dict[str, _Place] = {}

    def visit(model: Schema, path: str) -> None:
        for field, spec in model["properties"].items():
            inner = f"{path}.{field}" if path else field
            for name, is_form in _references(spec):
                if name not in places:
                    target = whole["$defs"][name]
                    places[name] = _Place(inner, _form_key(target) if is_form else "")
                    visit(target, inner)

    visit(whole, "")
    return places


def _form_key(model: Schema) -> str:
    """The key that tells a form from the others; every step has a name as well."""
    return next(str(key) for key in model["required"] if key != "name")


def _references(value: object, is_form: bool = False) -> Iterator[tuple[str, bool]]:
    if isinstance(value, Mapping):
        if isinstance(target := value.get("$ref"), str):
            yield target.rpartition("/")[2], is_form
        for key, inner in value.items():
            yield from _references(inner, is_form or key == "oneOf")
    elif isinstance(value, list):
        for item in value:
            yield from _references(item, is_form)


def _section(heading: str, model: Schema, places: Places) -> list[str]:
    required = model.get("required", [])
    rows = [
        f"| `{field}` | {_type(spec, places)} | {_default(spec, field in required)} "
        f"| {_meaning(spec)} |"
        for field, spec in model["properties"].items()
    ]
    return [
        f"## {heading}\n",
        f"{model['description']}\n",
        "| field | type | default | meaning |",
        "| --- | --- | --- | --- |",
        *rows,
        "",
    ]


def _type(spec: Schema, places: Places) -> str:
    if "oneOf" in spec:
        return f"one of {', '.join(_type(form, places) for form in spec['oneOf'])}"
    if "anyOf" in spec:
        forms = [form for form in spec["anyOf"] if form.get("type") != "null"]
        return " or ".join(_type(form, places) for form in forms)
    if "$ref" in spec:
        return places[spec["$ref"].rpartition("/")[2]].link
    if "enum" in spec or "const" in spec:
        return " or ".join(f"`{_plain(value)}`" for value in spec.get("enum", [spec.get("const")]))
    if spec["type"] == "array":
        return f"list of {_type(spec['items'], places)}"
    if spec["type"] == "object":
        # Keys of a certain form are a pattern with what belongs to it.
        (value,) = spec.get("patternProperties", {"": spec.get("additionalProperties")}).values()
        return f"mapping of text to {_type(value, places)}"
    names = {"string": "text", "integer": "number", "boolean": "`true` or `false`"}
    return names[spec["type"]]


def _default(spec: Schema, required: bool) -> str:
    if required:
        return "**required**"
    default = spec.get("default")
    return f"`{_plain(default)}`" if default not in (None, [], {}, "") else ""


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _meaning(spec: Schema) -> str:
    parts = [str(spec.get("description", "")), _bounds(spec), _examples(spec), _pattern(spec)]
    return " ".join(part for part in parts if part).replace("|", "\\|")


def _bounds(spec: Schema) -> str:
    low, high = spec.get("minimum"), spec.get("maximum")
    for form in spec.get("anyOf", []):
        low, high = form.get("minimum", low), form.get("maximum", high)
    if low is not None and high is not None:
        return f"{low} to {high}."
    if most := spec.get("maxItems"):
        return f"At most {most}."
    if most := spec.get("maxLength"):
        return f"At most {most} characters."
    return ""


def _examples(spec: Schema) -> str:
    return "".join(f"E.g. `{example}`." for example in spec.get("examples", []))


def _pattern(spec: Schema) -> str:
    """Short patterns say more than words; long ones say less."""
    pattern = spec.get("pattern", "")
    return f"Pattern `{pattern}`." if 0 < len(pattern) <= 45 and "examples" not in spec else ""
