"""Durations, money and schedules as people say them."""

from bakery.recipe import Schedule

_DAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_SHORT = {day[:3].upper(): day for day in _DAYS} | {str(n + 1): day for n, day in enumerate(_DAYS)}


def duration(seconds: float) -> str:
    """``75`` as ``1 min 15 s``."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min"


def usd(amount: float) -> str:
    """Dollars, with as many digits as say something."""
    return f"${amount:.4f}" if amount < 0.1 else f"${amount:.2f}"


def count(number: int, noun: str) -> str:
    """``2 steps``, ``1 step``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def schedule(when: Schedule) -> str:
    """When a recipe bakes: in words if the expression is a common one, else the expression."""
    words = _cron(when.cron) or f"cron({when.cron})"
    always = "" if when.only_if_changed else ", changed or not"
    return f"{words} {when.timezone}{always}"


def _cron(expression: str) -> str | None:
    minute, hour, day, month, weekday, year = expression.upper().split()
    if not (minute.isdigit() and hour.isdigit() and month == "*" and year == "*"):
        return None
    days = _days(day, weekday)
    return f"{days} at {int(hour):02}:{int(minute):02}" if days else None


def _days(day: str, weekday: str) -> str | None:
    if day == "L":
        return "last day of each month"
    if day.isdigit():
        return f"day {int(day)} of each month"
    if {day, weekday} <= {"*", "?"}:
        return "daily"
    if weekday in ("MON-FRI", "2-6"):
        return "Monday to Friday"
    first, _, nth = weekday.partition("#")
    if nth and first in _SHORT:
        ordinal = {"1": "first", "2": "second", "3": "third", "4": "fourth", "5": "fifth"}[nth]
        return f"{ordinal} {_SHORT[first]} of each month"
    if weekday.endswith("L") and weekday[:-1] in _SHORT:
        return f"last {_SHORT[weekday[:-1]]} of each month"
    named = [_SHORT.get(part) for part in weekday.split(",")]
    return None if None in named else " and ".join(str(name) for name in named)
