"""The one source of the present time."""

from datetime import UTC, datetime


def now() -> datetime:
    """The present moment, aware, in UTC."""
    return datetime.now(UTC)


def parse(timestamp: str) -> datetime:
    """An ISO 8601 moment as Step Functions writes it, e.g. ``2026-01-01T03:00:00.000Z``.

    Raises ValueError for a text without a time zone: a naive moment is always a mistake here.
    """
    moment = datetime.fromisoformat(timestamp)
    if moment.tzinfo is None:
        raise ValueError(f"{timestamp!r} has no time zone")
    return moment.astimezone(UTC)
