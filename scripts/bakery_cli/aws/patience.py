"""Waiting for AWS by looking again and again."""

from collections.abc import Callable
from dataclasses import dataclass
from time import sleep
from typing import Final, TypeVar

from scripts.bakery_cli.aws.failures import explained
from scripts.bakery_cli.errors import NoAnswerError

_SILENT_LOOKS: Final = 30
"""Without an answer, one after the other: a network that is away, a laptop that slept."""

Found = TypeVar("Found")


@dataclass(frozen=True)
class Patience:
    """How often is looked, and where."""

    region: str
    pause: float = 2.0
    """Seconds between two looks."""

    def until(self, look: Callable[[], Found | None], looks: int) -> Found | None:
        """What ``look`` finds in the end, None if it finds nothing in so many looks.

        Raises CommandError when AWS refuses, NoAnswerError when it stays silent.
        """
        silent = 0
        for _ in range(looks):
            try:
                with explained(self.region):
                    found = look()
            except NoAnswerError:
                silent += 1
                if silent > _SILENT_LOOKS:
                    raise
            else:
                silent = 0
                if found is not None:
                    return found
            sleep(self.pause)
        return None
