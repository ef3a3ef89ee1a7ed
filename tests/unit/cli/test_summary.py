"""The last lines of a bake."""

from dataclasses import replace
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from bakery import errors
from scripts.bakery_cli import summary
from scripts.bakery_cli.aws.stack import Execution
from scripts.bakery_cli.follow import Followed, View
from scripts.bakery_cli.history import Event
from scripts.bakery_cli.plain import PlainView
from tests.unit.cli import events
from tests.unit.cli.events import IMAGE, OUTPUT, START
from tests.unit.cli.test_follow import execution


def shown(found: Execution, history: list[Event]) -> tuple[bool, str]:
    out = StringIO()
    followed = Followed()
    view: View = PlainView(Console(file=StringIO()))
    for event in history:
        followed.feed(event, view)
    rows = summary.rows_of(found, followed.stages)
    screen = Console(file=out, width=120)
    well = summary.show(screen, found, followed.tracker, rows, command_log="commands")
    return well, out.getvalue()


def test_the_last_lines_of_a_bake_are_its_result() -> None:
    well, text = shown(execution(), events.good_bake())
    assert well
    lines = [line.rstrip() for line in text.splitlines()]
    assert "Baked web in 5.0 s" in lines
    assert lines[-9:] == [
        f"Image       {IMAGE}",
        "Name        web-20260131T030000Z",
        "Region      eu-west-1",
        "Base image  ami-0base0000000000f0 (al2023-base)",
        "Previous    none, this is the first",
        "Changes     412 packages of Amazon Linux 2023",
        "Cost        about $0.0057 for this bake, at most $0.60 a month for its 12 GiB snapshot",
        "Pointer     /ami-bakery/web/image",
        "Launch it   --image-id resolve:ssm:/ami-bakery/web/image",
    ]


def test_the_copies_of_an_image_are_named_with_their_regions() -> None:
    copies = {"eu-central-1": "ami-0000000000000copy", "us-east-1": "ami-000000000000copy2"}
    found = replace(execution(), output={**OUTPUT, "copies": copies})
    well, text = shown(found, events.good_bake())
    assert well
    row = next(line for line in text.splitlines() if line.startswith("Copies"))
    assert row.split(maxsplit=1)[1].strip() == (
        "ami-0000000000000copy in eu-central-1, ami-000000000000copy2 in us-east-1"
    )
    assert "Left out" not in text


def test_a_region_that_was_left_out_is_named_with_the_reason() -> None:
    left_out = {"us-east-1": "us-east-1 could not be given its copy: no key"}
    found = replace(execution(), output={**OUTPUT, "left_out": left_out})
    _, text = shown(found, events.good_bake())
    row = next(line for line in text.splitlines() if line.startswith("Left out"))
    assert row.split(maxsplit=2)[2].strip() == (
        "us-east-1: us-east-1 could not be given its copy: no key"
    )
    assert "Copies" not in text


def test_an_output_of_the_release_before_has_no_copies_to_name() -> None:
    older = {key: value for key, value in OUTPUT.items() if key not in {"copies", "left_out"}}
    well, text = shown(replace(execution(), output=older), events.good_bake())
    assert well and "Copies" not in text and "Left out" not in text


def test_a_failed_test_shows_where_why_and_that_nothing_was_published() -> None:
    failed = execution("FAILED", "TestFailedError", events.TEST_CAUSE)
    well, text = shown(failed, events.failed_test())
    assert not well
    for part in (
        "The bake of web failed in Test and copy",
        "Test 'answers' ended as Failed with exit code 7",
        "  | connection refused",
        "/ami-bakery/web/image is as it was: it has no image",
        "of every script: CloudWatch log group commands",
    ):
        assert part in text


def test_the_timeline_is_the_one_of_the_execution_s_output() -> None:
    _, text = shown(execution(), events.good_bake())
    launch = next(line for line in text.splitlines() if "Launch builder" in line)
    assert launch.split()[:5] == ["Launch", "builder", "03:00:02", "3.0", "s"]


