"""A whole sweep of faults leaves no note of an older one; a part of it leaves the others' notes."""

import os
import subprocess

import pytest

REMOVES = "rm -rf build/rights/missed"


@pytest.mark.parametrize(
    ("arguments", "removes"),
    [((), True), (("PYTEST_ARGS=",), True), (("PYTEST_ARGS=-k launch_builder",), False)],
)
def test_old_notes_go_before_the_whole_sweep(arguments: tuple[str, ...], removes: bool) -> None:
    # What the make that runs the tests was told is none of this one's business.
    ours = {"PYTEST_ARGS", "MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS"}
    shown = subprocess.run(
        ["make", "--dry-run", "faults", *arguments],
        capture_output=True,
        text=True,
        check=True,
        env={name: value for name, value in os.environ.items() if name not in ours},
    ).stdout
    assert (REMOVES in shown) is removes
    assert "--matrix" in shown
    if removes:
        assert shown.index(REMOVES) < shown.index("--matrix")
