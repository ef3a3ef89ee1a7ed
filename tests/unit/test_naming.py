"""Names, tags and parameter paths."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bakery import naming
from bakery.errors import InvalidRecipeError
from bakery.planning import bake_name_problem, decide
from tests.unit.samples import NOW, recipe, world

EAST = timezone(timedelta(hours=9))


def named(template: str, moment: datetime = NOW) -> str:
    return naming.image_name(template, recipe="web", bake="bake-1", base="ami-1", moment=moment)


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("{recipe}-{time}", "web-20260131T030000Z"),
        ("{date}/{bake}", "2026-01-31/bake-1"),
        ("golden({base})", "golden(ami-1)"),
        ("{recipe}{recipe}", "webweb"),
        ("fixed_name.1", "fixed_name.1"),
    ],
)
def test_every_placeholder_is_replaced(template: str, name: str) -> None:
    assert naming.image_name_problem(template) is None
    assert named(template) == name


def test_the_time_in_a_name_is_utc_wherever_the_moment_was_taken() -> None:
    assert named("{date}-{time}", datetime(2026, 2, 1, 1, 30, tzinfo=EAST)) == (
        "2026-01-31-20260131T163000Z"
    )


@pytest.mark.parametrize("template", ["{name}", "{}", "{recipe!r}", "{recipe:>9}", "{recipe.x}"])
def test_an_unknown_placeholder_is_answered_with_those_that_exist(template: str) -> None:
    assert naming.image_name_problem(template) == (
        f"'{template}' is unknown; use {{recipe}}, {{time}}, {{date}}, {{bake}}, {{base}}"
    )


@pytest.mark.parametrize(
    "template",
    ["{recipe", "recipe}", "{{recipe}}", "}{", "{recipe}}", "{time}-{", "{{", "{ {time}"],
)
def test_unbalanced_braces_are_a_problem_not_a_crash(template: str) -> None:
    problem = naming.image_name_problem(template)
    assert problem is not None
    assert "contains '" in problem or "is unknown" in problem


@pytest.mark.parametrize("text", ["a b", "a:b", "a'b", "a[b]", "a@b", "ä-b", "a\n", "a%b"])
def test_a_character_that_ec2_may_refuse_is_a_problem(text: str) -> None:
    problem = naming.image_name_problem(text)
    assert problem is not None
    assert "image names allow letters, digits and ( ) . / _ -" in problem


@pytest.mark.parametrize("name", ["abc", "a" * 128, "web(1)./_-"])
def test_a_name_within_ec2s_rule_is_valid(name: str) -> None:
    assert naming.valid_image_name(name)


@pytest.mark.parametrize("name", ["", "ab", "a" * 129, "web 1", "web\n", "wéb"])
def test_a_name_outside_ec2s_rule_is_not(name: str) -> None:
    assert not naming.valid_image_name(name)


pieces = st.sampled_from(["{recipe}", "{time}", "{date}", "{bake}", "{base}", "{", "}", "-", "{x}"])


@given(st.lists(pieces | st.text(max_size=40), max_size=8).map("".join))
@settings(deadline=None, max_examples=300)
def test_whatever_template_passes_its_name_is_valid_or_reported(template: str) -> None:
    try:
        plan = decide(world(recipe=recipe(image_name=template)), force=False)
    except InvalidRecipeError as error:
        assert [problem.path for problem in error.problems] == ["image_name"]
    else:
        assert naming.valid_image_name(plan.image_name)
        assert plan.image_tags["Name"] == plan.image_name


@pytest.mark.parametrize(
    ("text", "slug"),
    [
        ("packages", "packages"),
        ("Install nginx (1.24)", "install-nginx-1-24"),
        ("a -- b", "a-b"),
        ("9.", "9"),
        ("Ünï", "n"),
    ],
)
def test_a_slug_has_lower_case_letters_digits_and_single_hyphens(text: str, slug: str) -> None:
    assert naming.slug(text) == slug


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9 ._()/-]{0,59}", fullmatch=True))
@settings(deadline=None, max_examples=100)
def test_every_step_name_of_the_model_gives_a_document_name_that_ssm_takes(step: str) -> None:
    recipe(customize=[{"name": step, "shell": "true"}])
    name = naming.step_document("a" * 48, step)
    assert 3 <= len(name) <= 128
    assert not set(name) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.")
    assert not name.endswith(".")
    test = naming.test_document("a" * 48, step)
    assert 3 <= len(test) <= 128
    assert test.endswith(name.rpartition(".")[2]) and test.count(".") == name.count(".") + 1


def test_a_recipes_document_is_never_a_fixed_one_or_anothers() -> None:
    names = {
        naming.fixed_document("web-app"),
        naming.step_document("web", "app"),
        naming.step_document("web-app", "x"),
        naming.step_document("web", "app x"),
        naming.test_document("web", "app"),
        naming.test_document("web-app", "x"),
        naming.step_document("web", "test"),
        naming.step_document("web", "test app"),
        naming.step_document("web", "test.app"),
    }
    assert len(names) == 8  # "test app" and "test.app" are alike, which the model refuses


def test_pointers_are_where_the_contract_says() -> None:
    assert naming.pointer("web") == "/ami-bakery/web/image"
    assert naming.previous_pointer("web") == "/ami-bakery/web/previous-image"
    assert naming.label_pointer("web", "canary") == "/ami-bakery/web/labels/canary"


def test_no_label_is_the_pointer_of_a_recipe_or_another_recipes_label() -> None:
    names = {
        naming.pointer("web"),
        naming.previous_pointer("web"),
        naming.label_pointer("web", "image"),
        naming.label_pointer("web", "previous-image"),
        naming.label_pointer("web-labels", "image"),
        naming.instance_profile_parameter("web"),
    }
    assert len(names) == 6


def test_everything_that_a_bake_creates_names_recipe_and_bake() -> None:
    assert naming.bake_tags("web", "bake-1") == {
        "ami-bakery:recipe": "web",
        "ami-bakery:bake": "bake-1",
    }


def test_an_execution_time_in_another_zone_is_the_same_name() -> None:
    assert named("{time}", NOW.astimezone(EAST)) == named("{time}", NOW.astimezone(UTC))


def test_the_bake_on_a_new_base_image_has_a_name_that_can_be_one() -> None:
    longest = naming.dependent_bake("r" * 48, "ami-0123456789abcdef0")
    assert bake_name_problem(longest) is None
    assert naming.dependent_bake("web", "ami-0123456789abcdef0") == "web-on-ami-0123456789abcdef0"
