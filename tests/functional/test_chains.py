"""Recipes on recipes: what follows a new image, in which order, and what does not."""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bakery.naming import TAG_BASE_IMAGE
from scripts.bakery_cli.synthesis import synthesize
from scripts.local import LocalAws
from tests.functional.conftest import Ended, World

pytestmark = pytest.mark.long

RECIPES = Path(__file__).parent / "chain"
AL2023, UBUNTU = "ami-0a120230000000064", "ami-0b220400000000064"
BASE, SUCCEEDED = "/golden/base", "Bake Succeeded"
FOLLOWERS = {"middle": "ground", "side": "ground", "top": "middle"}
"""Each with what it follows; recipe slow does not follow."""


@pytest.fixture(scope="module")
def deployed() -> Iterator[World]:
    assembly = synthesize(RECIPES, lambda _: None)
    with LocalAws.start(assembly, region="eu-west-1", scale=240.0) as aws:
        world = World(aws, aws.deploy())
        aws.client("ssm").put_parameter(Name=BASE, Value=AL2023, Type="String")
        assert world.bake("ground").status == "SUCCEEDED"
        settled(world)
        assert world.bake("slow").status == "SUCCEEDED"
        yield world


@pytest.fixture
def renewed(world: World) -> World:
    """The world with a new image for recipe ground to begin with, and nothing baked yet."""
    ssm = world.aws.client("ssm")
    held = world.parameter(BASE)
    new = UBUNTU if held == AL2023 else AL2023
    ssm.put_parameter(Name=BASE, Value=new, Type="String", Overwrite=True)
    return world


def executions(world: World) -> list[dict[str, Any]]:
    """All bakes, the latest first."""
    states = world.aws.client("stepfunctions")
    found = states.get_paginator("list_executions").paginate(
        stateMachineArn=world.outputs["BakeStateMachineArn"]
    )
    return [execution for page in found for execution in page["executions"]]


def running(world: World) -> list[str]:
    return [it["name"] for it in executions(world) if it["status"] == "RUNNING"]


def settled(world: World) -> None:
    """Return when nothing bakes and nothing is about to."""

    def over() -> bool:
        seen = executions(world)
        names = {execution["name"] for execution in seen}
        told = {
            key.split("#")[2]
            for key, item in world.items().items()
            if key.startswith("claim#announced#") and item["holder"]["S"] == "told"
        }
        followers = {
            f"{recipe}-on-{event['detail']['image']['id']}"
            for event in world.aws.events.of(SUCCEEDED)
            for recipe, base in FOLLOWERS.items()
            if base == event["detail"]["recipe"]
        }
        return {execution["executionArn"] for execution in seen} <= told and followers <= names

    world.aws.until(over, seconds=90, what="the end of all bakes")


def following(world: World, recipe: str, image: str) -> Ended:
    """The bake that the new image of another recipe has started."""
    name = f"{recipe}-on-{image}"
    world.aws.until(
        lambda: name in {execution["name"] for execution in executions(world)}, what=name
    )
    return world.ended(world.execution(name))


def baked(world: World) -> Counter[str]:
    """How many builders each recipe has had since the test began."""
    return Counter(
        tag["Value"]
        for call in world.launches()
        for tag in call["TagSpecifications"][0]["Tags"]
        if tag["Key"] == "ami-bakery:recipe"
    )


def base_of(world: World, recipe: str) -> str:
    """The base image of a recipe's current image."""
    (image,) = world.aws.client("ec2").describe_images(ImageIds=[world.pointer(recipe)])["Images"]
    return str({tag["Key"]: tag["Value"] for tag in image["Tags"]}[TAG_BASE_IMAGE])


def moments(ended: Ended) -> tuple[datetime, datetime]:
    """When the bake began, and when it published."""
    timeline = {stage["stage"]: stage["started"] for stage in ended.output["timeline"]}
    first = ended.output["timeline"][0]["started"]
    return datetime.fromisoformat(first), datetime.fromisoformat(timeline["keep_previous"])


