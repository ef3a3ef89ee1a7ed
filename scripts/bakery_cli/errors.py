"""The ways in which a command ends badly, and the exit code of each."""

FAILED = 1
"""The bake failed, or something is wrong with a recipe or document."""
UNUSABLE = 2
"""The command could not do its work: usage, credentials, Region, no stack."""
INTERRUPTED = 130


class CommandError(Exception):
    """What is wrong and what to do about it, for a person; never shown with a trace."""

    def __init__(self, message: str, remedy: str = "", *, code: int = UNUSABLE) -> None:
        self.message = message
        self.remedy = remedy
        self.code = code
        super().__init__(f"{message} {remedy}".strip())


class NoAnswerError(CommandError):
    """AWS did not answer, which may pass."""
