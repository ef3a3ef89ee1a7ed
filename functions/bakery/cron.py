"""The cron expressions of EventBridge Scheduler: six fields, ``?``, ``L``, ``W`` and ``#``.

No kept library speaks this dialect (minute hour day-of-month month day-of-week year, with
``?`` mandatory in one of the two day fields), so its rules stand here.
Source: EventBridge Scheduler user guide, "Schedule types".
"""

import re
from dataclasses import dataclass

from bakery.problems import one_line

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")


@dataclass(frozen=True)
class _Field:
    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()
    alone: str = r"(?!)"  # what the field accepts besides, but never in a list, as a pattern
    increments: bool = True


_FIELDS = (
    _Field("minutes", 0, 59),
    _Field("hours", 0, 23),
    _Field("day of month", 1, 31, alone=r"\?|L|LW|(?:[1-9]|[12]\d|3[01])W"),
    _Field("month", 1, 12, _MONTHS),
    _Field(
        "day of week",
        1,
        7,
        _DAYS,
        alone=r"\?|L|(?:[1-7]|SUN|MON|TUE|WED|THU|FRI|SAT)(?:L|#[1-5])",
        increments=False,
    ),
    _Field("year", 1970, 2199),
)


def cron_problem(expression: str) -> str | None:
    """What is wrong with the six fields of ``expression``, or None when Scheduler accepts it."""
    if "(" in expression:
        return "takes the six fields alone, e.g. '0 3 * * ? *': no 'cron( )' around them, no rate"
    parts = expression.split()
    if len(parts) != len(_FIELDS):
        return (
            f"has {len(parts)} fields; EventBridge Scheduler wants 6 "
            "(minutes hours day-of-month month day-of-week year), e.g. '0 3 * * ? *'"
        )
    for field, part in zip(_FIELDS, parts, strict=True):
        if problem := _field_problem(field, part.upper()):
            return problem
    if (parts[2] == "?") == (parts[4] == "?"):
        return "needs '?' in exactly one of day-of-month and day-of-week, e.g. '0 3 * * ? *'"
    return None


def _field_problem(field: _Field, text: str) -> str | None:
    if re.fullmatch(field.alone, text):
        return None
    for item in text.split(","):
        if not _accepts(field, item):
            shown = one_line(item)
            return f"field '{field.name}' does not accept '{shown}' ({field.low}-{field.high})"
    return None


def _accepts(field: _Field, item: str) -> bool:
    span, slash, step = item.partition("/")
    if slash and not (field.increments and _is_number(step) and 0 < int(step) <= field.high):
        return False
    if span == "*":
        return True
    first, dash, last = span.partition("-")
    values = [_value(field, first)] + ([_value(field, last)] if dash else [])
    return all(value is not None and field.low <= value <= field.high for value in values)


def _value(field: _Field, text: str) -> int | None:
    if text in field.names:
        return field.names.index(text) + 1
    return int(text) if _is_number(text) else None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()
