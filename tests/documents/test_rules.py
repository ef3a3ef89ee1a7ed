"""What Systems Manager refuses is refused before it is asked."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from bakery.documents import matches, parameter_problems, problems_of

VALID: dict[str, Any] = {
    "schemaVersion": "2.2",
    "description": "An example.",
    "parameters": {
        "Name": {"type": "String", "allowedPattern": "^[a-z]{1,8}$", "description": "A name."},
        "Mode": {"type": "String", "allowedValues": ["fast", "slow"], "default": "fast"},
        "Lines": {"type": "StringList", "default": ["true"], "maxItems": 3, "minItems": 1},
    },
    "mainSteps": [
        {
            "action": "aws:runShellScript",
            "name": "one",
            "precondition": {"StringEquals": ["platformType", "Linux"]},
            "inputs": {"runCommand": ["echo '{{ Name }}'"], "timeoutSeconds": "60"},
        },
        {"action": "aws:runShellScript", "name": "two", "inputs": {"runCommand": "{{ Lines }}"}},
    ],
}


def step(document: dict[str, Any]) -> dict[str, Any]:
    return document["mainSteps"][0]  # type: ignore[no-any-return]


def inputs(document: dict[str, Any]) -> dict[str, Any]:
    return step(document)["inputs"]  # type: ignore[no-any-return]


def name(document: dict[str, Any]) -> dict[str, Any]:
    return document["parameters"]["Name"]  # type: ignore[no-any-return]


BREAKAGES: list[tuple[str, Callable[[dict[str, Any]], object]]] = [
    ("schemaVersion", lambda d: d.update(schemaVersion=2.2)),
    ("schemaVersion", lambda d: d.pop("schemaVersion")),
    ("mainSteps", lambda d: d.update(mainSteps=[])),
    ("mainSteps", lambda d: d.pop("mainSteps")),
    ("assumeRole", lambda d: d.update(assumeRole="x")),
    ("parameters", lambda d: d.update(parameters=[])),
    ("letters and digits", lambda d: d["parameters"].update({"a-b": {"type": "String"}})),
    ("type", lambda d: name(d).update(type="Integer")),
    ("minItems", lambda d: name(d).update(minItems=1)),
    ("default", lambda d: name(d).update(default=["x"])),
    ("default: 'FAST'", lambda d: d["parameters"]["Mode"].update(default="FAST")),
    ("default: 'X'", lambda d: name(d).update(default="X")),
    ("regular expression", lambda d: name(d).update(allowedPattern="^[")),
    ("look-around", lambda d: name(d).update(allowedPattern="^(?!x).*$")),
    ("look-around", lambda d: name(d).update(allowedPattern=r"^x\Z")),
    ("up to 1001 times", lambda d: name(d).update(allowedPattern="^[a-z]{1,1001}$")),
    ("up to 1500 times", lambda d: name(d).update(allowedPattern=r"^\[[^{}'\\]{1,1500}\]$")),
    ("up to 2000 times", lambda d: name(d).update(allowedPattern="^(/[a-z]{1,100}){1,20}$")),
    ("up to 1200 times", lambda d: name(d).update(allowedPattern="^((a{2}b{20}|c)+d{3}){60}$")),
    ("interpolationType", lambda d: name(d).update(interpolationType="ENV")),
    ("ENV_VAR", lambda d: d["parameters"]["Lines"].update(interpolationType="ENV_VAR")),
    ("action", lambda d: step(d).update(action="aws:runBash")),
    ("runCommand", lambda d: inputs(d).pop("runCommand")),
    ("runCommand", lambda d: inputs(d).update(runCommand="echo 1")),
    ("runCommand", lambda d: inputs(d).update(runCommand="{{ Name }}")),
    ("runCommand", lambda d: inputs(d).update(runCommand=["echo", 1])),
    ("command", lambda d: inputs(d).update(command=["x"])),
    ("{{ Nmae }}", lambda d: inputs(d).update(runCommand=["{{ Nmae }}"])),
    ("timeoutSeconds", lambda d: inputs(d).update(timeoutSeconds="1")),
    ("timeoutSeconds", lambda d: inputs(d).update(timeoutSeconds="an hour")),
    ("onFailure", lambda d: inputs(d).update(onFailure="abort")),
    ("onFailure", lambda d: step(d).update(onFailure="exit")),
    ("onSuccess", lambda d: inputs(d).update(onSuccess="go")),
    ("finallyStep", lambda d: inputs(d).update(finallyStep=True)),
    ("isEnd", lambda d: step(d).update(isEnd=True)),
    ("twice", lambda d: step(d).update(name="two")),
    ("name", lambda d: step(d).update(name="my step")),
    ("operator", lambda d: step(d).update(precondition={"StringLike": ["platformType", "L*"]})),
    ("Linux", lambda d: step(d).update(precondition={"StringEquals": ["platformType", "BSD"]})),
    ("two strings", lambda d: step(d).update(precondition={"StringEquals": ["platformType"]})),
    ("constants", lambda d: step(d).update(precondition={"StringEquals": ["a", "b"]})),
    ("bytes", lambda d: inputs(d).update(runCommand=["x" * 70_000])),
]


def test_a_valid_document_has_no_problems() -> None:
    assert problems_of(VALID) == []


@pytest.mark.parametrize(("word", "breakage"), BREAKAGES)
def test_a_broken_document_is_named(
    word: str, breakage: Callable[[dict[str, Any]], object]
) -> None:
    document = copy.deepcopy(VALID)
    breakage(document)

    assert any(word in problem for problem in problems_of(document)), problems_of(document)


def test_all_problems_come_at_once() -> None:
    document = copy.deepcopy(VALID)
    name(document).update(type="Integer")
    inputs(document).update(onFailure="abort", timeoutSeconds="1")

    assert len(problems_of(document)) == 3


@pytest.mark.parametrize(
    ("parameters", "word"),
    [
        ({}, "Name: a value is required"),
        ({"Name": ["x"], "Nmae": ["x"]}, "no such parameter; it has: Lines, Mode, Name"),
        ({"Name": []}, "exactly one value"),
        ({"Name": ["a", "b"]}, "exactly one value"),
        ({"Name": ["X"]}, "does not match"),
        ({"Name": ["x\n"]}, "does not match"),
        ({"Name": ["x"], "Mode": ["medium"]}, "not one of fast, slow"),
        ({"Name": ["x"], "Lines": ["a", "b", "c", "d"]}, "at most 3"),
        ({"Name": ["x"], "Lines": []}, "at least 1"),
        ({"Name": "x"}, "list of strings"),
        ({"Name": [1]}, "must be a string"),
        ({"Name": ["x"], "Lines": ["x" * 66_000]}, "bytes"),
    ],
)
def test_parameters_that_send_command_refuses(parameters: Any, word: str) -> None:
    problems = parameter_problems(VALID, parameters)

    assert any(word in problem for problem in problems), problems


def test_parameters_that_send_command_accepts() -> None:
    assert parameter_problems(VALID, {"Name": ["web"], "Lines": ["a", "b"]}) == []
    assert parameter_problems({"mainSteps": []}, {}) == []


def test_patterns_search_like_java_and_end_like_re2() -> None:
    assert matches("b", "abc")
    assert not matches("^b", "abc")
    assert not matches("^a$", "a\n")
    assert not matches("^a$|^b$", "a\n")
    assert matches(r"^a\$$", "a$")
    assert matches(r"^\p{Alpha}+$", "left to AWS: Python has no such class")
