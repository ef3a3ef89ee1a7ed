"""What is wrong with files."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bakery.problems import one_line


@dataclass(frozen=True, order=True)
class FileProblem:
    """What is wrong, in which file, at which line and path of it, and what to do about it."""

    file: Path
    line: int
    path: str
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else str(self.file)
        path = f"{self.path}: " if self.path else ""
        return one_line(f"{where}: {path}{self.message}")


class FilesError(Exception):
    """Files that cannot be used; ``problems`` holds every problem of every file."""

    def __init__(self, problems: Iterable[FileProblem]) -> None:
        self.problems = tuple(sorted(set(problems)))
        super().__init__("\n".join(map(str, self.problems)))


class YamlError(FilesError):
    """A file is not the YAML that this project accepts."""


class RecipesError(FilesError):
    """Recipes cannot be baked as they stand."""


class DocumentsError(FilesError):
    """Documents are not what Systems Manager accepts."""
