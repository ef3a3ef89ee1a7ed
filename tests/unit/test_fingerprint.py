"""What went into an image, and in words what differs from the last one."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from bakery.fingerprint import Fingerprint, Parts, changes, fingerprint
from bakery.recipe import Recipe
from tests.unit.samples import APPLICATION, DOCUMENT, REBOOT, SHELL, recipe

STEPS = [SHELL, DOCUMENT, REBOOT, APPLICATION]
DOCUMENTS = {
    "AmiBakery-prepare-linux": "1" * 64,
    "AmiBakery.web.packages": "2" * 64,
    "AWS-RunPatchBaseline": "3" * 64,
    "AmiBakery-reboot-linux": "4" * 64,
    "AmiBakery-install-application": "5" * 64,
}
FIRST = recipe(customize=STEPS, builder={"root_volume": {"size_gib": 20}})


def of(
    what: Recipe = FIRST, documents: Mapping[str, str] = DOCUMENTS, version: str = "0.3.0"
) -> Fingerprint:
    return fingerprint("web", what, documents=documents, version=version)


def with_steps(*steps: Mapping[str, Any]) -> Fingerprint:
    return of(recipe(customize=list(steps), builder={"root_volume": {"size_gib": 20}}))


NOW = of()
OTHER = {**SHELL, "name": "other"}


def told(before: Fingerprint, now: Fingerprint, *, known: Parts | None = None) -> list[str]:
    return list(changes(before.to_tag(), before.parts if known is None else known, now))


def test_the_same_input_gives_the_same_fingerprint_in_any_order_of_documents() -> None:
    again = of(documents=dict(reversed(DOCUMENTS.items())))
    assert again.to_tag() == NOW.to_tag()
    assert told(again, NOW) == []


def test_a_fingerprint_stays_what_it_is_or_every_image_is_baked_again() -> None:
    assert NOW.to_tag() == (
        "applications=ba0a9dfcba32 bakery=0.3.0 documents=63fb4bb00d1a "
        "parameters=4e9e6b11055d recipe=96a318758727 steps=e25c01815f67 tests=6ab0c634415a"
    )


def test_which_secrets_a_step_has_its_document_says() -> None:
    secret = {"secrets": {"A": {"secret": "x"}}}
    assert with_steps({**SHELL, **secret}, *STEPS[1:]).to_tag() == NOW.to_tag()


APP = APPLICATION["application"]
CHANGES: dict[str, tuple[Fingerprint, list[str]]] = {
    "script": (
        with_steps({**SHELL, "shell": "apt-get upgrade"}, *STEPS[1:]),
        ["step 'packages' changed"],
    ),
    "timeout": (
        with_steps(SHELL, DOCUMENT, {**REBOOT, "timeout_seconds": 60}, APPLICATION),
        ["step 'kernel' changed"],
    ),
    "a script's document": (
        of(documents={**DOCUMENTS, "AmiBakery.web.packages": "f" * 64}),
        ["step 'packages' changed"],
    ),
    "new step": (with_steps(*STEPS, {"name": "again", "reboot": True}), ["step 'again' added"]),
    "fewer steps": (with_steps(SHELL, REBOOT), ["step 'patch' removed", "step 'app' removed"]),
    "renamed": (
        with_steps(SHELL, DOCUMENT, {**REBOOT, "name": "restart"}, APPLICATION),
        ["step 'restart' added", "step 'kernel' removed"],
    ),
    "order": (with_steps(DOCUMENT, SHELL, REBOOT, APPLICATION), ["order of the steps changed"]),
    "parameters": (
        with_steps(SHELL, {**DOCUMENT, "parameters": {"Operation": "Install"}}, *STEPS[2:]),
        ["parameters of step 'patch' changed"],
    ),
    "no parameters": (
        with_steps(SHELL, {**DOCUMENT, "parameters": {}}, *STEPS[2:]),
        ["parameters of step 'patch' changed"],
    ),
    "other document": (
        with_steps(SHELL, {**DOCUMENT, "document": "Org-Patch"}, *STEPS[2:]),
        ["step 'patch' changed"],
    ),
    "other kind of step": (
        with_steps(SHELL, {"name": "patch", "shell": "dnf -y update"}, *STEPS[2:]),
        ["step 'patch' changed"],
    ),
    "checksum": (
        with_steps(*STEPS[:3], {**APPLICATION, "application": {**APP, "sha256": "0" * 64}}),
        ["checksum of the application of step 'app' changed"],
    ),
    "source": (
        with_steps(*STEPS[:3], {**APPLICATION, "application": {**APP, "directory": "/srv/b"}}),
        ["step 'app' changed"],
    ),
    "our document": (
        of(documents={**DOCUMENTS, "AmiBakery-prepare-linux": "f" * 64}),
        ["document AmiBakery-prepare-linux changed"],
    ),
    "foreign document": (
        of(documents={**DOCUMENTS, "AWS-RunPatchBaseline": "f" * 64}),
        ["document AWS-RunPatchBaseline changed"],
    ),
    "one document more": (
        of(documents={**DOCUMENTS, "AmiBakery-inventory": "f" * 64}),
        ["documents changed"],
    ),
    "volume": (
        of(recipe(customize=STEPS, builder={"root_volume": {"size_gib": 21}})),
        ["builder.root_volume changed"],
    ),
    "no volume": (of(recipe(customize=STEPS)), ["builder.root_volume changed"]),
    "bakery": (of(version="0.4.0"), ["bakery 0.3.0 -> 0.4.0"]),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_is_told_by_what_changed(what: str) -> None:
    now, words = CHANGES[what]
    assert told(NOW, now) == words


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_is_found_without_the_parts_too(what: str) -> None:
    now, _ = CHANGES[what]
    found = told(NOW, now, known={})
    groups = {"steps", "tests", "parameters", "applications", "documents", "recipe"}
    assert found
    assert {words.partition(" changed")[0] for words in found} <= {*groups, "bakery 0.3.0 -> 0.4.0"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("opsworks", "chef-12"),
        ("identity", {"keep": ["caches"]}),
        ("lock_release", "2018.03"),
        ("tmp_exec", "bake"),
        ("image_name", "{recipe}-{bake}"),
        ("distribute", [{"region": "us-east-1"}]),
        ("publish", {"launch_templates": ["lt-0123456789abcdef0"]}),
    ],
)
def test_a_field_of_the_recipe_is_told_by_its_name(field: str, value: object) -> None:
    """Tests, copies and launch templates as well: only a bake gets them."""
    before, now = of(recipe()), of(recipe(**{field: value}))
    assert told(before, now) == told(now, before) == [f"{field} changed"]


@pytest.mark.parametrize(
    "changes_",
    [
        {"base": {"parameter": "/golden/base"}},
        {"description": "other words"},
        {"retention": {"keep": 9}},
        {"schedule": {"cron": "0 4 * * ? *", "max_age_days": 3}},
        {"on_failure": "keep", "keep_hours": 7},
        {"when_busy": "join"},
        {"builder": {"instance_types": ["m6i.large"], "spot": True, "patience_minutes": 5}},
        {"tmp_exec": "persist", "builder": {"root_volume": {"throughput": 125}}},
    ],
    ids=lambda given: "+".join(given),
)
def test_what_makes_no_other_image_changes_nothing(changes_: dict[str, Any]) -> None:
    """Nor does a default that is written down."""
    assert told(of(recipe()), of(recipe(**changes_))) == []


@pytest.mark.parametrize(
    ("before", "now", "words"),
    [
        ([], [SHELL], ["test 'packages' added"]),
        ([SHELL], [{**SHELL, "shell": "true"}], ["test 'packages' changed"]),
        ([SHELL, OTHER], [OTHER, SHELL], ["order of the tests changed"]),
        ({"identity": False}, {}, ["test.identity changed"]),
        ({}, {"instance_types": ["m6i.large"]}, ["test.instance_types changed"]),
    ],
)
def test_what_an_image_must_pass_is_told_like_steps(
    before: object, now: object, words: list[str]
) -> None:
    """The current image has not passed it."""
    assert told(of(recipe(test=before)), of(recipe(test=now))) == words


def test_the_document_of_a_test_is_a_part_of_the_test() -> None:
    tested = recipe(test=[SHELL])
    name = "AmiBakery.web.test.packages"
    before, now = (of(tested, {**DOCUMENTS, name: hash_}) for hash_ in ("a" * 64, "b" * 64))
    assert told(before, now) == ["test 'packages' changed"]


def test_many_changes_are_told_shortly() -> None:
    many = [{"name": f"step {n}", "reboot": True, "timeout_seconds": 60} for n in range(199)]
    words = told(with_steps(SHELL), with_steps(SHELL, *many))
    assert words[:6] == [f"step 'step {n}' added" for n in range(6)]
    assert words[6:] == ["and 193 more changes"]


def test_all_kinds_of_changes_are_told_together() -> None:
    now = replace(
        with_steps({**SHELL, "shell": "true"}, *STEPS[1:3]),
        bakery="1.0.0",
    )
    assert told(NOW, now) == [
        "step 'packages' changed",
        "step 'app' removed",
        "bakery 0.3.0 -> 1.0.0",
    ]


def test_parts_that_are_not_of_the_image_are_not_believed() -> None:
    now = CHANGES["script"][0]
    assert told(NOW, now, known=now.parts) == ["steps changed"]
    assert told(NOW, NOW, known=now.parts) == []


@pytest.mark.parametrize("tag", ["", "manual", "recipe documents bakery", "==="])
def test_an_image_without_a_usable_tag_differs_in_everything(tag: str) -> None:
    assert list(changes(tag, {}, NOW)) == [
        *(f"{group} changed" for group in NOW.parts),
        "bakery unknown -> 0.3.0",
    ]


def test_a_part_that_an_older_bakery_did_not_know_has_changed() -> None:
    assert "steps changed" in changes("bakery=0.3.0 recipe=b227f2c64098", {}, NOW)


def test_the_longest_fingerprint_fits_a_tag() -> None:
    assert len(of(version="1" * 40).to_tag()) <= 256
