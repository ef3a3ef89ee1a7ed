"""NextWave: of a run over all recipes, what can bake now; nothing but the answer."""

from typing import Any

import pytest

from tests.functional.conftest import FunctionFailedError, World

RUN = "arn:aws:states:eu-west-1:123456789012:execution:AmiBakery-Fleet:run-1"
ROOTS = ["archive", "locked", "small", "thrifty", "web"]


def wave(world: World, state: object = None, content: object = None) -> dict[str, Any]:
    event = {"execution": RUN, "input": {} if content is None else content, "state": state or {}}
    result: dict[str, Any] = world.invoke("next_wave", event)
    return result


def refused(world: World, **more: object) -> FunctionFailedError:
    with pytest.raises(FunctionFailedError) as failed:
        wave(world, **more)
    return failed.value


def after(first: dict[str, Any], **failures: str) -> dict[str, Any]:
    """The state when its bakes have ended."""
    ended = {"outcome": "baked", "image": {"id": "ami-1", "name": "x", "region": "eu-west-1"}}
    results = [
        {"recipe": it["recipe"], "bake": it["bake"], "error": failures[it["recipe"]]}
        if it["recipe"] in failures
        else {**it, "ended": ended}
        for it in first["wave"]
    ]
    return {**first, "results": results}


def test_a_run_is_its_waves_and_then_how_all_recipes_fared(quiet: World) -> None:
    first = wave(quiet)
    assert [it["recipe"] for it in first["wave"]] == ROOTS
    second = wave(quiet, after(first))
    assert [it["recipe"] for it in second["wave"]] == ["child"]
    third = wave(quiet, after(second))
    assert third["wave"] == []
    assert {it["recipe"]: it["outcome"] for it in third["done"]} == dict.fromkeys(
        [*ROOTS, "child"], "baked"
    )


def test_called_twice_it_gives_the_same_names_and_makes_nothing(quiet: World) -> None:
    quiet.aws.calls.clear()
    assert wave(quiet) == wave(quiet)
    assert quiet.aws.calls.of(role="NextWave") == []


def test_a_run_with_a_failure_fails_at_its_end(quiet: World) -> None:
    first = wave(quiet)
    error = refused(quiet, state=after(first, small="States.TaskFailed"))
    assert error.name == "FleetFailedError"
    assert "- small: failed (States.TaskFailed) (execution small-fleet-" in error.message
    assert "- child: small, which it builds on, was not baked" in error.message


@pytest.mark.parametrize(
    "content", [{"forced": True}, {"force": "yes"}, {"done": [], "results": []}, [], "all"]
)
def test_an_input_that_is_no_runs_is_refused(quiet: World, content: object) -> None:
    """The state begins as the input: nobody can pretend that recipes are done."""
    error = refused(quiet, content=content, state=content)
    assert error.name == "InvalidInputError"
    assert 'Write {}, or {"force": true}.' in error.message
