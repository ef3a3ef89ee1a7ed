"""Nights on which nothing has changed, and nights on which one thing has."""

import copy
import json
import re
import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bakery import VERSION, clock
from bakery.naming import TAG_RECIPE
from scripts.bakery_cli.synthesis import synthesize
from scripts.local import LocalAws
from tests.functional.conftest import World

pytestmark = pytest.mark.long

AL2023, UBUNTU = "ami-0a120230000000064", "ami-0b220400000000064"
BASE, HARDEN = "/golden/base", "Org-Harden"
SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
RECIPE: dict[str, Any] = {
    "description": "bakes every night",
    "base": {"parameter": BASE},
    "builder": {"instance_types": ["t3.small"]},
    "customize": [
        {"name": "packages", "shell": "dnf -y install nginx"},
        {"name": "harden", "document": HARDEN, "parameters": {"Level": "1"}},
        {
            "name": "app",
            "application": {
                "source": "https://example.com/app.tar.gz",
                "sha256": SHA256,
                "directory": "/srv/app",
            },
        },
    ],
    "test": {"identity": False},
    "schedule": {"cron": "0 3 * * ? *", "max_age_days": 45, "flexible_minutes": 0},
}
_OF_THE_ORGANIZATION = {
    "schemaVersion": "2.2",
    "description": "Harden the host",
    "parameters": {"Level": {"type": "String"}},
    "mainSteps": [
        {"action": "aws:runShellScript", "name": "run", "inputs": {"runCommand": ["true"]}}
    ],
}


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    recipes = tmp_path_factory.mktemp("recipes")
    # JSON is YAML.
    (recipes / "nightly.yaml").write_text(json.dumps(RECIPE), encoding="utf-8")
    assembly = synthesize(recipes, lambda _: None)
    with LocalAws.start(assembly, region="eu-west-1", scale=240.0) as aws:
        world = World(aws, aws.deploy())
        ssm = aws.client("ssm")
        ssm.put_parameter(Name=BASE, Value=AL2023, Type="String")
        ssm.create_document(
            Name=HARDEN, Content=json.dumps(_OF_THE_ORGANIZATION), DocumentType="Command"
        )
        yield world


@pytest.fixture
def asset(deployed: World, tmp_path: Path) -> "Asset":
    return Asset(deployed, tmp_path)


class Asset:
    """What Plan is deployed with; a release that changes nothing but this."""

    def __init__(self, world: World, folder: Path) -> None:
        self._world = world
        self._folder = folder

    def release(self, recipe: dict[str, Any], *, version: str = VERSION) -> None:
        root = self._folder / f"asset-{len(list(self._folder.iterdir()))}"
        root.mkdir()
        for function in self._plans():
            before = function.root
        for part in before.iterdir():
            if part.name not in ("bakery", "recipes.json"):
                (root / part.name).symlink_to(part.resolve())
        shutil.copytree(before / "bakery", root / "bakery")
        init = root / "bakery" / "__init__.py"
        text = init.read_text(encoding="utf-8")
        init.write_text(re.sub('VERSION = ".*"', f'VERSION = "{version}"', text), encoding="utf-8")
        recipes = json.dumps({"nightly": recipe})
        (root / "recipes.json").write_text(recipes, encoding="utf-8")
        for function in self._plans():
            function.root = root
            while function.idle:
                function.idle.pop().kill()

    def _plans(self) -> Iterator[Any]:
        lambdas = self._world.aws.lambdas
        (latest,) = [f for f in lambdas.functions.values() if ".plan." in f.handler]
        yield from [latest, *lambdas.versions(latest.name)]


def night(world: World, *, days: int = 1) -> dict[str, Any]:
    """The output of the bake that the schedule starts so many days after the last."""
    aws, states = world.aws, world.aws.client("stepfunctions")
    aws.clock.advance(seconds=timedelta(days=days).total_seconds())
    slot = f"{aws.clock.now():%Y-%m-%dT%H:%M:%SZ}"
    aws.schedules.fire("SchedulesBakenightly", slot=slot)

    def ended() -> dict[str, Any] | None:
        (latest, *_) = states.list_executions(stateMachineArn=world.outputs["BakeStateMachineArn"])[
            "executions"
        ]
        found: dict[str, Any] = states.describe_execution(executionArn=latest["executionArn"])
        ours = json.loads(found["input"])["slot"] == slot
        return found if ours and found["status"] != "RUNNING" else None

    found = aws.until(ended, what=f"the bake of {slot}", seconds=60)
    assert found["status"] == "SUCCEEDED", found.get("cause")
    output: dict[str, Any] = json.loads(found["output"])
    return output


