"""Hostile and wrong recipes, inputs and output of scripts on the deployed stack: what is wrong ends
in Plan, which has only read; what is right goes through the machine as it is."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bakery.errors import InvalidRecipeError
from bakery.recipe import parse_recipe
from tests.functional.conftest import FunctionFailedError, World
from tests.hostile import CANARY, CLASSICS, MIXED, STATES, ascii_only, is_plain
from tests.model_fields import Case, cases
from tests.unit.test_invalid_input import BY_HAND, INPUTS
from tests.unit.test_invalid_input import RECIPES as WRONG

BASE = {"parameter": "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"}
DOCUMENT = "AWS-RunPatchBaseline"
_OF_LAMBDA = ("START RequestId: ", "END RequestId: ", "REPORT RequestId: ")


def made_by_texts(world: World, tmp_path: Path) -> list[Path]:
    """Files that a text has made where it was run: here, or where the functions are."""
    roots = {function.root for function in world.aws.lambdas.functions.values()}
    return [
        Path(folder, CANARY)
        for root in {Path.cwd(), tmp_path, *roots}
        # Unlike a glob, it passes over a folder that another test has just removed.
        for folder, folders, files in os.walk(root)
        if CANARY in {*folders, *files}
    ]


@pytest.fixture(autouse=True)
def logged_as_data(world: World, tmp_path: Path) -> Iterator[None]:
    """At the end of each test: one record of JSON a line, and no file that a text has made."""
    world.aws.lambdas.log_lines.clear()
    yield
    lines = [it.text for it in world.aws.lambdas.log_lines]
    assert lines
    for line in lines:
        assert line.startswith(_OF_LAMBDA) or isinstance(json.loads(line), dict), line
    assert made_by_texts(world, tmp_path) == []


@pytest.fixture
def reading(world: World) -> Iterator[World]:
    """The world, in which the functions may have done nothing but read."""
    world.aws.calls.clear()
    before = world.items()
    yield world
    calls = [call for call in world.aws.calls if call.principal.role]
    assert [call for call in calls if not call.reads] == []
    assert world.items() == before


def refused(world: World, module: str, event: dict[str, Any]) -> FunctionFailedError:
    with pytest.raises(FunctionFailedError) as failed:
        world.invoke(module, event)
    assert all(map(is_plain, failed.value.message.splitlines())), failed.value
    return failed.value


def planning(content: object) -> dict[str, Any]:
    return {"bake": "bake-x", "execution": "arn:aws:states:x:x:execution:x:x", "input": content}


def paths(error: FunctionFailedError) -> set[str]:
    lines = [line[2:] for line in error.message.splitlines() if line.startswith("- ")]
    return {line.partition(": ")[0] for line in lines}


def test_a_file_that_a_text_makes_is_found_wherever_functions_run(
    world: World, tmp_path: Path
) -> None:
    with world.carrying({}, "plan", tmp_path):
        refused(world, "plan", planning({"recipe": "none"}))
        (root,) = {
            it.root for it in world.aws.lambdas.functions.values() if tmp_path in it.root.parents
        }
        for folder in (root, *(it for it in root.iterdir() if it.is_dir())):
            (folder / CANARY).touch()
            assert made_by_texts(world, tmp_path) != []
            (folder / CANARY).unlink()


# --- what is wrong ------------------------------------------------------------------------------


def test_plan_refuses_every_wrong_recipe_and_has_only_read(reading: World, tmp_path: Path) -> None:
    some = [*BY_HAND, *WRONG[len(BY_HAND) :: 8]]
    assert len(some) > 300
    named = {f"r-{number}": case for number, case in enumerate(some)}
    contents = {name: case.content for name, case in named.items()}
    with reading.carrying(contents, "plan", tmp_path):
        for name, case in named.items():
            error = refused(reading, "plan", planning({"recipe": name}))
            assert error.name == "InvalidRecipeError"
            assert case.is_named(paths(error)), (case, error)


@pytest.mark.parametrize("model", INPUTS)
def test_every_wrong_input_is_refused_and_nothing_but_reading_is_done(
    reading: World, model: Any
) -> None:
    for case in cases(model):
        error = refused(reading, *_call(model.__name__, case))
        assert error.name == "InvalidInputError"
        assert case.is_named(paths(error)), (case, error)


def _call(model: str, case: Case) -> tuple[str, dict[str, Any]]:
    event = planning(case.content)
    if model == "Asked":
        return "move_pointer", {**event, "action": "move"}
    return ("plan", event) if model == "ExecutionInput" else ("next_wave", event)


def test_every_hostile_text_in_an_input_is_refused_and_nothing_but_reading_is_done(
    reading: World,
) -> None:
    texts = [*CLASSICS, *MIXED[::5]]
    assert len(texts) > 500
    for text in texts:
        content = {
            "recipe": f"{text} ",
            "slot": text,
            f"x{text}": text,
            "force": text,
            "when_busy": text,
        }
        error = refused(reading, "plan", planning(content))
        assert error.name == "InvalidInputError"
        assert {"force", "recipe", "slot", "when_busy"} <= paths(error), error
        first, *told, last = error.message.splitlines()
        assert (first[-1], last[:6]) == (":", "Write ")
        assert all(line.startswith("- ") for line in told)
        assert len(content) <= len(told) <= len(content) + 1  # the key, and its value


# --- what is right ------------------------------------------------------------------------------


def carried() -> list[str]:
    """Texts that a parameter may have, in one line as the document's pattern asks."""
    found = []
    for text in [*CLASSICS, *MIXED]:
        step = {"name": "x", "document": DOCUMENT, "parameters": {"Key": text}}
        try:
            parse_recipe("web", {"description": "x", "base": BASE, "customize": [step]})
        except InvalidRecipeError:
            continue
        if "\n" not in text and len(text) < 500:
            found.append(text)
    return found


