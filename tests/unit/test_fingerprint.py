"""What went into an image, and what differs from the last one."""

import pytest

from bakery.fingerprint import changes, fingerprint, to_tag

RECIPE = {"base": {"ami": "ami-1"}, "opsworks": "auto"}
DOCUMENTS = {"a": "1" * 64, "b": "2" * 64}
NOW = fingerprint(recipe=RECIPE, documents=DOCUMENTS, version="1.0.0")


def test_the_same_input_gives_the_same_fingerprint_in_any_order() -> None:
    turned = fingerprint(
        recipe=dict(reversed(RECIPE.items())),
        documents=dict(reversed(DOCUMENTS.items())),
        version="1.0.0",
    )
    assert to_tag(turned) == to_tag(NOW)


def test_a_fingerprint_stays_what_it_is_or_every_image_is_baked_again() -> None:
    assert to_tag(NOW) == "bakery=1.0.0 documents=72aa854893f2 recipe=b227f2c64098"


@pytest.mark.parametrize(
    ("part", "other"),
    [
        ("recipe", fingerprint(recipe={**RECIPE, "x": 1}, documents=DOCUMENTS, version="1.0.0")),
        ("documents", fingerprint(recipe=RECIPE, documents={"a": "1" * 64}, version="1.0.0")),
        (
            "documents",
            fingerprint(recipe=RECIPE, documents={"a": "2" * 64, "b": "1" * 64}, version="1.0.0"),
        ),
        ("bakery", fingerprint(recipe=RECIPE, documents=DOCUMENTS, version="1.0.1")),
    ],
)
def test_a_change_of_one_part_is_found_by_its_name(part: str, other: dict[str, str]) -> None:
    assert changes(to_tag(NOW), other) == [part]


def test_nothing_changed_is_no_change() -> None:
    assert changes(to_tag(NOW), NOW) == []


@pytest.mark.parametrize("tag", ["", "manual", "recipe documents bakery", "==="])
def test_an_image_without_a_usable_tag_differs_in_everything(tag: str) -> None:
    assert set(changes(tag, NOW)) == {"recipe", "documents", "bakery"}


def test_a_part_that_an_older_bakery_did_not_know_has_changed() -> None:
    assert changes("bakery=1.0.0", NOW) == ["recipe", "documents"]


def test_the_fingerprint_fits_a_tag() -> None:
    assert len(to_tag(NOW)) <= 256
