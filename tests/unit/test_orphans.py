"""What the janitor may take: decided from tags, executions and pointers alone."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from bakery.orphans import (
    QUIET,
    Execution,
    Findings,
    Kind,
    Results,
    Tagged,
    candidates,
    find,
    results,
)

START = datetime(2026, 1, 1, 3, tzinfo=UTC)
END = START + timedelta(minutes=20)
LATER = END + timedelta(hours=1)
ABORTED = Execution("web", START, END, succeeded=False)
BUILDER = Tagged(Kind.INSTANCE, "i-1", "bake-1", "web", START + timedelta(minutes=1))
VOLUME = replace(BUILDER, kind=Kind.VOLUME, id="vol-1")
IMAGE = replace(BUILDER, kind=Kind.IMAGE, id="ami-1", snapshots=("snap-1",))
SNAPSHOT = replace(BUILDER, kind=Kind.SNAPSHOT, id="snap-1")
LOOSE = replace(SNAPSHOT, id="snap-2")
REQUEST = replace(BUILDER, kind=Kind.SPOT_REQUEST, id="sir-1")
ALL = (SNAPSHOT, LOOSE, IMAGE, VOLUME, BUILDER, REQUEST)


def found(
    *tagged: Tagged,
    execution: Execution | None = ABORTED,
    published: tuple[str, ...] = (),
    now: datetime = LATER,
) -> Findings:
    executions = {"bake-1": execution} if execution else {}
    return find(tagged, executions, published=set(published), now=now)


def ids(findings: Findings) -> list[str]:
    return [it.id for it in findings.orphans]


def test_all_of_an_aborted_bake_goes_and_a_snapshot_with_its_image() -> None:
    """A request before its instance, which it would replace; that before its volumes."""
    assert ids(found(*ALL)) == ["sir-1", "i-1", "vol-1", "ami-1", "snap-2"]


@pytest.mark.parametrize("item", ALL, ids=lambda item: item.kind)
def test_nothing_of_a_running_bake_goes(item: Tagged) -> None:
    running = replace(ABORTED, ended=None)
    assert found(item, execution=running) == Findings((), ())


@pytest.mark.parametrize(
    "item", [LOOSE, IMAGE, VOLUME, BUILDER, REQUEST], ids=lambda item: item.kind
)
def test_what_names_an_execution_that_nobody_knows_is_only_told(item: Tagged) -> None:
    result = found(item, execution=None)
    assert result.orphans == ()
    (told,) = result.strange
    assert told.startswith(f"{item.kind} {item.id}: ")
    assert "no execution 'bake-1'" in told


@pytest.mark.parametrize("item", [LOOSE, IMAGE, VOLUME, BUILDER], ids=lambda item: item.kind)
@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"recipe": "other"}, "bakes recipe 'web', not 'other'"),
        ({"recipe": ""}, "bakes recipe 'web', not ''"),
        ({"created": START - timedelta(days=1)}, "not made while"),
        ({"created": END + timedelta(hours=2)}, "not made while"),
    ],
)
def test_what_a_bake_cannot_have_made_is_only_told(
    item: Tagged, changes: dict[str, object], why: str
) -> None:
    result = found(replace(item, **changes))  # type: ignore[arg-type]
    assert result.orphans == ()
    assert why in result.strange[0]


def test_a_call_that_took_effect_after_the_end_is_still_the_bakes() -> None:
    assert ids(found(replace(BUILDER, created=END + timedelta(minutes=3)))) == ["i-1"]


def test_an_image_that_a_pointer_holds_or_held_stays_with_its_snapshots() -> None:
    assert found(IMAGE, SNAPSHOT, published=("ami-1",)) == Findings((), ())


@pytest.mark.parametrize(
    ("tagged", "asked"),
    [
        ([IMAGE, SNAPSHOT], ["ami-1"]),
        ([IMAGE, LOOSE], ["ami-1", "snap-2"]),
        ([replace(IMAGE, id="ami-7"), SNAPSHOT], []),
        ([replace(SNAPSHOT, image="ami-7")], ["snap-1"]),
        ([BUILDER, VOLUME, REQUEST], ["i-1", "vol-1", "sir-1"]),
    ],
)
def test_an_execution_decides_about_nothing_that_is_published_or_goes_with_its_image(
    tagged: list[Tagged], asked: list[str]
) -> None:
    """Of those Step Functions is asked: they must not become more with every image."""
    assert [it.id for it in candidates(tagged, published={"ami-7"})] == asked
    told = find(tagged, {}, published={"ami-7"}, now=LATER).strange
    assert [it.split(":")[0].split()[-1] for it in told] == asked


def test_a_snapshot_of_an_image_that_a_failed_bake_had_published_goes_once_the_image_is_gone() -> (
    None
):
    """CleanUp took the image back, and could not remove all of it."""
    assert ids(found(replace(LOOSE, image="ami-7"), published=("ami-7",))) == ["snap-2"]


def test_the_image_of_a_good_bake_stays_also_without_a_pointer() -> None:
    good = replace(ABORTED, succeeded=True)
    assert ids(found(*ALL, execution=good)) == ["sir-1", "i-1", "vol-1"]


GOOD = replace(ABORTED, succeeded=True, results=Results("web-1", frozenset({"ami-1", "ami-8"})))
REMNANT = replace(IMAGE, id="ami-2", name="web-1", snapshots=("snap-2",))


def test_what_a_good_bake_made_beside_its_results_goes() -> None:
    """The copy in a Region that did not answer any more, and what is left of such a copy."""
    result = replace(IMAGE, name="web-1")
    away = replace(result, id="ami-8", snapshots=("snap-8",), region="eu-central-1")
    torn = replace(SNAPSHOT, id="snap-9", image="ami-9")
    everything = (result, away, REMNANT, torn, SNAPSHOT, replace(LOOSE, image="ami-2"))
    assert ids(found(*everything, execution=GOOD)) == ["ami-2", "snap-9"]
    assert ids(found(*everything, execution=GOOD, now=END + QUIET)) == ["ami-2", "snap-9"]
    early = END + QUIET - timedelta(seconds=1)
    assert found(*everything, execution=GOOD, now=early) == Findings((), ())


@pytest.mark.parametrize(
    "item",
    [
        replace(REMNANT, name="web-1-of-mine"),
        replace(REMNANT, created=END + timedelta(seconds=1)),
        LOOSE,
        replace(LOOSE, image="ami-1"),
        replace(LOOSE, image="ami-8"),
        replace(LOOSE, image="ami-7"),
        replace(LOOSE, image="ami-2", created=END + timedelta(seconds=1)),
    ],
)
def test_what_people_made_of_a_good_bakes_results_stays(item: Tagged) -> None:
    """Copies by hand may have the bake's tags; a result may have been deregistered without its
    snapshots."""
    assert found(item, execution=GOOD, published=("ami-7",)) == Findings((), ())


def test_a_published_remnant_stays_and_all_of_a_bake_that_has_not_told_what_it_made() -> None:
    torn = replace(SNAPSHOT, id="snap-9", image="ami-9")
    assert found(REMNANT, execution=GOOD, published=("ami-2",)) == Findings((), ())
    untold = replace(GOOD, results=None)
    assert found(REMNANT, torn, execution=untold) == Findings((), ())


TOLD = {
    "outcome": "baked",
    "image": {"id": "ami-1", "name": "web-1", "region": "eu-west-1"},
    "copies": {"eu-central-1": "ami-8"},
}


def test_results_are_the_image_and_its_copies() -> None:
    assert results(json.dumps(TOLD)) == Results("web-1", frozenset({"ami-1", "ami-8"}))


@pytest.mark.parametrize(
    "output",
    [
        "",
        "no JSON",
        "null",
        "[]",
        "{}",
        *(json.dumps({key: it for key, it in TOLD.items() if key != gone}) for gone in TOLD),
        json.dumps({**TOLD, "outcome": "unchanged"}),
        json.dumps({**TOLD, "image": None}),
        json.dumps({**TOLD, "image": "ami-1"}),
        json.dumps({**TOLD, "image": {"id": "ami-1"}}),
        json.dumps({**TOLD, "image": {"id": "", "name": "web-1"}}),
        json.dumps({**TOLD, "copies": ["ami-8"]}),
        json.dumps({**TOLD, "copies": {"eu-central-1": None}}),
        json.dumps({**TOLD, "copies": {"eu-central-1": {"id": "ami-8"}}}),
    ],
)
def test_an_output_that_says_other_things_tells_no_results(output: str) -> None:
    assert results(output) is None


def test_an_image_stays_while_parameter_store_may_still_accept_it() -> None:
    early = END + QUIET - timedelta(seconds=1)
    assert ids(found(*ALL, now=early)) == ["sir-1", "i-1", "vol-1"]
    assert ids(found(*ALL, now=END + QUIET)) == ["sir-1", "i-1", "vol-1", "ami-1", "snap-2"]


@pytest.mark.parametrize("succeeded", [False, True])
def test_the_clone_of_a_host_goes_with_its_bake_however_that_ended_and_at_once(
    succeeded: bool,
) -> None:
    """It is no result, and no pointer can be about to hold it."""
    ended = replace(ABORTED, succeeded=succeeded)
    clone = replace(IMAGE, id="ami-2", snapshots=("snap-2",), clone=True)
    loose = replace(LOOSE, id="snap-3", clone=True)
    assert ids(found(clone, loose, execution=ended, now=END)) == ["ami-2", "snap-3"]
    result = found(IMAGE, clone, execution=replace(ABORTED, succeeded=True))
    assert ids(result) == ["ami-2"]


def test_the_clone_of_a_bake_that_runs_stays() -> None:
    running = replace(ABORTED, ended=None)
    assert found(replace(IMAGE, clone=True), execution=running) == Findings((), ())
