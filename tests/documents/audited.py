"""Runs a program and notes all that it does which Python's audit events tell of.

    python [OPTIONS] audited.py REPORT [OPTIONS] PROGRAM ARGUMENTS...

One line of JSON for each event: its name and its arguments. Nothing is refused here: whoever reads
the report judges. Source: Python, "Audit events table". What has no event is what needs something
that has one: ``os.write`` an open file, for instance.
"""

import json
import os
import runpy
import sys


def main(report: str, arguments: list[str]) -> None:
    """Runs the program as ``__main__``; the options of the interpreter before it are this one's."""
    while arguments[0].startswith("-"):
        arguments = arguments[1:]
    # Not inherited, and written to without an event of its own.
    target = os.open(report, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(event: str, values: tuple[object, ...]) -> None:
        # The environment of a process is where the values belong, and the last of these.
        shown = values[:3] if event == "subprocess.Popen" else values
        line = json.dumps([event, shown], default=repr, skipkeys=True)
        os.write(target, line.encode() + b"\n")

    # Where nobody has imported a module before, Python would keep what it made of its source.
    sys.dont_write_bytecode = True
    sys.argv = arguments
    sys.path[0] = os.path.dirname(arguments[0])  # noqa: PTH120 as Python itself does
    sys.addaudithook(note)
    runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
