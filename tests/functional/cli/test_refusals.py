"""Recipes that only AWS can tell to be impossible: what, where, what to do; nothing is created."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.bakery_cli.main import main
from scripts.bakery_cli.synthesis import synthesize
from scripts.local import LocalAws
from scripts.local.catalog import contents
from scripts.local.iam import ACCOUNT

AL2023 = "ami: ami-0a120230000000064"
OWN_IMAGE = next(
    image["Name"] for image in contents()["images"].values() if image["OwnerId"] == ACCOUNT
)
PATCH = "{name: patch, document: AWS-RunPatchBaseline, parameters: {%s}}"

# name: (recipe without its description, path of the problem, what it says)
IMPOSSIBLE = {
    "arm64-on-x86": (
        "base: {ami: ami-0a1202300000000a4}\nbuilder: {instance_types: [t3.medium]}",
        "builder.instance_types",
        "arm64",
    ),
    "bits-32": ("base: {ami: ami-0bad0000000000386}", "base", "i386"),
    "paravirtual": (
        "base: {ami: ami-0bad00000000000f1}\nbuilder: {instance_types: [t3.medium]}",
        "b",
        "paravirtual",
    ),
    "instance-store": ("base: {ami: ami-0bad00000000000f2}", "base", "instance-store"),
    "uefi-only": (
        "base: {ami: ami-0bad00000000000f3}\nbuilder: {instance_types: [t2.micro]}",
        "builder.instance_types",
        "uefi",
    ),
    "unknown-type": (
        f"base: {{{AL2023}}}\nbuilder: {{instance_types: [t3.gigantic]}}",
        "builder.instance_types",
        "t3.gigantic",
    ),
    "missing-document": (
        f"base: {{{AL2023}}}\ncustomize: [{{name: own, document: MyOwn-document}}]",
        "customize[0].document",
        "there is no document 'MyOwn-document'",
    ),
    "bad-parameter": (
        f"base: {{{AL2023}}}\ncustomize: [{PATCH % 'Operation: Polish'}]",
        "customize[0].parameters",
        "Polish",
    ),
    "surplus-parameter": (
        f"base: {{{AL2023}}}\ncustomize: [{PATCH % 'Operation: Scan, Surprise: x'}]",
        "customize[0].parameters",
        "Surprise",
    ),
    "unknown-parameter": (
        "base: {parameter: /aws/service/canonical/ubuntu/server/14.04/none}",
        "base.parameter",
        "there is no SSM parameter",
    ),
    "no-such-image": ("base: {ami: ami-00000000000000001}", "base.ami", "there is no image"),
    "nothing-found": (
        "base: {search: {owner: self, name: nothing-*}}",
        "base.search",
        "correct the name or the owner",
    ),
    "too-small": (
        f"base: {{{AL2023}}}\nbuilder: {{root_volume: {{size_gib: 2}}}}",
        "builder.root_volume.size_gib",
        "smaller than the base image",
    ),
    "greedy-volume": (
        f"base: {{{AL2023}}}\nbuilder: {{root_volume: {{iops: 16000}}}}",
        "builder.root_volume.iops",
        "need a volume of at least 32 GiB",
    ),
    "long-name": (
        f"base: {{{AL2023}}}\nimage_name: '{'x' * 100}-{{bake}}-{{base}}'",
        "image_name",
        "3 to 128 characters",
    ),
    "taken-name": (
        f"base: {{{AL2023}}}\nimage_name: {OWN_IMAGE}",
        "image_name",
        "put {time} or {bake} into the template",
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recipes")
    for name, (text, _, _) in IMPOSSIBLE.items():
        (folder / f"{name}.yaml").write_text(f"description: impossible\n{text}\n")
    return folder


@pytest.fixture(scope="module")
def aws(folder: Path) -> Iterator[LocalAws]:
    with LocalAws.start(synthesize(folder, lambda _: None), region="eu-west-1", scale=120) as aws:
        aws.deploy()
        yield aws


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_plan_refuses_what_only_aws_can_tell(
    name: str,
    aws: LocalAws,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for variable, value in aws.environment.items():
        monkeypatch.setenv(variable, value)
    code = main(["plan", name])
    out = capsys.readouterr().out
    _, path, message = IMPOSSIBLE[name]
    assert code == 1 and "InvalidRecipeError" in out
    lines = [line.strip() for line in out.splitlines()]
    assert any(line.startswith(f"- {path}") and message in line for line in lines), out


def test_a_bake_of_an_impossible_recipe_creates_nothing(
    aws: LocalAws, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in aws.environment.items():
        monkeypatch.setenv(variable, value)
    assert main(["bake", "bits-32"]) == 1
    out = capsys.readouterr().out
    assert "The bake of bits-32 failed in Plan" in out and "i386" in out
    assert "nothing; nothing had been created" in out
    assert not aws.calls.of(operation="RunInstances")
