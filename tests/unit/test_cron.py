"""Cron expressions of EventBridge Scheduler, against a table and against another implementation."""

import pytest
from aws_croniter import AwsCroniter
from hypothesis import given, settings
from hypothesis import strategies as st

from bakery.cron import cron_problem

DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")


@pytest.mark.parametrize(
    "expression",
    [
        "0 3 * * ? *",
        "0 3 ? * * *",
        "15 12 ? * MON-FRI *",
        "0/15 * * * ? *",
        "0/5 8-17 ? * MON-FRI *",
        "*/59 */23 */31 */12 ? *",
        "0,30 0-23/2 1,15 JAN,JUL ? 2026-2030",
        "0 3 L * ? *",
        "0 3 LW * ? *",
        "0 3 31W * ? *",
        "0 3 ? * L *",
        "0 3 ? * 6L *",
        "0 3 ? * FRIL *",
        "0 3 ? * 3#2 *",
        "0 3 ? * TUE#5 *",
        "0 3 ? * FRI-MON *",
        "0 3 ? * mon,wed *",
        "59 23 31 12 ? 2199",
        "00 03 01 01 ? 1970",
    ],
)
def test_an_expression_that_scheduler_accepts_has_no_problem(expression: str) -> None:
    assert cron_problem(expression) is None


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("", "has 0 fields"),
        ("0 3 * * *", "has 5 fields"),
        ("0 3 * * ? * *", "has 7 fields"),
        ("cron(0 3 * * ? *)", "takes the six fields alone"),
        ("rate(1 day)", "takes the six fields alone"),
        ("@daily", "has 1 fields"),
        ("60 3 * * ? *", "field 'minutes' does not accept '60' (0-59)"),
        ("-1 3 * * ? *", "field 'minutes' does not accept '-1'"),
        ("5- 3 * * ? *", "field 'minutes' does not accept '5-'"),
        ("1-2-3 3 * * ? *", "field 'minutes' does not accept '1-2-3'"),
        (", 3 * * ? *", "field 'minutes' does not accept ''"),
        ("0/0 3 * * ? *", "field 'minutes' does not accept '0/0'"),
        ("0/60 3 * * ? *", "field 'minutes' does not accept '0/60'"),
        ("0/ 3 * * ? *", "field 'minutes' does not accept '0/'"),
        ("/5 3 * * ? *", "field 'minutes' does not accept '/5'"),
        ("L 3 * * ? *", "field 'minutes' does not accept 'L'"),
        ("? 3 * * ? *", "field 'minutes' does not accept '?'"),
        ("² 3 * * ? *", "field 'minutes' does not accept '²'"),
        ("٣ 3 * * ? *", "field 'minutes' does not accept '٣'"),
        ("0 24 * * ? *", "field 'hours' does not accept '24' (0-23)"),
        ("0 20-24 * * ? *", "field 'hours' does not accept '20-24'"),
        ("0 3 0 * ? *", "field 'day of month' does not accept '0' (1-31)"),
        ("0 3 32 * ? *", "field 'day of month' does not accept '32'"),
        ("0 3 32W * ? *", "field 'day of month' does not accept '32W'"),
        ("0 3 W * ? *", "field 'day of month' does not accept 'W'"),
        ("0 3 1,L * ? *", "field 'day of month' does not accept 'L'"),
        ("0 3 ?,1 * ? *", "field 'day of month' does not accept '?'"),
        ("0 3 MON * ? *", "field 'day of month' does not accept 'MON'"),
        ("0 3 * 0 ? *", "field 'month' does not accept '0' (1-12)"),
        ("0 3 * 13 ? *", "field 'month' does not accept '13'"),
        ("0 3 * JANUARY ? *", "field 'month' does not accept 'JANUARY'"),
        ("0 3 * ? MON *", "field 'month' does not accept '?'"),
        ("0 3 ? * 0 *", "field 'day of week' does not accept '0' (1-7)"),
        ("0 3 ? * 8 *", "field 'day of week' does not accept '8'"),
        ("0 3 ? * 2#0 *", "field 'day of week' does not accept '2#0'"),
        ("0 3 ? * 2#6 *", "field 'day of week' does not accept '2#6'"),
        ("0 3 ? * 3#1,6#3 *", "field 'day of week' does not accept '3#1'"),
        ("0 3 ? * 8L *", "field 'day of week' does not accept '8L'"),
        ("0 3 ? * 2/2 *", "field 'day of week' does not accept '2/2'"),
        ("0 3 * * ? 1969", "field 'year' does not accept '1969' (1970-2199)"),
        ("0 3 * * ? 2200", "field 'year' does not accept '2200'"),
        ("0 3 * * * *", "needs '?' in exactly one of"),
        ("0 3 1 * MON *", "needs '?' in exactly one of"),
        ("0 3 ? * ? *", "needs '?' in exactly one of"),
    ],
)
def test_an_expression_that_scheduler_refuses_is_refused_with_the_reason(
    expression: str, problem: str
) -> None:
    found = cron_problem(expression)
    assert found is not None
    assert problem in found


def field(low: int, high: int, names: tuple[str, ...] = (), *, steps: bool = True) -> "Field":
    """Texts for one field, about a third of them out of range."""
    number = st.integers(low, high).map(str) | st.integers(low - 1, high + 2).map(str)
    value = number | st.sampled_from(names) if names else number
    span = value | st.tuples(value, value).map("-".join)
    if steps:
        span |= st.tuples(st.just("*") | value, st.integers(0, high + 1).map(str)).map("/".join)
    return st.just("*") | st.lists(span, min_size=1, max_size=2).map(",".join)


Field = st.SearchStrategy[str]

day_of_month = (
    field(1, 31) | st.sampled_from(["?", "L"]) | st.integers(0, 32).map(lambda day: f"{day}W")
)
day_of_week = (
    field(1, 7, DAYS, steps=False)
    | st.sampled_from(["?", "L"])
    | st.sampled_from([*DAYS, *"012345678"]).map(lambda day: f"{day}L")
    | st.tuples(st.sampled_from([*DAYS, *"0178"]), st.sampled_from("0156")).map("#".join)
)
# Not generated, because there the other implementation follows neither AWS's documentation nor
# this one: `LW`, `L-3`, `*-5`, `*` in a list, increments of years.
expressions = st.tuples(
    field(0, 59),
    field(0, 23),
    day_of_month,
    field(1, 12, MONTHS),
    day_of_week,
    field(1970, 2199, steps=False),
).map(" ".join) | st.tuples(
    field(0, 59), field(0, 23), day_of_month, st.just("*"), st.just("?"), st.just("*")
).map(" ".join)


def other_accepts(expression: str) -> bool:
    try:
        AwsCroniter(expression)
    except ValueError:
        return False
    return True


@given(expressions)
@settings(deadline=None, max_examples=500)
def test_another_implementation_of_the_dialect_agrees(expression: str) -> None:
    assert (cron_problem(expression) is None) == other_accepts(expression)


@given(st.lists(st.text(alphabet="0159*/?,-#LWMON²٣ \n", max_size=6), min_size=5, max_size=7))
@settings(deadline=None, max_examples=200)
def test_no_text_at_all_crashes_the_check(parts: list[str]) -> None:
    assert cron_problem(" ".join(parts)) is None or cron_problem(" ".join(parts))
