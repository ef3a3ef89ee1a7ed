"""retire_daily: old images go on days on which nothing is baked, too."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.functional.conftest import FunctionFailedError, World
from tests.functional.retiring import POLICY, Retiring

BASE = {"description": "x", "base": {"ami": "ami-0a120230000000064"}}
FAR = [{"region": "eu-central-1"}]


def asked(world: World) -> list[tuple[str, str]]:
    """Recipe and Region of each start of RetireImages."""
    found = [json.loads(call["Payload"]) for call in world.calls("Invoke")]
    return [(it["recipe"], it["region"]) for it in found if "retention" not in it]


def test_each_recipe_with_retention_is_asked_for_in_each_of_its_regions(
    quiet: World, tmp_path: Path
) -> None:
    recipes: dict[str, Any] = {
        "first": {**BASE, "retention": POLICY, "distribute": FAR},
        "second": {**BASE, "retention": POLICY},
        "third": BASE,
    }
    with quiet.carrying(recipes, "retire_daily", tmp_path):
        quiet.invoke("retire_daily", {})
    assert asked(quiet) == [
        ("first", "eu-west-1"),
        ("first", "eu-central-1"),
        ("second", "eu-west-1"),
    ]


def test_a_shared_image_goes_though_its_recipe_is_never_baked_again(quiet: World) -> None:
    """A report on its use is old after a week, and bakes may be a month apart."""
    quiet.aws.ec2.durations.copy = 5
    tidy = Retiring(quiet, "tidy")
    old, *_ = tidy.images(3)
    tidy.ec2.modify_image_attribute(
        ImageId=old, LaunchPermission={"Add": [{"UserId": "111122223333"}]}
    )
    tidy.later(days=40)
    quiet.invoke("retire_daily", {})
    quiet.aws.until(lambda: quiet.calls("CreateImageUsageReport"), what="the report is asked for")
    for state in ("disabled", None):
        tidy.later(days=7 if state is None else 1)

        def gone(state: str | None = state) -> bool:
            return tidy.states().get(old) == state

        quiet.aws.until(lambda: quiet.aws.lambdas.idle, what="the end of the run before")
        quiet.invoke("retire_daily", {})
        quiet.aws.until(gone, what=f"{old} {state}")


def test_a_recipe_that_is_being_baked_is_left_for_the_next_day(
    quiet: World, tmp_path: Path
) -> None:
    recipes: dict[str, Any] = {
        "first": {**BASE, "retention": POLICY},
        "second": {**BASE, "retention": POLICY},
    }
    quiet.put_item("claim#lease#first", holder="arn:aws:states:eu-west-1:1:execution:Bake:x")
    with quiet.carrying(recipes, "retire_daily", tmp_path):
        quiet.invoke("retire_daily", {})
    quiet.remove_item("claim#lease#first")
    assert asked(quiet) == [("second", "eu-west-1")]


def test_one_that_cannot_be_started_keeps_no_other_from_it(quiet: World, tmp_path: Path) -> None:
    recipes: dict[str, Any] = {
        "first": {**BASE, "retention": POLICY},
        "second": {**BASE, "retention": POLICY},
    }
    quiet.aws.faults.error(
        "lambda",
        "Invoke",
        code="AccessDeniedException",
        status=403,
        when=lambda call: "first" in str(call["Payload"]),
    )
    with (
        quiet.carrying(recipes, "retire_daily", tmp_path),
        pytest.raises(FunctionFailedError) as failed,
    ):
        quiet.invoke("retire_daily", {})
    assert failed.value.name == "AccessDeniedError"
    assert asked(quiet) == [("second", "eu-west-1")]
