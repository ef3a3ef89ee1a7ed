"""Durations, money and schedules as people say them."""

import pytest

from bakery.recipe import Schedule
from scripts.bakery_cli import words


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.6, "1 min 00 s"),
        (75, "1 min 15 s"),
        (3599.7, "1 h 00 min"),
        (3725, "1 h 02 min"),
        (90061, "25 h 01 min"),
    ],
)
def test_a_duration(seconds: float, text: str) -> None:
    assert words.duration(seconds) == text


@pytest.mark.parametrize(("amount", "text"), [(0.0057, "$0.0057"), (0.6, "$0.60"), (12, "$12.00")])
def test_an_amount_has_as_many_digits_as_it_needs(amount: float, text: str) -> None:
    assert words.usd(amount) == text


def test_a_count_knows_its_plural() -> None:
    assert [words.count(n, "step") for n in (0, 1, 2)] == ["0 steps", "1 step", "2 steps"]


@pytest.mark.parametrize(
    ("cron", "text"),
    [
        ("0 3 * * ? *", "daily at 03:00"),
        ("30 2 ? * MON-FRI *", "Monday to Friday at 02:30"),
        ("30 2 ? * 2-6 *", "Monday to Friday at 02:30"),
        ("0 3 ? * SUN *", "Sunday at 03:00"),
        ("0 3 ? * 1,4 *", "Sunday and Wednesday at 03:00"),
        ("0 3 ? * TUE#2 *", "second Tuesday of each month at 03:00"),
        ("0 3 ? * 6L *", "last Friday of each month at 03:00"),
        ("0 3 1 * ? *", "day 1 of each month at 03:00"),
        ("0 3 L * ? *", "last day of each month at 03:00"),
        ("0/15 3 * * ? *", "cron(0/15 3 * * ? *)"),
        ("0 3 15W * ? *", "cron(0 3 15W * ? *)"),
        ("0 3 ? * MON-WED *", "cron(0 3 ? * MON-WED *)"),
        ("0 3 1 JAN ? *", "cron(0 3 1 JAN ? *)"),
    ],
)
def test_a_common_schedule_is_said_in_words_and_any_other_as_it_is(cron: str, text: str) -> None:
    assert words.schedule(Schedule(cron=cron)) == f"{text} UTC"


def test_a_schedule_that_always_bakes_says_so() -> None:
    when = Schedule(cron="0 3 * * ? *", timezone="Europe/London", only_if_changed=False)
    assert words.schedule(when) == "daily at 03:00 Europe/London, changed or not"
