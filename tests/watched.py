"""Run a module as ``python -m`` does, and note what its launches are worth.

    python -m tests.watched NOTES MODULE [ARGUMENT...]

For a test that runs a command in a process of its own, with a local AWS that the test cannot see.
The command is not changed by it, nor does it know; but the local AWS is imported before it.
"""

import json
import runpy
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests import launches


@contextmanager
def noting(notes: Path) -> Iterator[None]:
    """Each launch of ours is a line in the file at once: a process may be ended at any time."""

    def note(flaws: list[str]) -> None:
        with notes.open("a", encoding="utf-8") as file:
            file.write(json.dumps(flaws) + "\n")

    with launches.watched(note):
        yield


def noted(notes: Path) -> list[list[str]]:
    """The flaws of each launch that was looked at; empty lists of sound ones."""
    if not notes.exists():
        return []
    return [json.loads(line) for line in notes.read_text(encoding="utf-8").splitlines()]


def main(notes: str, module: str, *arguments: str) -> None:
    sys.argv[1:] = arguments
    with noting(Path(notes)):
        runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
