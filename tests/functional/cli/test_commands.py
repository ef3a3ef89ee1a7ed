"""Every command that talks to AWS, against a deployed stack."""

import re

import pytest

from bakery.naming import pointer
from scripts.bakery_cli import follow as following
from scripts.bakery_cli.stages import STAGES
from tests.functional.cli.conftest import Bakery, Said
from tests.functional.conftest import World


@pytest.fixture(scope="module")
def baked() -> dict[str, Said]:
    """The first bake of recipe small, made by the first test that wants it."""
    return {}


@pytest.fixture
def first(baked: dict[str, Said], bakery: Bakery) -> Said:
    if "small" not in baked:
        baked["small"] = bakery("bake", "small", "--execution-name", "first")
    assert baked["small"].code == 0, baked["small"]
    return baked["small"]


def test_a_bake_shows_each_stage_as_it_begins_and_ends(first: Said) -> None:
    for stage in STAGES:
        (start,) = [line for line in first.lines if re.search(rf"start  {stage.title}$", line)]
        assert re.match(r" +\d+:\d\d ", start)
        assert any(re.search(rf"done   {stage.title} ", line) for line in first.lines)
    assert any(re.search(r"start    1/1 packages$", line) for line in first.lines)


def test_the_last_lines_of_a_bake_are_what_it_made(first: Said, world: World) -> None:
    facts = dict(re.split(r" {2,}", line, maxsplit=1) for line in first.lines[-9:])
    assert facts["Image"] == world.pointer("small")
    assert re.fullmatch(r"small-\d{8}T\d{6}Z", facts["Name"])
    assert facts["Region"] == "eu-west-1"
    assert facts["Base image"].startswith("ami-0a120230000000064 (al2023-ami-")
    assert facts["Changes"].startswith("2 packages of Amazon Linux 2023, invented")
    assert facts["Cost"].startswith("about $0.0")
    assert facts["Pointer"] == pointer("small")
    table = [line for line in first.lines if re.search(r" \d\d:\d\d:\d\d ", line)]
    assert [line.strip().split("  ")[0] for line in table] == [stage.title for stage in STAGES]


def test_follow_shows_an_ended_bake_again_by_name_and_by_arn(first: Said, bakery: Bakery) -> None:
    by_name = bakery("follow", "first")
    assert by_name.code == 0 and "Bake of small, execution first" in by_name.lines
    assert by_name.lines[-9:] == first.lines[-9:]
    arn = next(line for line in bakery("bake", "small", "--detach").lines if "arn:" in line)
    again = bakery("follow", arn)
    assert again.code == 0
    assert any("small is unchanged: nothing has changed since image" in x for x in again.lines)


def test_an_unchanged_recipe_is_said_to_be_so_with_its_image(
    first: Said, bakery: Bakery, world: World
) -> None:
    said = bakery("bake", "small")
    assert said.code == 0
    assert f"Image       {world.pointer('small')}" in said.lines
    assert said.lines[-1] == "Anyway      bakery bake small --force"
    assert world.calls("RunInstances") == []


def test_plan_says_what_a_bake_would_do_and_creates_nothing(bakery: Bakery, world: World) -> None:
    said = bakery("plan", "web")
    assert said.code == 0
    assert "A bake of web would make an image: first image of this recipe" in said.lines
    assert "1. packages: AmiBakery.web.packages version 1" in said.out
    assert "3. patch: AWS-RunPatchBaseline" in said.out
    assert "Base image            ami-0a120230000000064" in said.out
    assert world.calls("RunInstances") == [] and world.calls("StartExecution") == []


def test_plan_of_an_unchanged_recipe_and_what_force_changes(first: Said, bakery: Bakery) -> None:
    assert "would do nothing: nothing has changed" in bakery("plan", "small").out
    assert "forced, though nothing has changed" in bakery("plan", "small", "--force").out


def test_recipes_shows_current_images(first: Said, bakery: Bakery, world: World) -> None:
    said = bakery("recipes")
    assert said.code == 0
    (small,) = [line for line in said.lines if line.strip().startswith("small ")]
    assert small.endswith(str(world.pointer("small")))
    assert any(line.strip().startswith("web ") and "none yet" in line for line in said.lines)


def test_a_step_that_exits_7_fails_the_command_with_step_code_and_stderr(
    bakery: Bakery, world: World
) -> None:
    world.aws.agent.script("AmiBakery.web.packages", exit_code=7, stderr="no such package\n")
    said = bakery("bake", "web")
    assert said.code == 1
    for part in (
        "The bake of web failed in Customize, step 'packages'",
        "CustomizationFailedError",
        "exit code 7",
        "no such package",
        "/ami-bakery/web/image is as it was: it has no image",
        "nothing; Clean up removed",
        "Execution   arn:",
    ):
        assert part in said.out
    assert world.pointer("web") is None


@pytest.mark.parametrize("command", ["bake", "plan"])
def test_a_recipe_that_is_not_deployed_is_answered_with_those_that_are(
    bakery: Bakery, world: World, command: str
) -> None:
    said = bakery(command, "nope")
    assert said.code == 1
    assert "UnknownRecipeError" in said.out
    assert "There is no recipe 'nope'. Deployed recipes: " in said.out
    assert world.calls("RunInstances") == []


@pytest.mark.parametrize("name", ["UPPER", "a", "x" * 80])
def test_a_name_that_no_recipe_can_have_is_refused_with_what_is_wrong(
    bakery: Bakery, name: str
) -> None:
    said = bakery("bake", name)
    assert said.code == 1
    assert "InvalidInputError" in said.out and "recipe:" in said.out


def test_an_execution_that_is_not_there_is_one_sentence(bakery: Bakery) -> None:
    for name in ("nobody", "arn:aws:states:eu-west-1:123456789012:execution:AmiBakery-Bake:no"):
        said = bakery("follow", name)
        assert said.code == 2 and "There is no execution arn:" in said.err


def test_a_name_of_another_bake_is_refused(first: Said, bakery: Bakery) -> None:
    said = bakery("bake", "small", "--force", "--execution-name", "first")
    assert said.code == 2
    assert "There is an execution named 'first' already." in said.err
    assert "bakery follow first" in said.err


def test_a_name_that_step_functions_refuses_is_explained(bakery: Bakery) -> None:
    said = bakery("bake", "small", "--execution-name", "a b")
    assert said.code == 2 and "'a b' cannot name an execution." in said.err


def test_ctrl_c_leaves_the_bake_alone_and_says_how_to_come_back(
    bakery: Bakery, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(following.follow, "__kwdefaults__", {"sleep": interrupted})
    said = bakery("bake", "small", "--force", "--execution-name", "left-alone")
    monkeypatch.undo()
    assert said.code == 130
    assert "Stopped watching. The bake goes on:" in said.lines
    assert "Come back to it: bakery follow left-alone" in said.lines
    arn = next(line.strip() for line in said.lines if line.strip().startswith("arn:"))
    assert world.ended(arn).status == "SUCCEEDED"


def test_where_nothing_is_deployed_the_remedy_is_to_deploy(
    bakery: Bakery, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scripts.bakery_cli.aws.stack.STACK", "Elsewhere")
    said = bakery("bake", "small")
    assert said.code == 2
    assert "There is no stack Elsewhere in eu-west-1 of this account." in said.err
    assert "make deploy" in said.err
