"""Versions are ordered as the package managers order them."""

import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bakery.versions import key

IN_ORDER = {
    "deb": [
        *("1.0~rc1-1", "1.0-1", "1.0-1ubuntu0.1", "1.0-1+b1", "1.0-1+deb12u1", "1.0a-1", "1.0.1-1"),
        *("1.2", "1.10", "2.0-1-1", "1:0.1", "2:0.0.1"),
    ],
    # Of rpm's own tests: rpmvercmp.at.
    "rpm": [
        *("1.0~rc1-1", "1.0-1.amzn2023", "1.0-2.amzn2023", "1.0-10.amzn2023", "1.0^git1-1"),
        *("1.0.a-1", "1.0.1-1", "2.0-1", "2.0.1a-1", "1:0.1-1"),
    ],
}


@pytest.mark.parametrize("kind", IN_ORDER)
def test_each_version_is_newer_than_the_one_before_it(kind: str) -> None:
    keys = [key(kind, version) for version in IN_ORDER[kind]]
    assert keys == sorted(keys)
    assert len({str(it) for it in keys}) == len(keys)


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        ("deb", "1.0", "0:1.0"),
        ("deb", "1.00-1", "1.0-1"),
        ("deb", "1.0-0", "1.0"),
        ("rpm", "1.05-1", "1.5-1"),
        ("rpm", "1_0-1", "1.0-1"),
    ],
)
def test_some_are_the_same_though_written_otherwise(kind: str, one: str, other: str) -> None:
    assert key(kind, one) == key(kind, other)


PIECES = st.builds(
    lambda parts, last: f"1{''.join(parts)}{last}",
    st.lists(
        st.sampled_from(["0", "1", "2", "10", "09", ".", "~", "+", "a", "b", "rc", "-", "Z"]),
        max_size=6,
    ),
    st.sampled_from("01a~"),
)


@pytest.mark.skipif(shutil.which("dpkg") is None, reason="compares with dpkg, which is not here")
@settings(max_examples=40, deadline=None)
@given(one=PIECES, other=PIECES)
def test_it_orders_as_dpkg_does(one: str, other: str) -> None:
    def says(relation: str) -> bool:
        command = ["dpkg", "--compare-versions", one, relation, other]
        return subprocess.run(command, check=False).returncode == 0

    first, second = key("deb", one), key("deb", other)
    assert (first < second, first == second) == (says("lt"), says("eq"))
