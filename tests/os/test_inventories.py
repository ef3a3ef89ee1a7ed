"""Two images with real packages: what the bake says of them, `bakery diff` and `bakery sbom`."""

import json
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from scripts.bakery_cli.main import main
from scripts.bakery_cli.synthesis import PROJECT, synthesize
from scripts.local import LocalAws
from scripts.local.sandbox_machines import SandboxMachines
from tests.os.test_packages import DEB

pytestmark = [pytest.mark.os, pytest.mark.timeout(900)]

RECIPE = f"""\
description: a package that is newer with each bake
base: {{parameter: /aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64}}
test: {{identity: false}}
customize:
  - name: tools
    shell: {json.dumps("set -- house-tools $(date +%s)" + DEB)}
"""


def test_two_images_with_other_packages_are_told_apart(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipes = PROJECT / "build/test-os-inventories"
    recipes.mkdir(parents=True, exist_ok=True)
    (recipes / "tools.yaml").write_text(RECIPE)
    assembly = synthesize(recipes, lambda _: None)
    with (
        SandboxMachines(network=False) as machines,
        LocalAws.start(assembly, scale=240.0, machines=machines) as aws,
    ):
        aws.deploy()
        for name, value in {**aws.environment, "TERM": "dumb"}.items():
            monkeypatch.setenv(name, value)

        def bakery(*arguments: str) -> str:
            code = main([*arguments, "--recipes", str(recipes)])
            said = capsys.readouterr()
            assert code == 0, said
            return said.out

        first = bakery("bake", "tools")
        assert "packages of Amazon Linux" in _changes(first)  # the sandbox calls itself so
        second = _changes(bakery("bake", "tools", "--force"))
        assert second.startswith("1 updated; house-tools 1")

        found: dict[str, Any] = json.loads(bakery("diff", "tools", "--json"))
        (change,) = found["packages"]["updated"]
        assert (change["name"], change["source"]) == ("house-tools", "house")
        assert int(change["old"]) < int(change["new"])
        assert not found["packages"]["added"] and not found["packages"]["removed"]
        assert "Packages    1 updated; " in bakery("diff", "tools")

        bill = bakery("sbom", "tools")
        assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill) is None
        purls = [component["purl"] for component in json.loads(bill)["components"]]
        assert len(purls) > 100
        assert any(it.startswith("pkg:deb/amzn/house-tools@1") for it in purls)


def _changes(said: str) -> str:
    (line,) = (line for line in said.splitlines() if line.startswith("Changes "))
    return line.removeprefix("Changes").strip()