def test_a_chain_of_three_is_baked_in_order_from_one_event(renewed: World) -> None:
    world = renewed
    ground = world.bake("ground")
    middle = following(world, "middle", ground.output["image"]["id"])
    top = following(world, "top", middle.output["image"]["id"])
    chain = [ground, middle, top]
    assert [ended.output["outcome"] for ended in chain] == ["baked"] * 3
    for earlier, later in pairwise(chain):
        assert moments(earlier)[1] < moments(later)[0]
    settled(world)
    for recipe, base in FOLLOWERS.items():
        assert base_of(world, recipe) == world.pointer(base)
    assert f"-> {ground.output['image']['id']}" in middle.output["reason"]
    assert baked(world) == {"ground": 1, "middle": 1, "side": 1, "top": 1}


def test_what_does_not_follow_sees_the_new_base_when_it_is_started(renewed: World) -> None:
    world = renewed
    old = world.pointer("slow")
    ground = world.bake("ground")
    settled(world)
    assert world.pointer("slow") == old
    assert world.bake("slow").output["outcome"] == "baked"
    assert base_of(world, "slow") == ground.output["image"]["id"]


def test_an_unchanged_bake_starts_nothing(world: World) -> None:
    known = len(executions(world))
    assert world.bake("ground").output["outcome"] == "unchanged"
    settled(world)
    assert len(executions(world)) == known + 1


def test_events_that_come_several_times_bake_once(renewed: World) -> None:
    world = renewed
    world.aws.events.duplicate(SUCCEEDED, times=float("inf"), copies=3)
    world.bake("ground")
    settled(world)
    assert baked(world) == {"ground": 1, "middle": 1, "side": 1, "top": 1}
    names = Counter(execution["name"] for execution in executions(world))
    assert max(names.values()) == 1


def test_a_diamond_bakes_its_bottom_once(renewed: World) -> None:
    """Recipe top is reached by two ways at once: the event of its base, and its own schedule."""
    world = renewed
    ground = world.bake("ground")
    middle = following(world, "middle", ground.output["image"]["id"])
    slot = f"{world.aws.clock.now():%Y-%m-%dT%H:%M:%SZ}"
    world.aws.schedules.fire("SchedulesBaketop", slot=slot)
    world.start({"recipe": "top"})
    following(world, "top", middle.output["image"]["id"])
    settled(world)
    assert baked(world)["top"] == 1
    assert base_of(world, "top") == middle.output["image"]["id"]


def test_a_failure_in_the_middle_stops_only_what_depends_on_it(renewed: World) -> None:
    world = renewed
    world.aws.agent.script("AmiBakery.middle.packages", exit_code=1)
    before = {recipe: world.pointer(recipe) for recipe in FOLLOWERS}
    ground = world.bake("ground")
    middle = following(world, "middle", ground.output["image"]["id"])
    assert middle.error == "CustomizationFailedError"
    settled(world)
    assert baked(world) == {"ground": 1, "middle": 1, "side": 1}
    after = {recipe: world.pointer(recipe) for recipe in FOLLOWERS}
    assert {recipe for recipe in FOLLOWERS if before[recipe] == after[recipe]} == {"middle", "top"}
    assert base_of(world, "side") == ground.output["image"]["id"]
    world.aws.agent.scripts.clear()
    assert world.bake("middle").output["outcome"] == "baked"
    settled(world)
    assert base_of(world, "top") == world.pointer("middle")


def test_a_recipe_that_is_being_baked_follows_when_it_is_free(renewed: World) -> None:
    """Recipe middle refuses a second bake; but to be refused would leave it on the old base."""
    world = renewed
    busy = world.start({"recipe": "middle", "force": True})
    world.aws.until(lambda: "middle" in world.leases(), what="the lease")
    world.aws.ec2.durations.image = 900
    ground = world.bake("ground")
    world.aws.ec2.durations.image = 120
    assert world.ended(busy).status == "SUCCEEDED"
    middle = following(world, "middle", ground.output["image"]["id"])
    assert middle.output["outcome"] in ("baked", "unchanged")
    settled(world)
    assert base_of(world, "middle") == ground.output["image"]["id"]
    assert base_of(world, "top") == world.pointer("middle")


