"""Hostile texts in recipes at synthesis: in the template as they are, or nowhere."""

import json
import re
from pathlib import Path

import pytest
import yaml
from aws_cdk import App, Stack
from aws_cdk.assertions import Template

from bakery.errors import InvalidRecipeError
from bakery.recipe import Recipe, ShellStep, parse_recipe
from bakery.steps import script_document
from infra import synthesize
from infra.documents import Documents
from tests.hostile import CLASSICS, MIXED
from tests.model_fields import NEEDED
from tests.unit.test_invalid_input import BY_HAND

_IN_ONE = 60


def scripts() -> list[str]:
    """Many texts to a script, as far as a recipe may have them."""
    taken = []
    for text in [*CLASSICS, *MIXED]:
        try:
            recipe(text or " ")
        except InvalidRecipeError:
            continue
        if len(text) < 1000:
            taken.append(text)
    assert len(taken) > 500
    return ["\n".join(taken[start : start + _IN_ONE]) for start in range(0, len(taken), _IN_ONE)]


def recipe(*texts: str) -> Recipe:
    steps = [{"name": f"s{number}", "shell": text} for number, text in enumerate(texts)]
    return parse_recipe("web", {**NEEDED["Recipe"], "customize": steps, "test": steps[:2]})


def test_the_cdk_writes_scripts_into_documents_as_they_are(tmp_path: Path) -> None:
    """It resolves no token in them, and there is no reference that CloudFormation would resolve."""
    texts = scripts()
    stack = Stack(App(), "S")
    Documents(stack, "D", folder=tmp_path, recipes={"web": recipe(*texts)})
    found = Template.from_stack(stack).find_resources("AWS::SSM::Document")
    written = {it["Properties"]["Name"]: it["Properties"]["Content"] for it in found.values()}
    for number, text in enumerate(texts):
        expected = script_document(ShellStep(name=f"s{number}", shell=text))
        assert written[f"AmiBakery.web.s{number}"] == expected
    assert len(written) == len(texts) + 2
    assert not re.search(r"\{\{resolve:[^{}]*\}\}", json.dumps(written))


def test_the_app_refuses_all_that_is_wrong_before_there_is_a_template(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, case in enumerate(BY_HAND):
        (tmp_path / f"r-{number}.yaml").write_text(yaml.safe_dump(case.content))
    context = {**synthesize.project_context(), "recipes": str(tmp_path)}
    monkeypatch.setattr(synthesize, "project_context", lambda: context)
    assert synthesize.main() == 1
    lines = capsys.readouterr().err.splitlines()
    for number, case in enumerate(BY_HAND):
        here = [line for line in lines if f"r-{number}.yaml:" in line]
        assert any(f": {case.path}" in line for line in here), (case, here)