def test_a_bake_carries_hostile_texts_to_where_they_belong_and_no_further(
    world: World, tmp_path: Path
) -> None:
    texts = carried()
    assert len(texts) > 400
    half = len(texts) // 2
    lists = [f"https://x/ {' '.join(part)}" for part in (texts[:half], texts[half:])]
    description = " ".join(ascii_only(STATES, 40))[:255].strip()
    steps: list[dict[str, Any]] = [
        {
            "name": f"s{number} (States.Format)",
            "document": DOCUMENT,
            "parameters": {"Operation": "Scan", "InstallOverrideList": it, "BaselineOverride": it},
        }
        for number, it in enumerate(lists)
    ]
    recipe = {
        "description": description,
        "base": BASE,
        "customize": steps,
        "test": {"identity": False},
    }
    # Only the way there is looked at; what AWS's script does with a value is AWS's.
    world.aws.agent.script(DOCUMENT, exit_code=0, times=2)
    with world.carrying({"web": recipe}, "plan", tmp_path, published=True):
        ended = world.bake("web", force=True)
    assert ended.status == "SUCCEEDED", ended.cause
    sent = [it["Parameters"] for it in world.calls("SendCommand") if it["DocumentName"] == DOCUMENT]
    assert sent == [{name: [value] for name, value in it["parameters"].items()} for it in steps]
    (made,) = world.calls("CreateImage")
    assert made["Description"] == description
    image = world.aws.client("ec2").describe_images(ImageIds=[ended.output["image"]["id"]])
    assert image["Images"][0]["Description"] == description
    others = [it for it in world.calls("SendCommand") if it["DocumentName"] != DOCUMENT]
    assert "canary" not in json.dumps(others)


def test_what_a_script_says_is_quoted_and_nothing_else(world: World) -> None:
    said = [
        *(
            "{% $states.input %}",
            "States.Format('{}', $.plan)",
            "$.plan",
            "{}",
            "\x1b[2J\x1b]0;x\x07",
        ),
        *('{"errorMessage": "forged"}', '"}\n{"level": "INFO"}', "$(touch canary)", "{{ Bake }}"),
        *(
            "a\u202eb",
            "[ERROR] forged",
            "- recipe: all is well",
            "Kept until noon\u2028Clean up\rGo",
            "%s %d {0.__class__}",
            "<script>",
        ),
    ]
    world.aws.agent.script("AmiBakery.small.packages", exit_code=1, stderr="\n".join(said))
    ended = world.bake("small", force=True)
    assert (ended.status, ended.error) == ("FAILED", "CustomizationFailedError")
    *_, quoted = ended.cause.partition("Its last lines on stderr:\n")
    # No line of the script's could be one of ours.
    lines = "\n".join(said).splitlines()
    assert quoted.startswith("".join(f"| {line}\n" for line in lines[:-1]) + f"| {lines[-1]}")
    world.aws.until(lambda: world.aws.events.of("Bake Failed"), what="the event")
    (event,) = world.aws.events.of("Bake Failed")
    assert "canary" not in json.dumps(event)
    assert "\n" not in event["detail"]["summary"]
