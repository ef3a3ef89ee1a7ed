"""A run over all recipes: what bakes when, and what does not."""

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakery import fleet
from bakery.fleet import Done, Outcome
from bakery.naming import fleet_bake
from bakery.planning import bake_name_problem
from bakery.recipe import Recipe
from tests.unit.samples import recipe

RUN = "arn:aws:states:eu-west-1:111122223333:execution:AmiBakery-Fleet:run-1"


def recipes(bases: Mapping[str, str | None]) -> dict[str, Recipe]:
    return {
        name: recipe(base={"recipe": base}) if base else recipe() for name, base in bases.items()
    }


FOREST = {"aa": None, "bb": "aa", "cc": "bb", "dd": "aa", "ee": None}


def play(
    bases: Mapping[str, str | None], *, fails: Sequence[str] = (), unchanged: Sequence[str] = ()
) -> tuple[list[list[str]], dict[str, Done]]:
    """The waves of a whole run, and how all recipes fared."""
    done: list[Done] = []
    waves: list[list[str]] = []
    while True:
        items, stopped = fleet.next_wave(recipes(bases), done, run=RUN, force=False)
        done += stopped
        if not items:
            return waves, {it.recipe: it for it in done}
        waves.append([item.recipe for item in items])
        for item in items:
            done.append(_ended(item.recipe, fails, unchanged))


def _ended(name: str, fails: Sequence[str], unchanged: Sequence[str]) -> Done:
    outcome: Outcome = "baked"
    if name in fails:
        outcome = "failed"
    elif name in unchanged:
        outcome = "unchanged"
    return Done(recipe=name, outcome=outcome, bake=f"{name}-1")


def test_a_recipe_bakes_in_the_wave_after_its_base() -> None:
    waves, done = play(FOREST, unchanged=["aa"])
    assert waves == [["aa", "ee"], ["bb", "dd"], ["cc"]]
    assert {it.outcome for it in done.values()} == {"baked", "unchanged"}
    assert fleet.failure(list(done.values())) is None


def test_what_builds_on_a_failed_one_is_stopped_and_the_rest_goes_on() -> None:
    waves, done = play(FOREST, fails=["bb"])
    assert waves == [["aa", "ee"], ["bb", "dd"]]
    assert done["cc"].outcome == "stopped"
    assert done["cc"].because == "bb, which it builds on, was not baked"
    waves, done = play(FOREST, fails=["aa"])
    assert waves == [["aa", "ee"]]
    assert {name for name, it in done.items() if it.outcome == "stopped"} == {"bb", "cc", "dd"}
    assert done["cc"].because == "bb, which it builds on, was stopped"


@given(
    parents=st.lists(st.integers(min_value=-1, max_value=30), min_size=1, max_size=30),
    failing=st.sets(st.integers(min_value=0, max_value=29)),
)
def test_every_recipe_fares_once_after_its_base(parents: list[int], failing: set[int]) -> None:
    names = [f"recipe-{n:02}" for n in range(len(parents))]
    bases = {
        name: names[parent] if 0 <= parent < n else None
        for n, (name, parent) in enumerate(zip(names, parents, strict=True))
    }
    fails = [names[n] for n in failing if n < len(names)]
    waves, done = play(bases, fails=fails)
    assert set(done) == set(names)
    order = [name for wave in waves for name in wave]
    assert len(order) == len(set(order))
    at = {name: n for n, wave in enumerate(waves) for name in wave}
    for name, base in bases.items():
        if base is None:
            assert at[name] == 0
        elif done[base].outcome in ("baked", "unchanged"):
            assert at[name] == at[base] + 1
        else:
            assert done[name].outcome == "stopped"


def test_a_run_without_recipes_is_over_at_once() -> None:
    assert fleet.next_wave({}, [], run=RUN, force=False) == ([], [])
    assert fleet.failure([]) is None


def test_bakes_join_one_that_is_under_way() -> None:
    """The event of the base may have started it."""
    (item,), _ = fleet.next_wave(recipes({"aa": None}), [], run=RUN, force=False)
    assert item.input == {"recipe": "aa", "when_busy": "join"}
    assert item.bake == fleet_bake("aa", RUN)


@pytest.mark.parametrize("outcome", ["baked", "unchanged"])
def test_only_what_builds_on_no_other_recipe_is_forced(outcome: Outcome) -> None:
    """The rest has followed its base perhaps, and would be baked a second time."""
    both = recipes({"aa": None, "bb": "aa"})
    (first,), _ = fleet.next_wave(both, [], run=RUN, force=True)
    assert (first.recipe, first.input["force"]) == ("aa", True)
    done = [Done(recipe="aa", outcome=outcome)]
    (second,), _ = fleet.next_wave(both, done, run=RUN, force=True)
    assert second.recipe == "bb"
    assert "force" not in second.input


def test_the_bakes_of_a_run_have_names_of_their_own() -> None:
    longest = "r" * 48
    names = {fleet_bake(name, run) for name in ("aa", longest) for run in (RUN, f"{RUN}1")}
    assert len(names) == 4
    assert all(bake_name_problem(name) is None for name in names)


def test_the_result_of_a_bake_is_its_outcome_and_image() -> None:
    known = {"recipe": "aa", "bake": "aa-1", "input": {}}
    ended = {"outcome": "baked", "image": {"id": "ami-1", "name": "x", "region": "y"}}
    assert fleet.result_of({**known, "ended": ended}) == Done(
        recipe="aa", bake="aa-1", outcome="baked", image="ami-1"
    )
    none = {"outcome": "unchanged", "image": None}
    assert fleet.result_of({**known, "ended": none}).image is None
    failed = fleet.result_of({**known, "error": "States.TaskFailed"})
    assert (failed.outcome, failed.because) == ("failed", "failed (States.TaskFailed)")


def test_a_failure_names_each_recipe_and_stays_short() -> None:
    _, done = play(FOREST, fails=["bb"])
    told = str(fleet.failure(list(done.values())))
    assert told.startswith("2 of 5 recipes were not baked, 3 are up to date:\n")
    assert "\n- cc: bb, which it builds on, was not baked\n" in told
    assert "(execution bb-1)" in told
    many = [Done(recipe=f"recipe-{n}", outcome="failed", because="x" * 100) for n in range(1000)]
    told = str(fleet.failure(many))
    assert "- and 950 more" in told
    assert len(told) < 20_000
