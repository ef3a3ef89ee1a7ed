"""Hostile texts in every field of a recipe and of an input: refused with the field's path in one
line that acts on nobody, or carried as they are."""

import ast
import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from string import ascii_letters, digits
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from bakery import fingerprint, naming, planning, steps
from bakery.bake import ExecutionInput
from bakery.documents import problems_of
from bakery.errors import InvalidRecipeError
from bakery.fleet import FleetInput
from bakery.formats import WORDS
from bakery.moving import Asked
from bakery.observability import logger
from bakery.problems import Problem, brief_listing, listing, one_line
from bakery.recipe import Recipe, ShellStep, parse_recipe, validation_problems
from infra.functions import recipes_json
from infra.loading import FilesError, load_recipes
from tests.hostile import CLASSICS, MIXED, is_plain, strings_in, texts
from tests.model_fields import NEEDED, Node, nodes
from tests.unit.samples import content

TEXTS = [node for node in nodes() if node.is_text]
ALL = [*CLASSICS, *MIXED]
FREE = {
    "customize[0].powershell",
    "customize[0].shell",
    "test[0].powershell",
    "test.steps[0].powershell",
    "test[0].shell",
    "test.steps[0].shell",
    "customize[0].parameters.Key",
    "customize[0].parameters.Key[0]",
    "customize[0].application.source",
    "base.name",
    "base.search.name",
    "description",
}
"""Fields that take more than names: most of the hostile texts get through them, as data."""
BEFORE = {"customize[0].application.source": "s3://abc/"}
"""What a text must begin with to be taken at all."""


def refusal(fields: Any) -> list[Problem] | None:
    """What is wrong with a recipe; None if nothing is."""
    try:
        parse_recipe("web", fields)
    except InvalidRecipeError as error:
        lines = str(error).splitlines()
        assert all(map(is_plain, lines)), lines
        assert len(lines) == 1 + len(set(error.problems))
        return list(error.problems)
    return None


def written_at(node: Node, text: str) -> Any:
    """What the deployed recipe has of a text that its author wrote there."""
    stored = json.loads(recipes_json({"web": parse_recipe("web", node.write(text))}))["web"]
    return strings_in(stored)


def look(node: Node, text: str) -> bool:
    """Whether the text is accepted there, and arrives; else it is refused there."""
    found = refusal(node.write(text))
    if found is not None:
        assert {problem.path for problem in found} <= {node.path, _whole(node)}, (node, text, found)
        return False
    # Blanks around a description, and between the fields of a schedule, are not its content.
    plain = {"description": text.strip(), "schedule.cron": " ".join(text.split())}
    assert plain.get(node.path, text) in written_at(node, text), (node, text)
    return True


def _whole(node: Node) -> str:
    """A parameter is told as a whole, and so is what a text is short for."""
    return node.path.removesuffix("[0]")


def test_there_are_more_than_500_texts_and_every_field_gets_them() -> None:
    assert len(set(ALL)) > 1000
    assert len(TEXTS) > 40
    assert {node.path for node in TEXTS} >= FREE


@pytest.mark.parametrize("node", TEXTS, ids=lambda node: node.path)
def test_a_hostile_text_is_refused_at_its_field_or_carried_as_it_is(node: Node) -> None:
    accepted = [text for text in ALL if look(node, text)]
    if before := BEFORE.get(node.path):
        accepted = [text for text in ALL if look(node, before + text)]
    assert (len(accepted) > 50) == (node.path in FREE), accepted[:20]


@settings(max_examples=500, deadline=None, derandomize=True)
@given(text=texts, node=st.sampled_from(TEXTS))
def test_no_other_text_does_more_than_that(text: str, node: Node) -> None:
    look(node, text)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(key=texts | st.sampled_from(ALL))
