"""A deployment in the middle of a bake: the bake goes on with what it was started with.

The next release in these tests changes everything that it can: recipes, documents, context, the
machine's definition and the functions' code, and each of its tasks refuses what this release's
machine sends.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.bakery_cli.synthesis import PROJECT
from scripts.local import LocalAws
from tests.account import named
from tests.functional.conftest import RECIPES, World

pytestmark = pytest.mark.long

_HELD_SECONDS = 1500
_SOURCES = ("functions", "infra", "documents")
_FILES = ("app.py", "cdk.json")

# File of the next release, what stands there, and what it says instead.
_CHANGES = (
    ("functions/bakery/__init__.py", 'VERSION = "0.1.0"', 'VERSION = "0.2.0"'),
    ("functions/bakery/budgets.py", "STEP = timedelta(hours=13)", "STEP = timedelta(hours=14)"),
    (
        "functions/bakery/task.py",
        "        request = request_model",
        '        assert event["release"] == "next", "the payload of another release"\n'
        "        request = request_model",
    ),
    ("infra/states.py", "**BAKE, **payload}", '**BAKE, **payload, "release": "next"}'),
    (
        "infra/states.py",
        "payload=sfn.TaskInput.from_object(payload),",
        'payload=sfn.TaskInput.from_object({**payload, "release": "next"}),',
    ),
    ("documents/prepare-linux.yaml", "description: Make", "description: In short, make"),
    ("documents/reboot-linux.yaml", "\ndescription: ", "\ndescription: In short, "),
    ("documents/generalize-linux.yaml", "\ndescription: ", "\ndescription: In short, "),
    ("recipes/web.yaml", "dnf -y install nginx", "dnf -y install httpd"),
    ("recipes/small.yaml", "name: packages", "name: software"),
)


def build(project: Path) -> Path:
    """The cloud assembly of the next release."""
    for name in _SOURCES:
        shutil.copytree(
            PROJECT / name, project / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in _FILES:
        shutil.copyfile(PROJECT / name, project / name)
    shutil.copytree(RECIPES, project / "recipes")
    for file, before, after in _CHANGES:
        text = (project / file).read_text(encoding="utf-8")
        assert before in text, f"{file}: {before}"
        (project / file).write_text(text.replace(before, after), encoding="utf-8")
    # Its Lambda dependencies are this release's.
    (project / "build").mkdir()
    (project / "build" / "lambda").symlink_to(PROJECT / "build" / "lambda")
    context = json.loads((project / "cdk.json").read_text(encoding="utf-8"))["context"]
    context |= {"instance_types": "t3a.large"}
    environment = {
        **os.environ,
        "PYTHONPATH": f"{project}{os.pathsep}{project / 'functions'}",
        "CDK_OUTDIR": str(project / "cdk.out"),
        "CDK_CONTEXT_JSON": json.dumps(context),
    }
    done = subprocess.run(
        [sys.executable, "app.py"], cwd=project, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return project / "cdk.out"


@pytest.fixture(scope="module")
def next_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("next") / "project")


@pytest.fixture
def world(assembly: Path) -> Iterator[World]:
    """An account with this release."""
    with LocalAws.start(assembly, region="eu-west-1", scale=120.0) as aws:
        yield World(aws, aws.deploy())


def definition(world: World) -> str:
    arn = world.outputs["BakeStateMachineArn"]
    found = world.aws.client("stepfunctions").describe_state_machine(stateMachineArn=arn)
    return str(found["definition"])


def held(world: World, recipe: str, document: str) -> str:
    """A bake that is in the middle of a document, which takes longer than a deployment."""
    world.aws.agent.script(document, exit_code=0, seconds=_HELD_SECONDS)
    arn = world.start({"recipe": recipe})
    sent = f"{arn.rpartition(':')[2]}/"

    def waits() -> bool:
        commands = [c for c in world.sent_to_builders() if c["Comment"].startswith(sent)]
        return bool(commands) and commands[-1]["DocumentName"] == document and world.waits() != {}

    world.aws.until(waits, what=f"{document} to run")
    return arn


def sent(world: World, bake: str) -> dict[str, tuple[str, str]]:
    """Document to version and hash of each command of a bake."""
    return {
        call["DocumentName"]: (call["DocumentVersion"], call["DocumentHash"])
        for call in world.sent_to_builders()
        if call["Comment"].startswith(f"{bake}/")
    }


def pinned(world: World, arn: str) -> dict[str, tuple[str, str]]:
    """Document to version and hash as the execution's plan says."""
    (plan,) = [
        json.loads(event["stateExitedEventDetails"]["output"])["plan"]
        for event in history(world, arn)
        if event.get("stateExitedEventDetails", {}).get("name") == "Plan"
    ]
    fixed = [plan[key] for key in ("prepare", "remove_identity", "generalize", "verify_identity")]
    (kept,) = {
        call.parameters["Item"]["text"]["S"]
        for call in world.aws.calls.of("dynamodb", "PutItem")
        if named(call.parameters["Item"]) == f"text#steps#{plan['bake']}"
    }
    steps = json.loads(kept)
    return {c["document"]: (c["version"], c["hash"]) for c in [*fixed, *steps]}