def test_an_unchanged_recipe_shows_its_reason_and_its_image() -> None:
    output = {**OUTPUT, "outcome": "unchanged", "reason": "nothing has changed", "timeline": []}
    found = Execution("arn", "web-1", "SUCCEEDED", START, "web", output, "", "")
    well, text = shown(found, [])
    assert well
    assert "web is unchanged: nothing has changed" in text
    assert IMAGE in text and "bakery bake web --force" in text


def test_a_failed_step_shows_where_why_and_what_is_left() -> None:
    failed = execution("FAILED", "CustomizationFailedError", events.STEP_CAUSE)
    well, text = shown(failed, events.failed_step())
    assert not well
    for part in (
        "The bake of web failed in Customize, step 'packages'",
        "CustomizationFailedError",
        "exit code 7",
        "  | no such package",
        "Meaning     A step",
        "/ami-bakery/web/image is as it was: it has no image",
        "nothing; Clean up removed 1 resource",
        "CloudWatch log group commands",
        events.ARN,
    ):
        assert part in text


def test_a_refusal_says_that_nothing_was_created() -> None:
    cause = "Recipe 'web' cannot be baked:\n- base: is bad"
    _, text = shown(execution("FAILED", "InvalidRecipeError", cause), events.refused())
    assert "The bake of web failed in Plan" in text
    assert "  - base: is bad" in text
    assert "nothing; nothing had been created" in text
    assert "Pointer" not in text


def test_an_aborted_bake_claims_nothing_that_is_not_certain() -> None:
    state = {k: v for k, v in events.STATE.items() if k != "clean_up"}
    script = events.Script().function("Plan", {"plan": events.PLAN})
    script.function("PublishPointers", state).enter("KeepPrevious").add("ExecutionAborted")
    _, text = shown(execution("ABORTED"), script.events)
    assert "The bake of web was stopped in Keep previous" in text
    assert "as it was" not in text
    assert "unknown, Clean up has not run: look for the tag ami-bakery:bake = web-1" in text


def test_a_bake_that_is_aborted_while_pointers_move_claims_nothing_of_them() -> None:
    """Some of them may have moved already."""
    before = {k: v for k, v in events.STATE.items() if k not in {"clean_up", "publish"}}
    script = events.Script().function("Plan", {"plan": events.PLAN})
    script.function("CreateImage", before).enter("PublishPointers").add("ExecutionAborted")
    _, text = shown(execution("ABORTED"), script.events)
    assert "was stopped in Publish" in text
    assert "as it was" not in text


def test_what_clean_up_could_not_remove_is_named() -> None:
    left: dict[str, Any] = {"removed": [], "left": ["volume vol-1: in use"]}
    state = {**events.STATE, "clean_up": {"result": left}}
    script = events.Script().function("Plan", events.STATE).function("CleanUp", state)
    _, text = shown(execution("FAILED", "ImageFailedError", "x"), script.events)
    assert "volume vol-1: in use; remove it" in text
    assert "as it was" not in text


@pytest.mark.parametrize(
    "name",
    sorted(
        name
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, errors.BakeryError)
    ),
)
def test_every_error_of_the_product_is_explained(name: str) -> None:
    assert errors.advice(name).endswith(".")


def test_an_error_of_somebody_else_is_not_explained() -> None:
    assert errors.advice("States.Timeout") == ""
    assert errors.advice("Problem") == ""


def test_a_builder_that_was_replaced_has_a_row_of_its_own() -> None:
    timeline = [
        OUTPUT["timeline"][0],
        {"stage": "lost_builder", "started": "2026-01-31T03:00:02Z", "seconds": 600.0},
        {"stage": "launch", "started": "2026-01-31T03:10:02Z", "seconds": 3.0},
    ]
    why = "builder i-1 was replaced: Server.SpotInstanceShutdown"
    found = execution()
    found = replace(found, output={**OUTPUT, "timeline": timeline, "reason": f"forced; {why}"})
    well, text = shown(found, events.replaced())
    assert well
    row = next(line for line in text.splitlines() if "Lost builder" in line)
    assert why in row and "10 min" in row
    assert "forced" not in row
