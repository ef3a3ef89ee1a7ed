"""What travels through the state machine, and what may start it."""

import pytest
from pydantic import ValidationError

from bakery.bake import ExecutionInput
from bakery.recipe import validation_problems


def paths(given: object) -> set[str]:
    with pytest.raises(ValidationError) as refused:
        ExecutionInput.model_validate(given)
    return {problem.path for problem in validation_problems(refused.value)}


def test_the_name_of_a_recipe_starts_a_bake() -> None:
    assert ExecutionInput.model_validate({"recipe": "web"}) == ExecutionInput(
        recipe="web", force=False, slot=None
    )


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({}, {"recipe"}),
        ({"recipe": "web", "froce": True}, {"froce"}),
        ({"recipe": "Web 1"}, {"recipe"}),
        ({"recipe": "web\n"}, {"recipe"}),
        ({"recipe": None, "force": None}, {"recipe", "force"}),
        ({"recipe": "web", "slot": "x" * 41}, {"slot"}),
    ],
)
def test_another_input_is_refused_with_the_key_that_is_wrong(
    given: dict[str, object], wrong: set[str]
) -> None:
    assert paths(given) == wrong


@pytest.mark.parametrize("force", ["true", "false", 1, 0, None, "yes"])
def test_force_in_quotes_or_as_a_number_is_refused_not_guessed(force: object) -> None:
    assert paths({"recipe": "web", "force": force}) == {"force"}


@pytest.mark.parametrize("given", [None, [], "web", 7])
def test_an_input_that_is_no_mapping_is_refused(given: object) -> None:
    assert paths(given) == {""}
