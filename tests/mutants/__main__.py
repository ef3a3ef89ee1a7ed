"""Puts each bug into a copy of the project and runs the test that should notice.

    python -m tests.mutants [part of a name …]

Exit code 1 when a bug goes unnoticed, or does not fit the code any more.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.mutants.bugs import BUGS, Bug

PROJECT = Path(__file__).resolve().parents[2]
JOBS = 3
SHARED = (".venv", "build")
"""Not copied; nothing in it changes."""

NOTICED, PASSED = 1, 0
"""pytest's exit codes; any other means that the tests did not run."""
_ALL = ("-m", "long or not long")
"""Those that `make test` leaves out as well."""


def main(wanted: Sequence[str]) -> int:
    chosen = [bug for bug in BUGS if not wanted or any(part in bug.name for part in wanted)]
    if not chosen:
        print(f"No bug is named like {' or '.join(wanted)}: see tests/mutants/bugs.py.")
        return 1
    with TemporaryDirectory(prefix="sound-") as folder, ThreadPoolExecutor(JOBS) as pool:
        project = Path(folder) / "project"
        copy_project(project)  # once, so that nobody has to keep still meanwhile
        sound = pool.submit(run, sorted({bug.noticed_by for bug in chosen}), project)
        verdicts = list(pool.map(lambda bug: judge(bug, project), chosen))
        if sound.result() != PASSED:
            print("The tests fail without any bug: nothing is proven.")
            return 1
    missed = sum(not noticed for noticed in verdicts)
    print(f"{len(chosen)} bugs, {len(chosen) - missed} noticed")
    return 1 if missed else 0


def judge(bug: Bug, project: Path) -> bool:
    """Whether the test notices the bug; says so."""
    with TemporaryDirectory(prefix="mutant-") as folder:
        copy = Path(folder) / "project"
        shutil.copytree(project, copy, symlinks=True)
        code = run([bug.noticed_by], copy) if put(bug, copy) else None
    verdict = "noticed" if code == NOTICED else "MISSED" if code == PASSED else "CANNOT SAY"
    print(f"{verdict:<10}  {bug.name}", flush=True)
    return code == NOTICED


def run(tests: Sequence[str], project: Path) -> int:
    """pytest's exit code of these tests in that copy of the project.

    Python's tracebacks, not pytest's: those parse the source, and before 3.11.8 that fails while
    another thread does so (SystemError, python/cpython#106905).
    """
    options = ["-q", "-x", *_ALL, "-p", "no:cacheprovider", "--tb=native"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *tests],
        cwd=project,
        env={**os.environ, "PYTHONPATH": f"{project / 'functions'}:{project}"},
        capture_output=True,
        text=True,
    )
    if done.returncode not in (NOTICED, PASSED):
        print(done.stdout[-2000:], done.stderr[-2000:])
    return done.returncode


def copy_project(copy: Path) -> None:
    """What git knows of, as it is in the working tree."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (PROJECT / name).is_file():
            target = copy / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, target)
    for name in SHARED:
        (copy / name).symlink_to(PROJECT / name)


def put(bug: Bug, copy: Path) -> bool:
    """Change the one place; whether there is just one."""
    path = copy / bug.file
    text = path.read_text(encoding="utf-8")
    if text.count(bug.old) != 1:
        print(f"'{bug.name}' does not fit {bug.file}: {text.count(bug.old)} places have its text")
        return False
    path.write_text(text.replace(bug.old, bug.new), encoding="utf-8")
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
