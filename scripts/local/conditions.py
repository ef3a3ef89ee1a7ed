"""Whether a policy's Condition holds for a request.

No package on PyPI does this and is kept: they audit policies or ask AWS's own simulator. Source of
every rule: IAM user guide, "Condition operators", "Multivalued context keys", "Policy variables".
"""

from __future__ import annotations

import ipaddress
import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from scripts.local.errors import LocalAwsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Context = Mapping[str, tuple[str, ...]]
    """The keys of a request in lower case, each with its values; a key without any is missing."""

_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_DEFAULT = re.compile(r"\s*([^,]+?)\s*(?:,\s*'(.*)'\s*)?")


class UnknownOperatorError(LocalAwsError):
    """A policy has a condition operator that IAM does not know: IAM would not take the policy."""


def context(keys: Mapping[str, Any]) -> Context:
    """Keys with their values as IAM sees them; None says that the request lacks the key."""
    return {
        name.lower(): tuple(_text(v) for v in (value if _is_many(value) else [value]))
        for name, value in keys.items()
        if value is not None
    }


def _is_many(value: Any) -> bool:
    return isinstance(value, list | tuple | set | frozenset)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.isoformat() if isinstance(value, datetime) else str(value)


def holds(condition: Mapping[str, Mapping[str, Any]], request: Context) -> bool:
    """All operators, and all keys of each, must agree; of a key's values any one is enough."""
    return all(
        _agrees(operator, [_text(v) for v in (wanted if _is_many(wanted) else [wanted])], key)
        for operator, keys in condition.items()
        for name, wanted in keys.items()
        for key in [_Key(request.get(name.lower(), ()), request)]
    )


class _Key:
    """A key of the request: its values, and the request for the variables of a policy."""

    def __init__(self, values: tuple[str, ...], request: Context) -> None:
        self.values = values
        self.request = request


def _agrees(operator: str, wanted: list[str], key: _Key) -> bool:
    quantifier, _, name = operator.rpartition(":")
    if quantifier not in ("", "ForAllValues", "ForAnyValue"):
        raise UnknownOperatorError(f"unknown condition operator {operator}")
    if name == "Null":
        return any(value.lower() == ("false" if key.values else "true") for value in wanted)
    base = name.removesuffix("IfExists")
    if base not in _OPERATORS:
        raise UnknownOperatorError(f"unknown condition operator {operator}")
    negated, test = _OPERATORS[base]
    if not key.values:
        # A key that is missing: no value of it is as wanted, nor is any as it should not be.
        return base != name or quantifier == "ForAllValues" or (negated and not quantifier)

    def one(value: str) -> bool:
        return any(test(want, value, key.request) for want in wanted) != negated

    if quantifier == "ForAllValues":
        return all(one(value) for value in key.values)
    if quantifier == "ForAnyValue":
        return any(one(value) for value in key.values)
    return any(one(value) for value in key.values) if not negated else all(map(one, key.values))


# Patterns


@lru_cache(maxsize=4096)
def _glob(text: str, ignore_case: bool) -> re.Pattern[str]:
    return re.compile(_expression(text), re.IGNORECASE | re.DOTALL if ignore_case else re.DOTALL)


def _expression(text: str) -> str:
    return "".join(".*" if c == "*" else "." if c == "?" else re.escape(c) for c in text)


def matches(pattern: str, value: str, *, ignore_case: bool = False) -> bool:
    """Whether a value is as a pattern with ``*`` and ``?`` says."""
    return _glob(pattern, ignore_case).fullmatch(value) is not None


def like(pattern: str, value: str, request: Context) -> bool:
    """As `matches`, with the policy's variables replaced; a variable without value matches
    nothing."""
    if "${" not in pattern:
        return matches(pattern, value)
    parts = _parts(pattern, request)
    if parts is None:
        return False
    expression = "".join(re.escape(t) if literal else _expression(t) for literal, t in parts)
    return re.fullmatch(expression, value, re.DOTALL) is not None


def _parts(text: str, request: Context) -> list[tuple[bool, str]] | None:
    """The text in pieces: (True, value of a variable) or (False, text as it stands)."""
    found: list[tuple[bool, str]] = []
    for place, piece in enumerate(_VARIABLE.split(text)):
        if place % 2 == 0:
            found.append((False, piece))
            continue
        if piece in ("*", "?", "$"):
            found.append((True, piece))
            continue
        named = _DEFAULT.fullmatch(piece)
        values = request.get(named[1].lower(), ()) if named else ()
        value = values[0] if len(values) == 1 else named and named[2]
        if value is None:
            return None
        found.append((True, value))
    return found


def _literal(text: str, request: Context) -> str | None:
    if "${" not in text:
        return text
    parts = _parts(text, request)
    return None if parts is None else "".join(piece for _, piece in parts)


# Operators


def _equals(want: str, value: str, request: Context) -> bool:
    return _literal(want, request) == value


def _equals_ignoring_case(want: str, value: str, request: Context) -> bool:
    literal = _literal(want, request)
    return literal is not None and literal.lower() == value.lower()


def _arn(want: str, value: str, request: Context) -> bool:
    """Each of the six parts is a pattern of its own; ArnEquals and ArnLike are the same."""
    wanted, parts = want.split(":", 5), value.split(":", 5)
    if want == "*":
        return True
    return len(wanted) == len(parts) == 6 and all(
        like(w, p, request) for w, p in zip(wanted, parts, strict=True)
    )


def _bool(want: str, value: str, _request: Context) -> bool:
    return want.lower() == value.lower()


def _number(text: str) -> float:
    return float(text)


def _moment(text: str) -> float:
    """ISO 8601 or seconds since 1970."""
    try:
        return float(text)
    except ValueError:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _compared(
    read: Callable[[str], float], compare: Callable[[float, float], bool]
) -> Callable[[str, str, Context], bool]:
    def test(want: str, value: str, _request: Context) -> bool:
        try:
            return compare(read(value), read(want))
        except ValueError:
            return False

    return test


def _address(want: str, value: str, _request: Context) -> bool:
    try:
        return ipaddress.ip_address(value) in ipaddress.ip_network(want, strict=False)
    except ValueError:
        return False


_OPERATORS: dict[str, tuple[bool, Callable[[str, str, Context], bool]]] = {
    "StringEquals": (False, _equals),
    "StringNotEquals": (True, _equals),
    "StringEqualsIgnoreCase": (False, _equals_ignoring_case),
    "StringNotEqualsIgnoreCase": (True, _equals_ignoring_case),
    "StringLike": (False, like),
    "StringNotLike": (True, like),
    "ArnEquals": (False, _arn),
    "ArnLike": (False, _arn),
    "ArnNotEquals": (True, _arn),
    "ArnNotLike": (True, _arn),
    "Bool": (False, _bool),
    "BinaryEquals": (False, _equals),
    "IpAddress": (False, _address),
    "NotIpAddress": (True, _address),
    **{
        f"{kind}{name}": (negated, _compared(read, compare))
        for kind, read in (("Numeric", _number), ("Date", _moment))
        for name, negated, compare in (
            ("Equals", False, float.__eq__),
            ("NotEquals", True, float.__eq__),
            ("LessThan", False, float.__lt__),
            ("LessThanEquals", False, float.__le__),
            ("GreaterThan", False, float.__gt__),
            ("GreaterThanEquals", False, float.__ge__),
        )
    },
}


def tag_keys(prefix: str, tags: Mapping[str, str]) -> dict[str, str]:
    """``aws:ResourceTag/<key>`` and the like."""
    return {f"{prefix}/{key}": value for key, value in tags.items()}
