"""The local AWS behind the command line: what is baked first, and what of the user stays out."""

import os
from pathlib import Path

import pytest

from bakery.recipe import Recipe, parse_recipe
from scripts.bakery_cli.isolation import no_aws_settings
from scripts.bakery_cli.local import bases_to_bake, what_is_special
from scripts.bakery_cli.main import main
from scripts.bakery_cli.target import Options


def recipe(name: str, **base: str) -> Recipe:
    return parse_recipe(name, {"description": name, "base": base})


RECIPES = {
    "system": recipe("system", ami="ami-0123456789abcdef0"),
    "web": recipe("web", recipe="system"),
    "app": recipe("app", recipe="web"),
}


@pytest.mark.parametrize(
    ("name", "there", "expected"),
    [
        ("system", {}, []),
        ("web", {}, ["system"]),
        ("app", {}, ["system", "web"]),
        ("app", {"system": "ami-1"}, ["web"]),
        ("app", {"system": "ami-1", "web": "ami-2"}, []),
        ("unknown", {}, []),
    ],
)
def test_what_a_recipe_builds_on_is_baked_first_the_lowest_first(
    name: str, there: dict[str, str], expected: list[str]
) -> None:
    assert bases_to_bake(name, RECIPES, lambda _: there) == expected


def test_the_sandbox_does_not_claim_that_scripts_run_faster_or_on_amazon_linux() -> None:
    said = what_is_special(Options(local=True, sandbox=True))
    assert "60 times faster, but at its real pace while scripts run" in said
    assert "a booted Debian of this machine, which has no dnf" in said
    assert "NOT executed" in what_is_special(Options(local=True))


def test_the_user_s_aws_settings_are_hidden_and_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "images")
    monkeypatch.setenv("AWS_ENDPOINT_URL_SSM", "https://ssm.example.com")
    monkeypatch.setenv("NO_PROXY", "intranet")
    before = dict(os.environ)
    with pytest.raises(KeyError), no_aws_settings():
        assert "AWS_PROFILE" not in os.environ and "AWS_ENDPOINT_URL_SSM" not in os.environ
        assert "127.0.0.1" in os.environ["NO_PROXY"]
        os.environ["AWS_REGION"] = "us-east-1"
        raise KeyError
    assert dict(os.environ) == before


@pytest.mark.parametrize("command", ["bake", "plan"])
def test_a_recipe_with_problems_is_refused_before_anything_is_synthesized(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "web.yaml").write_text("description: x\nbase: {}\nbase: {}\n")
    assert main(["--local", command, "web", "--recipes", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert out == "" and f"{tmp_path}/web.yaml:3: base: is there twice" in err
    assert "All recipes of a folder are deployed together" in err
