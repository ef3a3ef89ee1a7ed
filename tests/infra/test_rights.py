"""Which rights `make rights` looks for: those of every world that a test deploys."""

from pathlib import Path

import pytest

from tests import rights

FUNCTIONAL = Path(__file__).parents[1] / "functional"


def test_every_folder_of_recipes_counts() -> None:
    names = {it.name for it in rights.folders()}
    assert names >= {"bad_recipes", "chain", "hosts", "recipes", "swift"}
    assert {it.parent.name for it in FUNCTIONAL.rglob("*.yaml")} == names


def test_rights_that_only_some_recipes_need_count() -> None:
    always = rights.granted_in(FUNCTIONAL / "recipes")
    hosts = rights.granted_in(FUNCTIONAL / "hosts") - always
    assert ("TasksCloneHost", "ec2:CreateImage") in hosts
    swift = rights.granted_in(FUNCTIONAL / "swift") - always
    assert {
        ("TasksRetireImages", f"ec2:{it}")
        for it in ("DescribeFastLaunchImages", "DisableFastLaunch", "EnableFastLaunch")
    } <= swift


def test_all_worlds_together_grant_what_each_does(monkeypatch: pytest.MonkeyPatch) -> None:
    of_each = {
        it: {("Tasks" + it.name, "ec2:RunInstances"), ("TasksPlan", "ec2:DescribeImages")}
        for it in rights.folders()
    }
    monkeypatch.setattr(rights, "granted_in", of_each.__getitem__)
    assert rights.granted_in_all() == set().union(*of_each.values())


def test_a_right_that_no_test_has_used_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    used, unused = ("TasksPlan", "ec2:DescribeImages"), ("TasksCloneHost", "ec2:CreateImage")
    assert rights.compare({used, unused}, {used: ["a test"]}) == 1
    assert "granted, and used by no test: TasksCloneHost ec2:CreateImage" in capsys.readouterr().out
    assert rights.compare({used}, {used: ["a test"]}) == 0


def test_a_test_that_is_gone_misses_no_right(capsys: pytest.CaptureFixture[str]) -> None:
    assert not rights.needed(("TasksPlan", "ec2:DescribeImages"), ["tests/test_gone.py::test_it"])
    assert "NOT MISSED  TasksPlan ec2:DescribeImages" in capsys.readouterr().out