def history(world: World, arn: str) -> list[dict[str, Any]]:
    pages = (
        world.aws.client("stepfunctions")
        .get_paginator("get_execution_history")
        .paginate(executionArn=arn)
    )
    return [event for page in pages for event in page["events"]]


def types(world: World, bake: str) -> set[str]:
    return {instance["InstanceType"] for instance in world.tagged("builder", bake)}


def finished(world: World, arn: str) -> Any:
    """The end of a held bake."""
    world.aws.clock.advance(seconds=_HELD_SECONDS)
    return world.ended(arn)


@pytest.mark.failure(60)
def test_a_bake_goes_on_with_its_own_code_definition_and_documents(
    world: World, next_release: Path
) -> None:
    arn = held(world, "web", "AmiBakery-prepare-linux")
    before = definition(world)
    world.aws.deploy(next_release)
    assert definition(world) != before
    first = finished(world, arn)
    assert (first.status, first.error, first.cause) == ("SUCCEEDED", "", "")
    assert sent(world, first.name) == pinned(world, arn)
    assert {version for version, _ in sent(world, first.name).values()} == {"1"}
    assert types(world, first.name) == {"t3.medium"}

    second = world.bake("web")
    assert second.status == "SUCCEEDED", second.cause
    assert second.output["reason"] == (
        "step 'packages' changed; document AmiBakery-prepare-linux changed; "
        "document AmiBakery-generalize-linux changed; document AmiBakery-reboot-linux changed; "
        "bakery 0.1.0 -> 0.2.0"
    )
    assert types(world, second.name) == {"t3a.large"}
    versions = {document: version for document, (version, _) in sent(world, second.name).items()}
    changed = {document for document, version in versions.items() if version == "2"}
    assert changed == {
        "AmiBakery-prepare-linux",
        "AmiBakery-reboot-linux",
        "AmiBakery-generalize-linux",
        "AmiBakery.web.packages",
    }
    assert world.pointer("web") == second.output["image"]["id"]


def test_a_step_that_a_deployment_takes_away_is_told_by_a_bake_that_has_not_run_it(
    world: World, next_release: Path
) -> None:
    arn = held(world, "small", "AmiBakery-prepare-linux")
    world.aws.deploy(next_release)
    failed = finished(world, arn)
    assert (failed.status, failed.error) == ("FAILED", "DocumentGoneError")
    assert "AmiBakery.small.packages is no longer what the bake was planned with" in failed.cause
    assert "Start the bake again" in failed.cause
    assert world.left_behind(failed.name) == []
    assert world.pointer("small") is None
    again = world.bake("small")
    assert again.status == "SUCCEEDED", again.cause
    assert "AmiBakery.small.software" in sent(world, again.name)


def test_a_bake_that_has_run_the_step_goes_on_without_its_document(
    world: World, next_release: Path
) -> None:
    arn = held(world, "small", "AmiBakery.small.packages")
    world.aws.deploy(next_release)
    ended = finished(world, arn)
    assert ended.status == "SUCCEEDED", ended.cause
    assert world.pointer("small") == ended.output["image"]["id"]