def test_a_hostile_key_is_refused_with_its_path_in_one_line(key: str) -> None:
    needed = NEEDED["DocumentStep"]
    for fields in (content(**{key: 1}), content(customize=[{**needed, key: 1}])):
        if key not in (*Recipe.model_fields, "parameters"):
            found = refusal(fields)
            assert found
            assert any(problem.path.endswith(key) for problem in found)
    refusal(content(customize=[{**needed, "parameters": {key: "x"}}]))


def test_a_hostile_name_of_a_file_is_refused_in_one_line() -> None:
    for name in ALL:
        with pytest.raises(InvalidRecipeError) as refused:
            parse_recipe(f"x{name} ", content())
        (problem,) = refused.value.problems
        assert is_plain(str(problem))
        assert "rename the file" in problem.message


@pytest.mark.parametrize("model", [ExecutionInput, Asked, FleetInput])
def test_a_hostile_input_is_refused_in_plain_lines(model: type[BaseModel]) -> None:
    refused = 0
    for node in nodes(model):
        for text in ALL:
            given_ = node.write(text) if node.path else {**NEEDED.get(model.__name__, {}), text: 1}
            try:
                taken = model.model_validate(given_)
            except ValidationError as error:
                refused += 1
                told = brief_listing(validation_problems(error))
                assert all(map(is_plain, told.splitlines()))
                assert len(told) < 1000
                assert len(told.splitlines()) == 1
            else:
                assert text in strings_in(taken.model_dump(mode="json"))
    assert refused > 500


# --- places that a text comes to ----------------------------------------------------------------


def scripts() -> list[str]:
    """Every text that a recipe's script may have."""
    (node,) = (node for node in TEXTS if node.path == "customize[0].shell")
    return [text for text in ALL if refusal(node.write(text)) is None]


def test_a_script_becomes_a_document_that_has_it_line_by_line_and_nothing_else() -> None:
    found = scripts()
    assert len(found) > 500
    for text in found:
        document = steps.script_document(ShellStep(name="x", shell=text))
        assert problems_of(document) == []
        lines = document["mainSteps"][0]["inputs"]["runCommand"]
        assert "\n".join(lines) == text.replace("\r\n", "\n").removesuffix("\n")
        assert "parameters" not in document


@pytest.mark.parametrize(
    "script",
    [
        "{{ssm:/a/b}}",
        "{{ ssm:a:3 }}",
        "{{ssm:a:label}}",
        "{{ssm-secure:pw}}",
        "{{ Bake }}",
        "{{resolve:ssm:/a:1}}",
        "a{{resolve:secretsmanager:db:SecretString:password}}b",
        "${Token[AWS.Region.9]}",
        "#{Token[TOKEN.1]}",
        "a\x00b",
        "\x1b[2J",
        "a\rb",
        "# \u202e true",
        "\ud800",
    ],
)
def test_what_somebody_would_replace_or_nobody_sees_is_refused_in_its_line(script: str) -> None:
    shell = {"name": "x", "shell": f"true\n{script}\ntrue\n"}
    (problem,) = refusal(content(customize=[shell])) or [Problem("", "nothing")]
    assert problem.path == "customize[0].shell"
    assert problem.line == 2


def test_the_name_of_an_image_is_made_of_five_values_only() -> None:
    """A template is no format string of Python: it reaches no attribute, and no other width."""
    (node,) = (node for node in TEXTS if node.path == "image_name")
    for text in [*ALL, "{recipe}-{time}", "{bake}.{base}_{date}"]:
        if refusal(node.write(text)) is None:
            made = naming.image_name(
                text, recipe="R", bake="B", base="A", moment=datetime(2026, 1, 31, tzinfo=UTC)
            )
            assert set(made) <= set(text.replace("{", "").replace("}", "")) | set(
                "RBA0123456789TZ-"
            )


def test_a_hostile_name_of_an_execution_is_refused_in_one_line() -> None:
    for text in ALL:
        problem = planning.bake_name_problem(text)
        assert problem is None or is_plain(problem)
        assert problem or set(text) <= {*ascii_letters, *digits, *"_.-"}