def images(world: World) -> list[str]:
    """The images that were made for the recipe."""
    found = world.aws.client("ec2").describe_images(
        Owners=["self"], Filters=[{"Name": f"tag:{TAG_RECIPE}", "Values": ["nightly"]}]
    )
    return [image["ImageId"] for image in found["Images"]]


def test_thirty_nights_without_a_change_make_one_image(world: World) -> None:
    first = night(world)
    assert first["outcome"] == "baked"
    assert first["reason"] == "first image of this recipe"
    for _ in range(29):
        output = night(world)
        assert output["outcome"] == "unchanged"
        assert output["reason"] == f"nothing has changed since image {first['image']['id']}"
        assert output["image"] == first["image"]
    assert images(world) == [first["image"]["id"]]
    assert len(world.launches()) == 1


Change = Callable[[World, Asset, dict[str, Any]], str]
"""Changes one input, the recipe or something else; gives the reason that must be told."""


def changed(change: Callable[[dict[str, Any]], object], reason: str) -> Change:
    """A release of another recipe."""

    def release(world: World, asset: Asset, recipe: dict[str, Any]) -> str:
        change(recipe)
        asset.release(recipe)
        return reason

    return release


def base_image(world: World, asset: Asset, recipe: dict[str, Any]) -> str:
    world.aws.client("ssm").put_parameter(Name=BASE, Value=UBUNTU, Type="String", Overwrite=True)
    return f"base image {AL2023} -> {UBUNTU}"


def document(name: str) -> Change:
    """A new default version of a document."""

    def update(world: World, asset: Asset, recipe: dict[str, Any]) -> str:
        ssm = world.aws.client("ssm")
        content = json.loads(ssm.get_document(Name=name, DocumentFormat="JSON")["Content"])
        content["description"] += ", anew"
        made = ssm.update_document(
            Name=name,
            Content=json.dumps(content),
            DocumentVersion="$LATEST",
            DocumentFormat="JSON",
        )["DocumentDescription"]
        ssm.update_document_default_version(Name=name, DocumentVersion=made["DocumentVersion"])
        return f"document {name} changed"

    return update


def age(world: World, asset: Asset, recipe: dict[str, Any]) -> str:
    image = world.pointer("nightly")
    (made,) = world.aws.client("ec2").describe_images(ImageIds=[image])["Images"]
    birthday = clock.parse(made["CreationDate"]) + timedelta(days=45)
    # The night to come is another day.
    until = birthday - timedelta(days=1) - world.aws.clock.now()
    world.aws.clock.advance(seconds=until.total_seconds())
    return f"image {image} has reached schedule.max_age_days: 45 of 45"


def version(world: World, asset: Asset, recipe: dict[str, Any]) -> str:
    asset.release(recipe, version="99.0.0")
    return f"bakery {VERSION} -> 99.0.0"


CHANGES: dict[str, Change] = {
    "base image": base_image,
    "script": changed(
        lambda recipe: recipe["customize"][0].update(shell="dnf -y install httpd"),
        "step 'packages' changed",
    ),
    "parameters": changed(
        lambda recipe: recipe["customize"][1].update(parameters={"Level": "2"}),
        "parameters of step 'harden' changed",
    ),
    "checksum": changed(
        lambda recipe: recipe["customize"][2]["application"].update(sha256="0" * 64),
        "checksum of the application of step 'app' changed",
    ),
    "our document": document("AmiBakery-prepare-linux"),
    "foreign document": document(HARDEN),
    "fewer steps": changed(lambda recipe: recipe["customize"].pop(), "step 'app' removed"),
    "root volume": changed(
        lambda recipe: recipe["builder"].update(root_volume={"size_gib": 20}),
        "builder.root_volume changed",
    ),
    "age": age,
    "version": version,
}


def test_each_of_ten_changes_makes_one_image_and_says_why(world: World, asset: Asset) -> None:
    """One after the other, and none is put back: that would be a change too."""
    recipe = copy.deepcopy(RECIPE)
    if world.pointer("nightly") is None:
        night(world)
    for kind, change in CHANGES.items():
        before, made = world.pointer("nightly"), images(world)
        reason = change(world, asset, recipe)
        output = night(world)
        assert (kind, output["outcome"], output["reason"]) == (kind, "baked", reason)
        assert output["previous"] == before
        for _ in range(2):
            after = night(world)
            assert (kind, after["outcome"], after["image"]) == (kind, "unchanged", output["image"])
        assert sorted(images(world)) == sorted([*made, output["image"]["id"]])
        assert world.pointer("nightly") == output["image"]["id"]
    # The sweeper looks at the whole table every minute: it must not grow with every bake.
    known = json.loads(world.items()["text#inputs#nightly"]["text"]["S"])
    assert len(known) == 2
