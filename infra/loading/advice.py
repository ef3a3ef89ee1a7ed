"""What to do about a problem, from the model's own descriptions."""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from bakery.problems import Problem
from bakery.recipe import Recipe

Path = tuple[str | int, ...]


def advised(problem: Problem, at: Path, value: object, *, bare: bool = False) -> Problem:
    """The same problem, its message completed for somebody who edits YAML.

    ``value`` is what the file has at the problem's path, None if nothing; ``bare`` says that it
    is a key inside { } without a value.
    """
    message = problem.message
    if message == "is missing":
        message = f"is missing; add it. {_description(at)}"
    elif message.startswith("is not a known key") and bare:
        message = (
            "is not a known key; if it belongs to the text before the comma, put that whole text "
            "in quotes: inside { } a comma ends it"
        )
    elif message.startswith("is not a known key"):
        message = f"is not a known key; {_spelling(at)}"
    elif message.startswith("must be a text (is: ") and _is_plain(value):
        message = f"{message}; put it in quotes, YAML takes it for something else"
    return replace(problem, message=message)


def _is_plain(value: object) -> bool:
    return isinstance(value, bool | int | float)


def _description(at: Path) -> str:
    field = next(_fields(at), {})
    forms = [key for form in _forms(field) for key in form.get("required", [])]
    choice = f" One of: {', '.join(forms)}." if len(_forms(field)) > 1 else ""
    return f"{field.get('description', '')}{choice}".strip()


def _spelling(at: Path) -> str:
    known = sorted({name for schema in _schemas(at[:-1]) for name in schema.get("properties", {})})
    close = difflib.get_close_matches(str(at[-1]), known, n=1)
    if close:
        return f"did you mean '{close[0]}'?"
    return f"remove it; known here: {', '.join(known)}"


def _fields(at: Path) -> Iterator[Mapping[str, Any]]:
    for schema in _schemas(at[:-1]):
        yield from (field for name, field in schema.get("properties", {}).items() if name == at[-1])


def _schemas(at: Path) -> list[Mapping[str, Any]]:
    """Every form that the recipe's schema allows at a path."""
    found: list[Mapping[str, Any]] = [_schema()]
    for part in at:
        inner = [
            schema["items"] if isinstance(part, int) else schema["properties"][part]
            for schema in found
            if (
                "items" in schema if isinstance(part, int) else part in schema.get("properties", {})
            )
        ]
        found = [form for schema in inner for form in _forms(schema)]
    return found


def _forms(schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    alternatives = schema.get("oneOf") or schema.get("anyOf")
    if alternatives:
        return [form for each in alternatives for form in _forms(each)]
    if "$ref" in schema:
        return _forms(_schema()["$defs"][schema["$ref"].rpartition("/")[2]])
    return [schema]


@cache
def _schema() -> dict[str, Any]:
    return Recipe.model_json_schema()