def test_a_hostile_tag_of_an_image_only_means_that_something_has_changed() -> None:
    made_of = fingerprint.Fingerprint("1", {"steps": {"a": "x"}})
    for text in ALL:
        assert list(fingerprint.changes(text, {}, made_of))


def test_hostile_yaml_is_data_or_refused_and_never_a_tag(tmp_path: Path) -> None:
    """As a value without quotes: what YAML makes of it is nothing but plain data."""
    file = tmp_path / "web.yaml"
    for text in ALL:
        raw = f"description: {text}\nbase: {{ami: ami-0123456789abcdef0}}\n"
        file.write_bytes(raw.encode("utf-8", "surrogatepass"))
        try:
            recipe = load_recipes(tmp_path)["web"]
        except FilesError as error:
            assert all(map(is_plain, str(error).splitlines()))
        else:
            assert recipe.description in raw
    assert not Path("canary").exists()


@pytest.mark.parametrize("hidden", ["\u202e", "\u2066", "\u200f", "\x1b", "\x85\u202d"])
def test_a_file_has_no_hidden_character_even_in_a_comment(hidden: str, tmp_path: Path) -> None:
    file = tmp_path / "web.yaml"
    file.write_text(f"# a comment {hidden}\n", encoding="utf-8")
    with pytest.raises(FilesError, match=r"web.yaml:1: the control character U\+\w+ is not"):
        load_recipes(tmp_path)


def test_no_format_takes_a_digit_of_another_script() -> None:
    assert [pattern for pattern in WORDS if "\\d" in pattern or "\\w" in pattern] == []


# --- lines --------------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None, derandomize=True)
@given(text=texts)
def test_one_line_shows_all_of_a_text_and_is_one_line(text: str) -> None:
    shown = one_line(text)
    assert is_plain(shown)
    assert one_line(shown) == shown
    assert shown == text or not is_plain(text)
    assert len(listing([Problem(text, text)]).splitlines()) == 1


@contextmanager
def logged() -> Iterator[io.BytesIO]:
    """What the functions' logger writes meanwhile, as into Lambda's output: strict UTF-8."""
    written = io.BytesIO()
    handler = logger._logger.handlers[0]
    assert isinstance(handler, logging.StreamHandler)
    # pytest's own handlers cannot pass on half a pair of UTF-16.
    with patch.object(logger._logger, "propagate", False):
        before = handler.setStream(io.TextIOWrapper(written, encoding="utf-8", write_through=True))
        yield written
        handler.setStream(before)
    logger.clear_state()


def test_a_record_of_the_log_is_one_line_of_json_whatever_it_tells() -> None:
    with logged() as written:
        for text in ALL:
            logger.append_keys(bake=text)
            logger.info("told", parameter=text)
            try:
                raise ValueError(text)
            except ValueError:
                logger.exception("could not")
        content = written.getvalue()
    assert content.isascii()
    records = [json.loads(line) for line in content.decode().splitlines()]
    assert len(records) == 2 * len(ALL)
    assert [record["parameter"] for record in records[::2]] == ALL
    assert [record["bake"] for record in records[::2]] == ALL
    assert {record["message"] for record in records} == {"told", "could not"}
    assert {record["level"] for record in records} == {"INFO", "ERROR"}


def test_a_message_of_the_log_is_never_made_of_data() -> None:
    """The logger reads a message that is JSON as JSON; data stands beside it, in keys."""
    calls = [
        node
        for path in Path(planning.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "logger"
        and node.func.attr in ("debug", "info", "warning", "error", "exception", "critical")
    ]
    assert len(calls) > 10
    for call in calls:
        first = call.args[0]
        said = [first.body, first.orelse] if isinstance(first, ast.IfExp) else [first]
        assert all(isinstance(it, ast.Constant) for it in said), ast.unparse(call)
