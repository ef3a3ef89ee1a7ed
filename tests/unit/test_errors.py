"""The names by which a bake fails are a contract with Step Functions and with those on call."""

import inspect

import pytest

from bakery import errors
from bakery.errors import LAMBDA_RETRYABLE, RETRYABLE, BakeryError, InvalidRecipeError
from bakery.problems import Problem

LEAVES = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, BakeryError) and kind is not BakeryError
]


@pytest.mark.parametrize("name", RETRYABLE)
def test_what_is_retried_is_an_error_that_exists(name: str) -> None:
    assert issubclass(getattr(errors, name), BakeryError)


def test_only_what_may_pass_by_itself_is_retried() -> None:
    assert set(RETRYABLE) == {"ThrottledError", "ServiceUnavailableError", "NotYetVisibleError"}


def test_errors_of_the_lambda_service_are_retried_too_much_traffic_included() -> None:
    assert {
        "Lambda.ServiceException",
        "Lambda.AWSLambdaException",
        "Lambda.SdkClientException",
        "Lambda.TooManyRequestsException",
        "Lambda.ClientExecutionTimeoutException",
    } <= set(LAMBDA_RETRYABLE)
    assert not set(LAMBDA_RETRYABLE) & set(RETRYABLE)


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.__name__)
def test_every_error_is_a_leaf_with_a_name_and_a_line_for_the_operator(
    leaf: type[BakeryError],
) -> None:
    assert leaf.__bases__ == (BakeryError,), "a base class in ErrorEquals never catches its leaves"
    assert leaf.__name__.endswith("Error")
    assert leaf.__doc__ not in (None, BakeryError.__doc__)
    assert (leaf.__doc__ or "").strip().endswith(".")


def test_a_refused_recipe_lists_every_problem_once_in_a_stable_order() -> None:
    found = [Problem("b", "2"), Problem("a", "1"), Problem("b", "2")]
    error = InvalidRecipeError("web", found)
    assert str(error) == "Recipe 'web' cannot be baked:\n- a: 1\n- b: 2"
    assert error.problems == (Problem("a", "1"), Problem("b", "2"))
    assert error.recipe == "web"