@pytest.mark.parametrize("how", ["lost", "denied"])
def test_what_an_event_did_not_start_its_own_schedule_bakes(renewed: World, how: str) -> None:
    world = renewed
    ground = world.bake("ground")
    if how == "lost":
        world.aws.events.drop(
            SUCCEEDED, when=lambda e: e["detail"]["recipe"] == "middle", times=float("inf")
        )
    else:
        started = lambda call: call.get("name", "").startswith("top-on-")  # noqa: E731
        world.aws.faults.error(
            "stepfunctions",
            "StartExecution",
            code="AccessDeniedException",
            status=403,
            times=99,
            when=started,
        )
    middle = following(world, "middle", ground.output["image"]["id"])
    assert middle.output["outcome"] == "baked"
    old = world.pointer("top")
    world.aws.until(lambda: not running(world), seconds=60, what="the end of all bakes")
    assert world.pointer("top") == old
    world.aws.faults.clear()
    slot = f"{world.aws.clock.now():%Y-%m-%dT%H:%M:%SZ}"
    world.aws.schedules.fire("SchedulesBaketop", slot=slot)
    world.aws.until(lambda: world.pointer("top") != old, seconds=60, what="the schedule's bake")
    world.aws.until(lambda: not running(world), what="its end")
    assert base_of(world, "top") == middle.output["image"]["id"]


# --- all of them -------------------------------------------------------------------------------


def run_all(world: World, **content: object) -> Ended:
    """A run over all recipes."""
    answer = world.aws.client("stepfunctions").start_execution(
        stateMachineArn=world.outputs["FleetStateMachineArn"], input=json.dumps(content)
    )
    return world.ended(answer["executionArn"], seconds=120)


def outcomes(ended: Ended) -> dict[str, str]:
    return {it["recipe"]: it["outcome"] for it in runs(ended)}


def runs(ended: Ended) -> list[dict[str, Any]]:
    """What a run over all recipes tells of each: its output is a list, unlike a bake's."""
    output: Any = ended.output
    assert isinstance(output, list), ended.cause
    return output


def test_a_run_over_all_recipes_bakes_each_once_though_their_bases_start_them_too(
    renewed: World,
) -> None:
    world = renewed
    ended = run_all(world)
    assert ended.status == "SUCCEEDED", ended.cause
    settled(world)
    assert baked(world) == {"ground": 1, "middle": 1, "side": 1, "slow": 1, "top": 1}
    assert set(outcomes(ended)) == {"ground", *FOLLOWERS, "slow"}
    images = {it["recipe"]: it["image"] for it in runs(ended)}
    assert images == {recipe: world.pointer(recipe) for recipe in images}
    for recipe, base in {**FOLLOWERS, "slow": "ground"}.items():
        assert base_of(world, recipe) == images[base]


def test_a_run_over_recipes_that_are_up_to_date_bakes_none(world: World) -> None:
    assert set(outcomes(run_all(world)).values()) == {"unchanged"}
    assert baked(world) == {}


def test_a_forced_run_bakes_each_once(world: World) -> None:
    """Those that follow are baked because their base is new, not a second time by force."""
    ended = run_all(world, force=True)
    assert ended.status == "SUCCEEDED", ended.cause
    settled(world)
    assert baked(world) == {"ground": 1, "middle": 1, "side": 1, "slow": 1, "top": 1}


def test_a_run_goes_on_where_nothing_depends_on_what_has_failed(renewed: World) -> None:
    world = renewed
    world.aws.agent.script("AmiBakery.middle.packages", exit_code=1, times=99)
    ended = run_all(world)
    assert (ended.status, ended.error) == ("FAILED", "FleetFailedError")
    assert "2 of 5 recipes were not baked, 3 are up to date:" in ended.cause
    assert "- middle: failed (States.TaskFailed) (execution middle-fleet-" in ended.cause
    assert "- top: middle, which it builds on, was not baked" in ended.cause
    settled(world)
    # By the event of its base, and by the run.
    assert baked(world) == {"ground": 1, "middle": 2, "side": 1, "slow": 1}


def test_stopping_a_run_stops_its_bakes_and_nothing_is_left_of_them(world: World) -> None:
    states = world.aws.client("stepfunctions")
    run = states.start_execution(
        stateMachineArn=world.outputs["FleetStateMachineArn"], input=json.dumps({"force": True})
    )["executionArn"]
    world.aws.until(lambda: baked(world), what="a builder")
    (bake,) = running(world)
    states.stop_execution(executionArn=run)
    assert world.ended(world.execution(bake)).status == "ABORTED"
    world.aws.until(lambda: world.left_behind(bake) == [], what="the janitor")
    settled(world)
    assert baked(world) == {"ground": 1}
