"""How parameters get into a document: by text substitution, or by environment variable."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from bakery.documents import TOKEN


def values_of(
    document: Mapping[str, Any], parameters: Mapping[str, Sequence[str]]
) -> dict[str, str | list[str]]:
    """Every parameter's value, defaults included: String as a string, StringList as a list."""
    values: dict[str, str | list[str]] = {}
    for name, definition in (document.get("parameters") or {}).items():
        if name not in parameters:
            values[name] = definition.get("default", "")
        elif definition["type"] == "StringList":
            values[name] = list(parameters[name])
        else:
            values[name] = parameters[name][0]
    return values


def by_environment(document: Mapping[str, Any]) -> set[str]:
    """The names that a new agent exports as SSM_<name> instead of pasting them."""
    return {
        name
        for name, definition in (document.get("parameters") or {}).items()
        if definition.get("interpolationType") == "ENV_VAR"
    }


def replace(value: Any, values: Mapping[str, Any]) -> Any:
    """The agent's ReplaceParameters.

    A lone `{{ X }}` becomes the value with its type; inside a text a list becomes JSON and `$$`
    becomes `$`; one pass only; what is no parameter stays as it is.
    """
    if isinstance(value, str):
        lone = TOKEN.fullmatch(value)
        if lone and lone.group(1) in values:
            return values[lone.group(1)]
        return TOKEN.sub(lambda token: _paste(token, values), value)
    if isinstance(value, list):
        return [replace(item, values) for item in value]
    if isinstance(value, Mapping):
        return {key: replace(item, values) for key, item in value.items()}
    return value


def _paste(token: re.Match[str], values: Mapping[str, Any]) -> str:
    if token.group(1) not in values:
        return token.group(0)
    value = values[token.group(1)]
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    return text.replace("$$", "$")
