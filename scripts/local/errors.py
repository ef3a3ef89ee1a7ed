"""The one error that an emulated operation raises."""

from __future__ import annotations


class AwsError(Exception):
    """A service's refusal, answered in that service's own envelope."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status


class LocalAwsError(RuntimeError):
    """The local AWS itself cannot do what was asked; says what is missing and where to add it."""
