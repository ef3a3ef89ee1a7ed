"""Parameters are data: no value of any of them becomes a command, on new agents or old ones."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bakery.documents import parameter_problems, script_of
from bakery.errors import InvalidRecipeError
from bakery.recipe import ShellStep, parse_recipe
from bakery.steps import script_document
from scripts.local import interpolation
from scripts.local.hosts import HereHost
from scripts.local.runner import run_document
from scripts.local.ssm_rules import dialect_of, prologue_of
from tests.documents.conftest import ORDINARY
from tests.hostile import CANARY, CLASSICS, MIXED
from tests.model_fields import NEEDED

HOSTILE = [*CLASSICS, *MIXED[::8], "a" * 70_000]
shells = pytest.mark.parametrize("shell", ["sh", "bash"])


def fits_an_environment(text: str) -> bool:
    """Whether the agent could set a variable to it: no NUL, and UTF-8."""
    return bool(text) and not re.search("[\x00\ud800-\udfff]", text)


def defaults(document: dict[str, Any]) -> dict[str, str]:
    """An ordinary value for every parameter."""
    return {
        name: ORDINARY.get(name, str(definition.get("default")))
        for name, definition in document["parameters"].items()
    }


def arrivals(
    document: dict[str, Any], values: dict[str, str], folder: Path, *, agent: str, shell: str
) -> dict[str, str]:
    """What the script's variables hold after its prologue, run as the agent would run it."""
    environment = interpolation.by_environment(document)
    script = prologue_of(script_of(document["mainSteps"][-1]))
    pasted = dict(values)
    if agent == "new":
        pasted = {name: value for name, value in values.items() if name not in environment}
    names = sorted(name for name in environment)
    text = interpolation.replace(script, pasted)
    text += "".join(f"printf '%s\\0' \"$SSM_{name}\"\n" for name in names)
    exported = {} if agent == "old" else {f"SSM_{name}": values[name] for name in names}
    file = folder / "_script.sh"
    file.write_text(text)
    ran = subprocess.run(
        [shell, str(file)],
        env={"PATH": "/usr/bin:/bin", **exported},
        cwd=folder,
        capture_output=True,
        timeout=20,
    )
    assert ran.returncode == 0, ran.stderr
    return dict(zip(names, ran.stdout.decode().split("\0"), strict=False))


@pytest.mark.failure(27)
@shells
@pytest.mark.parametrize("agent", ["old", "new", "pasting and exporting"])
def test_a_hostile_value_is_refused_or_arrives_as_it_is(
    linux_document: dict[str, Any], agent: str, shell: str, tmp_path: Path
) -> None:
    for name in linux_document["parameters"]:
        for hostile in HOSTILE:
            values = {**defaults(linux_document), name: hostile}
            sent = {key: [value] for key, value in values.items()}
            if parameter_problems(linux_document, sent):
                continue
            arrived = arrivals(linux_document, values, tmp_path, agent=agent, shell=shell)
            assert arrived == {key: values[key] for key in arrived}
            assert not (tmp_path / CANARY).exists()


@shells
def test_a_new_agent_needs_no_pattern(
    linux_document: dict[str, Any], shell: str, tmp_path: Path
) -> None:
    """Even a value that got past allowedPattern is only a value there."""
    names = interpolation.by_environment(linux_document)
    # All of them in the document with the most parameters, some in the others, which begin alike.
    for hostile in HOSTILE if "Directory" in names else HOSTILE[::12]:
        if not fits_an_environment(hostile):
            continue
        values = {**defaults(linux_document), **dict.fromkeys(names, hostile)}
        arrived = arrivals(linux_document, values, tmp_path, agent="new", shell=shell)
        assert arrived == dict.fromkeys(names, hostile)
        assert not (tmp_path / CANARY).exists()


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_value_that_is_accepted_consists_of_inert_characters(
    documents: dict[str, Any], data: st.DataObject
) -> None:
    for document in documents.values():
        for name in sorted(interpolation.by_environment(document)):
            definition = document["parameters"][name]
            value = data.draw(st.from_regex(definition["allowedPattern"], fullmatch=True))
            sent = {key: [text] for key, text in {**defaults(document), name: value}.items()}
            if not parameter_problems(document, sent):
                assert dialect_of(document).inert.fullmatch(value), (name, value)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    value=st.text(st.sampled_from("aZ9 .,-_/@+'\"`$(){}[];&|<>\\\n\t*?!#~^%=:é\x00"), max_size=40)
)
def test_no_other_character_is_accepted(documents: dict[str, Any], value: str) -> None:
    for document in documents.values():
        for name in interpolation.by_environment(document):
            sent = {key: [text] for key, text in {**defaults(document), name: value}.items()}
            if not parameter_problems(document, sent):
                assert dialect_of(document).inert.fullmatch(value), (name, value)


@shells
def test_a_script_of_a_recipe_runs_as_it_was_written_whatever_it_has(
    shell: str, tmp_path: Path
) -> None:
    """Neither its way into the document nor the agent's substitution changes a character of it."""
    texts = [text for text in HOSTILE if is_taken(text)]
    assert len(texts) > 250
    script = f"#!/usr/bin/env {shell}\ncat <<'E-N-D'\n" + "\n".join(texts) + "\nE-N-D\n"
    document = script_document(ShellStep(name="x", shell=script))
    [outcome] = run_document(document, {}, HereHost(tmp_path))
    assert outcome.status == "Success", outcome
    assert outcome.printed == ("\n".join(texts).replace("\r\n", "\n") + "\n", "")
    assert not list(Path("/usr/bin").glob(CANARY))  # where the agent's scripts run


def is_taken(text: str) -> bool:
    """Whether a recipe's script may have it, as far as a heredoc holds it in one piece."""
    step = {"name": "x", "shell": text or " "}
    try:
        parse_recipe("web", {**NEEDED["Recipe"], "customize": [step]})
    except InvalidRecipeError:
        return False
    return len(text) < 1000


def test_the_attack_works_where_it_should(tmp_path: Path) -> None:
    """The counter-test: without quotes and pattern, the harness sees the canary."""
    document = {
        "parameters": {"Bake": {"type": "String", "interpolationType": "ENV_VAR"}},
        "mainSteps": [{"inputs": {"runCommand": ["SSM_Bake={{ Bake }}"]}}],
    }
    arrivals(document, {"Bake": f"$(touch {CANARY})"}, tmp_path, agent="old", shell="sh")

    assert (tmp_path / CANARY).exists()
