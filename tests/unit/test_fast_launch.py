"""Who gets Windows fast launch, who keeps it, and of whom it is taken."""

import pytest

from bakery import estimate
from bakery.fast_launch import Act, FastLaunched, changes
from bakery.naming import label_pointer, pointer, previous_pointer
from bakery.recipe import FastLaunch

WANTED = FastLaunch(launch_template="lt-0123456789abcdef0", version=3)
OLD, BEFORE, NOW = "ami-0000000000000001", "ami-0000000000000002", "ami-0000000000000003"
IMAGES = dict.fromkeys((OLD, BEFORE, NOW), "available")
POINTERS = {pointer("web"): NOW, previous_pointer("web"): BEFORE}


def told(
    *has: FastLaunched,
    images: dict[str, str] | None = None,
    pointers: dict[str, str] | None = None,
    wanted: FastLaunch | None = WANTED,
) -> list[str]:
    found = changes(
        "web",
        IMAGES if images is None else images,
        POINTERS if pointers is None else pointers,
        has,
        wanted,
    )
    return [str(it) for it in found]


def enabled(image: str) -> FastLaunched:
    return FastLaunched(image, "enabled")


def test_the_current_image_gets_it() -> None:
    assert told() == [f"{NOW}: enable fast launch: it is the current image"]


def test_the_one_before_keeps_it_as_a_way_back_and_older_ones_do_not() -> None:
    assert told(enabled(OLD), enabled(BEFORE), enabled(NOW)) == [
        f"{OLD}: end fast launch: no pointer of the recipe holds the image"
    ]


def test_what_a_label_holds_keeps_it() -> None:
    pointers = {**POINTERS, label_pointer("web", "stable"): OLD}
    assert told(enabled(OLD), enabled(NOW), pointers=pointers) == []


@pytest.mark.parametrize("other", ["web-2", "we", "other"])
def test_a_pointer_of_another_recipe_holds_nothing_of_this_one(other: str) -> None:
    pointers = {**POINTERS, pointer(other): OLD}
    assert len(told(enabled(OLD), enabled(NOW), pointers=pointers)) == 1


def test_where_the_recipe_does_not_ask_all_of_its_images_lose_it() -> None:
    assert told(enabled(BEFORE), enabled(NOW), wanted=None) == [
        f"{image}: end fast launch: the recipe does not ask for it here" for image in (BEFORE, NOW)
    ]


def test_images_of_others_are_left_alone() -> None:
    assert told(enabled("ami-00000000000000ff"), enabled(NOW)) == []
    assert told(enabled("ami-00000000000000ff"), wanted=None) == []


@pytest.mark.parametrize("state", ["enabling", "enabled", "disabling", "disabling-failed"])
def test_the_current_image_is_not_asked_for_twice(state: str) -> None:
    assert told(FastLaunched(NOW, state)) == []


def test_what_ec2_could_not_do_is_tried_again_with_its_reason() -> None:
    failed = FastLaunched(NOW, "enabling-failed", "no capacity")
    assert told(failed) == [
        f"{NOW}: enable fast launch: EC2 could not before: no capacity",
    ]
    (change,) = changes(
        "web",
        IMAGES,
        POINTERS,
        [FastLaunched(OLD, "disabling-failed", "a snapshot"), enabled(NOW)],
        WANTED,
    )
    assert change.force and change.act is Act.END and "a snapshot" in str(change)


def test_an_end_that_is_under_way_is_waited_for() -> None:
    assert told(FastLaunched(OLD, "disabling"), enabled(NOW)) == []


def test_a_difficulty_that_ec2_may_overcome_is_told() -> None:
    assert told(FastLaunched(NOW, "enabled-failed", "capacity")) == [
        f"{NOW}: tell of fast launch: capacity"
    ]


@pytest.mark.parametrize("state", ["disabled", "failed", "pending"])
def test_an_image_that_nobody_can_launch_does_not_get_it(state: str) -> None:
    assert told(images={**IMAGES, NOW: state}) == []


def test_without_a_pointer_or_an_image_of_ours_there_is_nothing_to_do() -> None:
    assert told(pointers={}) == []
    assert told(images={}) == []


def test_its_cost_is_that_of_its_instances_and_snapshots() -> None:
    """EC2's guide reckons with about five dollars a month for five of 50 GiB, most of the time
    used up: an upper bound must be more, and of that order."""
    cost = estimate.fast_launch("eu-west-1", WANTED, 50)
    assert cost.region == "eu-west-1"
    assert 5 < cost.usd + cost.monthly_usd < 20
    assert cost.monthly_usd == 5 * estimate.monthly_storage(50)
    more = WANTED.model_copy(update={"snapshots": 10})
    assert estimate.fast_launch("eu-west-1", more, 50).usd == pytest.approx(2 * cost.usd, abs=0.02)
