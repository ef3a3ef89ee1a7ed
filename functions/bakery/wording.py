"""What Pydantic finds, in the words of somebody who writes YAML or JSON."""

import difflib
import json
from collections.abc import Callable, Mapping
from typing import Any

from bakery.formats import WORDS
from bakery.problems import shortened

_TEXT = "must be a text"
_NUMBER = "must be a whole number, without quotes"
_FLAG = "must be true or false, without quotes"
_LIST = "must be a list: [a, b], or a line with a hyphen for each"
_MAPPING = "must be a mapping of keys to values"

# Pydantic's type of error to what must be, with what it was told as ``ctx``.
_MUST: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "bool_parsing": lambda _: _FLAG,
    "bool_type": lambda _: _FLAG,
    "dict_type": lambda _: _MAPPING,
    "greater_than_equal": lambda ctx: f"must be at least {ctx['ge']}",
    "int_from_float": lambda _: _NUMBER,
    "int_parsing": lambda _: _NUMBER,
    "int_parsing_size": lambda _: _NUMBER,
    "int_type": lambda _: _NUMBER,
    "less_than_equal": lambda ctx: f"must be at most {ctx['le']}",
    "literal_error": lambda ctx: f"must be {str(ctx['expected']).replace('True', 'true')}",
    "model_type": lambda _: _MAPPING,
    "string_pattern_mismatch": lambda ctx: (
        f"must be {WORDS.get(ctx['pattern'], 'a text that matches ' + ctx['pattern'])}"
    ),
    "string_too_long": lambda ctx: f"must have at most {ctx['max_length']} characters",
    "string_too_short": lambda ctx: (
        f"must have at least {ctx['min_length']} characters"
        if ctx["min_length"] > 1
        else "must not be empty"
    ),
    "string_type": lambda _: _TEXT,
    "too_long": lambda ctx: f"must have at most {ctx['max_length']} entries",
    "too_short": lambda ctx: f"must have at least {ctx['min_length']} entries",
    "tuple_type": lambda _: _LIST,
}


def message(detail: Mapping[str, Any]) -> str:
    """What is wrong, by one of ``ValidationError.errors()``, and what to do."""
    match detail["type"]:
        case "extra_forbidden":
            return "is not a known key; remove it or correct its spelling"
        case "missing":
            return "is missing"
        case "value_error":
            return str(detail["ctx"]["error"])
        case "one_of":
            return f"{detail['msg']} ({_keys(detail['input'], detail['ctx'])})"
        case kind if kind in _MUST:
            return f"{_MUST[kind](detail.get('ctx', {}))} (is: {shown(detail['input'])})"
        case _:
            return f"{detail['msg']} (is: {shown(detail['input'])})"


def shown(value: object) -> str:
    """The beginning of a value, as YAML and JSON write it where Python differs."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return shortened(repr(value))


def _keys(value: object, forms: Mapping[str, Any]) -> str:
    """Which keys there are to choose a form by, with the one that a mistyped key may mean."""
    if not isinstance(value, Mapping):
        return f"is: {shown(value)}"
    kinds = forms["kinds"].split(",")
    found = [str(key) for key in value if key not in forms["beside"].split(",")]
    has = shortened(f"has: {', '.join(found) or 'none'}")
    for key in found:
        close = difflib.get_close_matches(key, kinds, n=1)
        if close and not {*found} & {*kinds}:
            return f"{has}; did you mean '{close[0]}'?"
    return has
