"""State stays small: read from the history of the worst bake that a recipe can ask for."""

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from bakery.bake import MAX_STATE_BYTES
from bakery.naming import pointer, previous_pointer
from scripts.bakery_cli.synthesis import synthesize
from scripts.local import LocalAws
from tests.functional.conftest import RECIPES, Ended, World

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

STEPS = 200
RECIPE = "r" * 48
REGIONS = boto3.session.Session().get_available_regions("ec2")
AWAY = [it for it in REGIONS if it != "eu-west-1"][:29]
LABEL = "l" * 32
OUTPUT = "€" * (64 * 1024 // 3)
LAST = f"AmiBakery.{RECIPE}.{STEPS - 1:03}{'n' * 57}"


def worst_recipe() -> dict[str, Any]:
    """Every step and every name that the model allows, as long as it allows."""
    return {
        "description": "d" * 255,
        "base": {
            "parameter": "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
        },
        "distribute": [{"region": region} for region in AWAY],
        "publish": {"labels": [LABEL]},
        "builder": {"instance_types": ["t3.medium", "t3a.medium", "m6i.large", "t3.small"]},
        "customize": [
            {"name": f"{number:03}{'n' * 57}", "shell": f"echo {number}", "timeout_seconds": 1200}
            for number in range(STEPS)
        ],
    }


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    recipes = tmp_path_factory.mktemp("recipes")
    # JSON is YAML.
    (recipes / f"{RECIPE}.yaml").write_text(json.dumps(worst_recipe()), encoding="utf-8")
    (recipes / "web.yaml").write_bytes((RECIPES / "web.yaml").read_bytes())
    assembly = synthesize(recipes, lambda _: None)
    with LocalAws.start(assembly, region="eu-west-1", scale=240.0) as aws:
        yield World(aws, aws.deploy())


def history(world: World, ended: Ended) -> list[dict[str, Any]]:
    pages = (
        world.aws.client("stepfunctions")
        .get_paginator("get_execution_history")
        .paginate(executionArn=ended.arn)
    )
    return [event for page in pages for event in page["events"]]


def payloads(events: list[dict[str, Any]]) -> dict[str, int]:
    """What each event carries, in bytes: a state's input and output, a task's, an error's."""
    return {
        f"{event['id']} {event['type']} {details.get('name', '')} {name}": len(value.encode())
        for event in events
        for details in event.values()
        if isinstance(details, dict)
        for name, value in details.items()
        if isinstance(value, str)
    }


def too_large(events: list[dict[str, Any]]) -> dict[str, int]:
    return {what: size for what, size in payloads(events).items() if size >= MAX_STATE_BYTES}


def test_an_ordinary_bake_is_far_from_every_limit(world: World) -> None:
    ended = world.bake("web")
    assert ended.status == "SUCCEEDED", ended.cause
    events = history(world, ended)
    assert len(events) < 1000
    assert max(payloads(events).values()) < MAX_STATE_BYTES / 4


@pytest.mark.failure(53, 54)
def test_the_worst_bake_stays_within_its_state_and_history(world: World) -> None:
    world.aws.agent.script(f"AmiBakery.{RECIPE}.*", stdout=OUTPUT, stderr=OUTPUT, times=STEPS)
    ended = world.ended(world.start({"recipe": RECIPE}, name="b" * 80), seconds=300)
    assert ended.status == "SUCCEEDED", ended.cause
    assert len(AWAY) == 29 and set(ended.output["copies"]) == set(AWAY)
    for region in AWAY:
        assert world.pointer(RECIPE, region) == ended.output["copies"][region]
    assert len(world.sent_to_builders()) == STEPS + 4
    events = history(world, ended)
    assert too_large(events) == {}
    assert max(payloads(events).values()) > MAX_STATE_BYTES / 4, "this is not the worst"
    assert 5 * STEPS < len(events) < 2500


def test_the_worst_bake_that_fails_at_its_last_step_does_so_too(world: World) -> None:
    held = world.parameter(pointer(RECIPE)), world.parameter(previous_pointer(RECIPE))
    world.aws.agent.script(LAST, exit_code=1, stdout=OUTPUT, stderr=OUTPUT)
    name = "f" * 80
    ended = world.ended(world.start({"recipe": RECIPE, "force": True}, name=name), seconds=300)
    assert (ended.status, ended.error) == ("FAILED", "CustomizationFailedError")
    assert "exit code 1" in ended.cause
    assert too_large(history(world, ended)) == {}
    assert (world.parameter(pointer(RECIPE)), world.parameter(previous_pointer(RECIPE))) == held
