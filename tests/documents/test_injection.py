"""Parameters are data: no value of any of them becomes a command, on new agents or old ones."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bakery.documents import parameter_problems, script_of
from scripts.local import interpolation
from scripts.local.ssm_rules import INERT, prologue_of

CANARY = "canary"
HOSTILE = [
    f"$(touch {CANARY})",
    f"`touch {CANARY}`",
    f"; touch {CANARY};",
    f"&& touch {CANARY}",
    f"| touch {CANARY}",
    f"\ntouch {CANARY}\n",
    f"'; touch {CANARY}; '",
    f'"; touch {CANARY}; "',
    f"'\"$(touch {CANARY})\"'",
    f"x' || touch {CANARY} || '",
    "${IFS}",
    "$SSM_Bake",
    "{{ Bake }}",
    "{{ssm:secret}}",
    f"none\ntouch {CANARY}",
    f"auto$(touch {CANARY})",
    f"/srv/app$(touch {CANARY})",
    f"/srv/app\n$(touch {CANARY})",
    "../../etc",
    "*",
    "-rf",
    f"'$(touch {CANARY})'",
    f'"$(touch {CANARY})"',
    f"${{x:-$(touch {CANARY})}}",
    f"$((`touch {CANARY}`))",
    f"\\'; touch {CANARY}; #",
    f"x\r\ntouch {CANARY}\r\n",
    f"x\ttouch {CANARY}",
    f"$'\\n'touch {CANARY}",
    f"touch${{IFS}}{CANARY}",
    f"|& touch {CANARY}",
    f"(touch {CANARY})",
    f"{{ touch {CANARY}; }}",
    f"!touch {CANARY}",
    f"%0atouch {CANARY}",
    f"x\u2028touch {CANARY}",
    f"\u2018; touch {CANARY}; \u2018",
    f"'}}}}; touch {CANARY}; {{{{'",
    f"none' ]; touch {CANARY}; [ '",
    f"'; fi; touch {CANARY}; if true; then x='",
    f"x\nEND\ntouch {CANARY}\n",
    f">{CANARY}",
    f"$$(touch {CANARY})",
    "{{ global:DATE }}",
    "{{{{ Bake }}}}",
    "$0",
    "~root",
    "--help",
    "\x1b[2J",
    "\x00",
    "\\",
    "%s%n",
    "<(touch canary)",
    "a" * 70_000,
    "",
    "é",
]
shells = pytest.mark.parametrize("shell", ["sh", "bash"])


def defaults(document: dict[str, Any]) -> dict[str, str]:
    """An ordinary value for every parameter."""
    ordinary = {
        "Bake": "bake-1",
        "SourceType": "S3",
        "SourceInfo": '{"path": "https://s3.eu-west-1.amazonaws.com/b/k"}',
        "Sha256": "0" * 64,
        "Directory": "/srv/app",
    }
    return {
        name: ordinary.get(name, str(definition.get("default")))
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
    for hostile in HOSTILE:
        if "\x00" in hostile or not hostile:
            continue
        values = {**defaults(linux_document), **dict.fromkeys(names, hostile)}
        arrived = arrivals(linux_document, values, tmp_path, agent="new", shell=shell)
        assert arrived == dict.fromkeys(names, hostile)
        assert not (tmp_path / CANARY).exists()


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
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
                assert INERT.fullmatch(value), (name, value)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    value=st.text(st.sampled_from("aZ9 .,-_/@+'\"`$(){}[];&|<>\\\n\t*?!#~^%=:é\x00"), max_size=40)
)
def test_no_other_character_is_accepted(documents: dict[str, Any], value: str) -> None:
    for document in documents.values():
        for name in interpolation.by_environment(document):
            sent = {key: [text] for key, text in {**defaults(document), name: value}.items()}
            if not parameter_problems(document, sent):
                assert INERT.fullmatch(value), (name, value)


def test_the_attack_works_where_it_should(tmp_path: Path) -> None:
    """The counter-test: without quotes and pattern, the harness sees the canary."""
    document = {
        "parameters": {"Bake": {"type": "String", "interpolationType": "ENV_VAR"}},
        "mainSteps": [{"inputs": {"runCommand": ["SSM_Bake={{ Bake }}"]}}],
    }
    arrivals(document, {"Bake": f"$(touch {CANARY})"}, tmp_path, agent="old", shell="sh")

    assert (tmp_path / CANARY).exists()
