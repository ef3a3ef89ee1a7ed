"""Whole bakes whose documents run for real: what `bakery --local --sandbox bake` does."""

import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from scripts.bakery_cli.synthesis import PROJECT, synthesize
from scripts.local import LocalAws
from scripts.local.objects import fill
from scripts.local.sandbox_machines import SandboxMachines
from tests.os.archives import tar
from tests.os.test_verify import SECRETS

pytestmark = [pytest.mark.os, pytest.mark.timeout(900)]

BASE = "base: {parameter: /aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64}\n"
# Not compressed: gzip writes the time into its header, and the recipe would change with it.
ARCHIVE = tar(("index.html", b"<h1>shop</h1>\n", {}), kind="")
SHOP = """\
description: an application from S3
{base}customize:
  - name: app
    application: {{source: "s3://artefacts/shop+1.tar", sha256: {sha256}, directory: /srv/shop}}
  - {{name: look, shell: "grep -q shop /srv/shop/index.html"}}
"""
LEAKY = """\
description: leaves secrets
{base}customize:
  - name: secrets
    shell: {script}
"""

Bake = Callable[[str], dict[str, Any]]


def planting() -> str:
    """A script that leaves every secret in its place."""
    files = (
        f"mkdir -p {path.rpartition('/')[0]}; cat >{path} <<'E'\n{text}E"
        for path, text in SECRETS.items()
    )
    return "\n".join(files)


@pytest.fixture(scope="module")
def bake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bake]:
    """Bakes a recipe and returns the execution as it ended."""
    # Always the same folder, so that the stack is synthesized after a change only.
    recipes = PROJECT / "build/test-os-recipes"
    recipes.mkdir(parents=True, exist_ok=True)
    sha256 = hashlib.sha256(ARCHIVE).hexdigest()
    (recipes / "shop.yaml").write_text(SHOP.format(base=BASE, sha256=sha256))
    (recipes / "leaky.yaml").write_text(LEAKY.format(base=BASE, script=json.dumps(planting())))
    objects = tmp_path_factory.mktemp("objects")
    (objects / "artefacts").mkdir()
    (objects / "artefacts/shop+1.tar").write_bytes(ARCHIVE)
    assembly = synthesize(recipes, lambda _: None)
    with (
        SandboxMachines(network=False) as machines,
        LocalAws.start(assembly, scale=240.0, machines=machines) as aws,
    ):
        fill(aws.client("s3"), objects, aws.region)
        machine = aws.deploy()["BakeStateMachineArn"]

        def run(recipe: str) -> dict[str, Any]:
            started = aws.client("stepfunctions").start_execution(
                stateMachineArn=machine, name=f"{recipe}-1", input=json.dumps({"recipe": recipe})
            )
            return aws.finished(started["executionArn"], seconds=300)

        yield run


def test_an_application_comes_from_s3_by_the_builders_role(bake: Bake) -> None:
    ended = bake("shop")
    assert ended["status"] == "SUCCEEDED", ended
    assert json.loads(ended["output"])["outcome"] == "baked"


@pytest.mark.failure(28)
def test_secrets_that_a_step_leaves_fail_the_bake_with_their_paths(bake: Bake) -> None:
    ended = bake("leaky")
    assert (ended["status"], ended["error"]) == ("FAILED", "IdentityLeftError"), ended
    for path in SECRETS:
        assert f"identity left: secret: {path}\n" in ended["cause"], ended["cause"]
