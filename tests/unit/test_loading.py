"""Reading YAML: what is refused, where, and what the reader is told to do."""

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakery.recipe import ShellStep
from infra.loading import (
    DocumentsError,
    FileProblem,
    FilesError,
    RecipesError,
    YamlError,
    document_problems,
    load_document,
    load_documents,
    load_recipes,
    load_yaml,
    recipe_files,
)
from infra.loading.reader import MAX_FILE_BYTES, read

PROJECT = Path(__file__).resolve().parents[2]

BASE = "base: {ami: ami-0123456789abcdef0}\n"
GOOD = f"description: web tier\n{BASE}"


def write(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def problems(folder: Path) -> list[FileProblem]:
    with pytest.raises(RecipesError) as caught:
        load_recipes(folder)
    return list(caught.value.problems)


def the_problem(folder: Path, text: str | bytes) -> FileProblem:
    path = write(folder, "web.yaml", text)
    (problem,) = problems(folder)
    assert problem.file == path
    return problem


# --- YAML -------------------------------------------------------------------------------------


def refused(tmp_path: Path, text: str | bytes) -> list[FileProblem]:
    with pytest.raises(YamlError) as caught:
        load_yaml(write(tmp_path, "file.yaml", text))
    return list(caught.value.problems)


def test_plain_data_comes_out_as_it_is_written(tmp_path: Path) -> None:
    text = "a: [1, 2.5, true, null, text]\nb: {c: |\n    two\n    lines\n  }\n"
    with pytest.raises(YamlError):  # a block scalar cannot stand in braces
        load_yaml(write(tmp_path, "a.yaml", text))
    text = "a: [1, 2.5, true, null, text]\nb:\n  c: |\n    two\n    lines\n"
    expected = {"a": [1, 2.5, True, None, "text"], "b": {"c": "two\nlines\n"}}
    assert load_yaml(write(tmp_path, "b.yaml", text)) == expected


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("on", "on"),
        ("no", "no"),
        ("Yes", "Yes"),
        ("012345678901", "012345678901"),
        ("0x1F", "0x1F"),
        ("1_000", "1_000"),
        ("12:30:00", "12:30:00"),
        ("2026-01-31", "2026-01-31"),
        ("2018.03", 2018.03),
        ("2023.6.20250115", "2023.6.20250115"),
        ("~", None),
        ("", None),
        ("-7", -7),
        (".5", 0.5),
        ("=", "="),
    ],
)
def test_scalars_mean_what_yaml_1_2_says(tmp_path: Path, written: str, value: object) -> None:
    loaded = load_yaml(write(tmp_path, "a.yaml", f"key: {written}\n"))["key"]
    assert loaded == value and type(loaded) is type(value)


def test_every_duplicate_key_is_refused_with_both_lines_and_its_path(tmp_path: Path) -> None:
    text = "a: 1\nb:\n  - c: 1\n    d: 2\n    c: 3\na: 2\n"
    first, second = refused(tmp_path, text)
    assert (first.line, first.path) == (5, "b[0].c")
    assert first.message == "is there twice, first in line 3; keep one of them"
    assert (second.line, second.path) == (6, "a")


@pytest.mark.parametrize("text", ["a:\n\tb: 1\n", "a: 1\n\tb: 2\n", "- a\n-\tb:\n\t\tc: 1\n"])
def test_a_tab_as_indentation_is_named_with_line_and_column(tmp_path: Path, text: str) -> None:
    (problem,) = refused(tmp_path, text)
    assert problem.line > 0
    assert "is a tab; YAML wants spaces for indentation, replace it" in problem.message


def test_a_tab_inside_a_script_is_content(tmp_path: Path) -> None:
    path = write(tmp_path, "a.yaml", "shell: |\n  cat <<-END\n  \tindented\n  END\n")
    assert load_yaml(path)["shell"] == "cat <<-END\n\tindented\nEND\n"


@pytest.mark.parametrize(
    ("key", "shown"), [("true", "true"), ("5", "5"), ("null", "null"), ("? [a]\n", "a list or")]
)
def test_a_key_that_is_no_text_is_refused(tmp_path: Path, key: str, shown: str) -> None:
    (problem,) = refused(tmp_path, f"a: 1\n{key}: 2\n")
    assert problem.line == 2
    assert f"the key {shown}" in problem.message and "put it in quotes" in problem.message


@pytest.mark.parametrize("tag", ["!Ref x", "!!python/object/apply:os.system [id]", "!!set {a}"])
def test_a_tag_is_refused(tmp_path: Path, tag: str) -> None:
    found = refused(tmp_path, f"a: {tag}\n")
    assert any("tag" in problem.message for problem in found)


def test_an_anchor_may_be_used_with_measure(tmp_path: Path) -> None:
    text = "a: &a {x: 1, y: 2}\nb:\n  <<: *a\n  y: 3\nc: *a\n"
    loaded = load_yaml(write(tmp_path, "a.yaml", text))
    assert loaded == {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}, "c": {"x": 1, "y": 2}}


def test_aliases_that_stand_for_too_much_are_refused_quickly(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    (problem,) = refused(tmp_path, "\n".join(lines))
    assert "use fewer aliases" in problem.message


def test_an_alias_inside_itself_is_refused(tmp_path: Path) -> None:
    (problem,) = refused(tmp_path, "a: &a [*a]\n")
    assert "an alias stands for a part that contains it" in problem.message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; write it, or remove the file"),
        ("# only a comment\n", "is empty"),
        ("a: b: c\n", "column 5 is a colon inside of a text; put the text in quotes"),
        ("a: %b\n", "column 4: a text cannot begin so; put it in quotes"),
        ("a: [1, 2\n", "is not YAML"),
        ("a: 1\nb: 'open\nc: 2\n", "the quote that opens in column 4 is never closed"),
        ('a: {b: "open}\n', "the quote that opens in column 8 is never closed"),
        ("a: *nobody\n", "is not YAML"),
        ("a: {b: *}\n", "a text that begins with * must be in quotes"),
        ("a: {cron: 0 3 * * ? *, b: c}\n", "inside { } put a text with , : ? or { } in quotes"),
        ("a: {b: c d: e}\n", "inside { } put a text with , : ? or { } in quotes"),
        ("a:\n  b: 1\n c: 2\n", "keys of one mapping begin in the same column"),
        ("a: 1\n---\nb: 2\n", "a second document begins here"),
        ("a: \x07\n", "the control character U+0007 is not allowed"),
        (b"a: \xff\n", "is not UTF-8 text"),
        ("a: " + "[" * 5000, "is nested too deeply"),
        ("a: " + "x" * MAX_FILE_BYTES, "are not read"),
    ],
)
def test_what_is_not_yaml_gets_one_clear_problem(
    tmp_path: Path, text: str | bytes, message: str
) -> None:
    (problem,) = refused(tmp_path, text)
    assert message in problem.message
    assert "\n" not in problem.message


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(YamlError, match="cannot be read: No such file"):
        load_yaml(tmp_path / "none.yaml")


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    assert load_yaml(write(tmp_path, "a.yaml", b"\xef\xbb\xbfa: 1\n")) == {"a": 1}


@given(st.text(max_size=60) | st.binary(max_size=60))
def test_no_text_at_all_gets_through_as_another_error(
    tmp_path_factory: pytest.TempPathFactory, text: str | bytes
) -> None:
    content = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    path = write(tmp_path_factory.mktemp("any"), "any.yaml", content)
    try:
        load_yaml(path)
    except YamlError as error:
        assert error.problems


def test_a_problem_is_placed_at_the_line_of_its_path_or_of_its_parent(tmp_path: Path) -> None:
    source = read(write(tmp_path, "a.yaml", "a: 1\nb:\n  - c: 1\n  - c: 2\n    d: 3\n"))
    assert [source.problem(path, "").line for path in ("a", "b[1].d", "b[1].x", "z", "")] == [
        *(1, 5, 4, 1, 0)
    ]


# --- recipes ----------------------------------------------------------------------------------


def test_a_recipe_is_called_as_its_file(tmp_path: Path) -> None:
    write(tmp_path, "web.yaml", GOOD)
    write(tmp_path, "notes.md", "no recipe")
    write(tmp_path, ".hidden.yaml", "no recipe")
    recipes = load_recipes(tmp_path)
    assert list(recipes) == ["web"] and recipes["web"].description == "web tier"


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipesError, match="none: there is no such folder"):
        load_recipes(tmp_path / "none")


def test_a_file_that_would_be_overlooked_is_a_problem(tmp_path: Path) -> None:
    write(tmp_path, "web.yml", GOOD)
    (problem,) = problems(tmp_path)
    assert "rename it to web.yaml" in problem.message


def test_all_problems_of_all_files_are_reported_at_once(tmp_path: Path) -> None:
    write(tmp_path, "aa.yaml", f"{GOOD}surprise: 1\nopsworks: chef-13\n")
    write(tmp_path, "bb.yaml", "{}")
    write(tmp_path, "cc.yaml", GOOD)
    write(tmp_path, "dd.yaml", "a:\n\tb: 1\n")
    found = [(problem.file.stem, problem.line, problem.path) for problem in problems(tmp_path)]
    assert found == [
        ("aa", 3, "surprise"),
        ("aa", 4, "opsworks"),
        ("bb", 1, "base"),
        ("bb", 1, "description"),
        ("dd", 2, ""),
    ]


@pytest.mark.parametrize(
    ("text", "line", "path", "message"),
    [
        ("{}\n", 1, "base", "is missing; add it. Where the builder starts from"),
        (f"{GOOD}customise: []\n", 3, "customise", "did you mean 'customize'?"),
        (
            f"{GOOD}customize: [{{name: a, shell: echo a, b}}]\n",
            3,
            "customize[0].b",
            "put that whole text in quotes: inside { } a comma ends it",
        ),
        (f"{GOOD}xyz:\n", 3, "xyz", "is not a known key; remove it"),
        (f"{GOOD}xyz: 1\n", 3, "xyz", "is not a known key; remove it; known here: base, builder"),
        (
            f"{GOOD}builder:\n  root_volume: {{sise_gib: 9}}\n",
            4,
            "builder.root_volume.sise_gib",
            "did you mean 'size_gib'?",
        ),
        (
            "description: x\nbase: {ami: ami-0123456789abcdef0, recipe: other}\n",
            2,
            "base",
            "needs exactly one of: parameter, ami, search, recipe, instance",
        ),
        ("description: x\n", 1, "base", "One of: parameter, ami, search, recipe, instance."),
        (
            "description: x\nbase:\n  search: {name: ubuntu-*}\n",
            3,
            "base.search.owner",
            "is missing; add it. Account id that owns the image",
        ),
        (
            "description: x\nbase:\n  search: {name: ubuntu-*, owner: 123456789012}\n",
            3,
            "base.search.owner",
            "put it in quotes, YAML takes it for something else",
        ),
        (f"{GOOD}lock_release: 2018.03\n", 3, "lock_release", "put it in quotes"),
        (f"{GOOD}schedule: {{cron: 0 3 * * *}}\n", 3, "schedule.cron", "wants 6"),
        (
            f"{GOOD}schedule: {{cron: '0 3 * * ? *', timezone: Mars}}\n",
            3,
            "schedule.timezone",
            "write one such as 'Europe/London'",
        ),
        (f'{GOOD}image_name: "{{when}}-x"\n', 3, "image_name", "use {recipe}, {time}"),
        (f"{GOOD}image_name: web {{time}}\n", 3, "image_name", "image names allow letters"),
        (
            f"{GOOD}distribute:\n  - {{region: eu-west-1, accounts: ['111122223333']}}\n",
            4,
            "distribute[0]",
            "name a customer managed key in kms_key",
        ),
        (
            "description: x\nbase: {instance: i-12345678, quiesce: stop}\n",
            2,
            "base.quiesce",
            "stop it yourself, bake, and start it again",
        ),
        (
            f"{GOOD}retention: {{days: 30, deprecate_after_days: 31}}\n",
            3,
            "retention",
            "make deprecate_after_days at most days",
        ),
        (
            f"{GOOD}customize:\n  - {{name: a, shell: x}}\n  - name: b\n    shell: '{{{{ b }}}}'\n",
            6,
            "customize[1].shell",
            "would be replaced by Systems Manager",
        ),
        ("description: x\nbase: {recipe: other}\n", 2, "base.recipe", "recipes here: web"),
        ("description: x\nbase: {recipe: web}\n", 2, "base.recipe", "in a circle: web -> web"),
        ("- a\n- b\n", 0, "", "is not a mapping of fields; write lines such as"),
    ],
)
def test_a_problem_says_what_is_wrong_where_and_what_to_do(
    tmp_path: Path, text: str, line: int, path: str, message: str
) -> None:
    write(tmp_path, "web.yaml", text)
    problem = problems(tmp_path)[0]
    assert (problem.line, problem.path) == (line, path)
    assert message in problem.message


def test_every_line_that_systems_manager_would_rewrite_is_named_in_the_file(tmp_path: Path) -> None:
    script = "      true\n\n      echo {{ platformType }} {{ssm:foo}}\n      {{ b }} {{ b }}\n"
    write(tmp_path, "web.yaml", f"{GOOD}customize:\n  - name: a\n    shell: |\n{script}")
    first, second = problems(tmp_path)
    assert (first.line, first.path) == (8, "customize[0].shell")
    assert first.message.startswith("{{ platformType }}, {{ssm:foo}} would be replaced")
    assert first.message.endswith('put together: "{""{ platformType }}"')
    assert second.line == 9 and second.message.startswith("{{ b }} would be replaced")


def test_a_line_of_a_folded_script_is_placed_where_the_script_begins(tmp_path: Path) -> None:
    write(tmp_path, "web.yaml", f'{GOOD}customize:\n  - {{name: a, shell: "a\\n{{{{ b }}}}"}}\n')
    assert problems(tmp_path)[0].line == 4


def test_a_recipe_that_an_execution_cannot_carry_is_refused(tmp_path: Path) -> None:
    steps = "".join(f"  - {{name: s{n}, shell: {'x' * 47_000}}}\n" for n in range(5))
    problem = the_problem(tmp_path, f"{GOOD}customize:\n{steps}")
    assert "larger than 200 KiB" in problem.message and "archive" in problem.message


def test_a_name_that_no_recipe_can_have_says_to_rename_the_file(tmp_path: Path) -> None:
    write(tmp_path, "Web_1.yaml", GOOD)
    (problem,) = problems(tmp_path)
    assert "rename the file" in problem.message


def test_a_circle_of_recipes_is_reported_by_each_of_its_members_only(tmp_path: Path) -> None:
    for name, base in (("aa", "bb"), ("bb", "aa"), ("cc", "aa")):
        write(tmp_path, f"{name}.yaml", f"description: x\nbase: {{recipe: {base}}}\n")
    found = problems(tmp_path)
    assert [problem.file.stem for problem in found] == ["aa", "bb"]
    assert "aa -> bb -> aa" in found[0].message


@pytest.mark.parametrize(
    ("base", "child", "says"),
    [
        ("windows: {}\n", "", "'base' makes Windows images; add `windows: {}` here"),
        ("", "windows: {}\n", "'base' makes Linux images; remove windows here"),
    ],
)
def test_a_recipe_on_one_of_the_other_platform_is_refused(
    tmp_path: Path, base: str, child: str, says: str
) -> None:
    write(tmp_path, "base.yaml", GOOD + base)
    write(tmp_path, "web.yaml", f"description: x\nbase: {{recipe: base}}\n{child}")
    (problem,) = problems(tmp_path)
    assert (problem.file.stem, problem.path) == ("web", "base.recipe")
    assert says in problem.message
    write(tmp_path, "base.yaml", GOOD + child)
    assert set(load_recipes(tmp_path)) == {"base", "web"}


def test_a_circle_of_three_is_told_with_its_path(tmp_path: Path) -> None:
    for name, base in (("aa", "bb"), ("bb", "cc"), ("cc", "aa")):
        write(tmp_path, f"{name}.yaml", f"description: x\nbase: {{recipe: {base}}}\n")
    found = {problem.file.stem: problem for problem in problems(tmp_path)}
    assert {name: problem.path for name, problem in found.items()} == dict.fromkeys(
        ("aa", "bb", "cc"), "base.recipe"
    )
    assert "in a circle: aa -> bb -> cc -> aa; give one another base" in found["aa"].message
    assert "cc -> aa -> bb -> cc" in found["cc"].message


def test_a_recipe_may_build_on_one_that_has_problems_of_its_own(tmp_path: Path) -> None:
    write(tmp_path, "aa.yaml", "description: x\nbase: {recipe: bb}\n")
    write(tmp_path, "bb.yaml", "{}")
    assert {problem.file.stem for problem in problems(tmp_path)} == {"bb"}


def test_a_problem_as_text_can_be_clicked() -> None:
    assert str(FileProblem(Path("a.yaml"), 3, "base", "bad")) == "a.yaml:3: base: bad"
    assert str(FileProblem(Path("a.yaml"), 0, "", "bad")) == "a.yaml: bad"


# --- documents --------------------------------------------------------------------------------

DOCUMENT: dict[str, Any] = {
    "schemaVersion": "2.2",
    "mainSteps": [
        {"action": "aws:runShellScript", "name": "run", "inputs": {"runCommand": ["true"]}}
    ],
}
DOCUMENT_TEXT = """\
schemaVersion: "2.2"
mainSteps:
  - action: aws:runShellScript
    name: run
    inputs:
      runCommand: ["true"]
"""


def test_a_document_is_loaded_as_it_is_deployed(tmp_path: Path) -> None:
    assert load_document(write(tmp_path, "a.yaml", DOCUMENT_TEXT)) == DOCUMENT
    assert load_documents(tmp_path) == {"a": DOCUMENT}


def test_a_document_that_systems_manager_would_refuse_names_line_and_path(tmp_path: Path) -> None:
    text = DOCUMENT_TEXT.replace("aws:runShellScript", "aws:runShelScript") + "surprise: 1\n"
    path = write(tmp_path, "a.yaml", text)
    found = {(problem.line, problem.path) for problem in document_problems(path)}
    assert found == {(3, "mainSteps[0].action"), (7, "surprise")}
    with pytest.raises(DocumentsError):
        load_document(path)
    with pytest.raises(DocumentsError):
        load_documents(tmp_path)


@pytest.mark.parametrize("text", ["- a\n", "text\n", "a:\n\tb: 1\n"])
def test_a_document_that_is_no_mapping_is_a_problem(tmp_path: Path, text: str) -> None:
    assert document_problems(write(tmp_path, "a.yaml", text))


# --- the project's own files ------------------------------------------------------------------


def test_the_recipes_of_this_project_have_no_problem() -> None:
    assert len(load_recipes(PROJECT / "recipes")) >= 5


@pytest.mark.parametrize("path", recipe_files(PROJECT / "recipes"), ids=lambda path: path.stem)
def test_a_recipe_of_this_project_tells_editors_its_schema(path: Path) -> None:
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert first == "# yaml-language-server: $schema=recipe.schema.json"


@pytest.mark.parametrize("path", recipe_files(PROJECT / "recipes"), ids=lambda path: path.stem)
def test_a_recipe_of_this_project_leaves_the_running_kernel_alone(path: Path) -> None:
    """A sandbox's /proc/sys is read-only, and the image keeps only what is in files."""
    recipe = load_recipes(path.parent)[path.stem]
    scripts = [step.shell for step in recipe.customize if isinstance(step, ShellStep)]
    assert not [script for script in scripts if re.search(r"^\s*sysctl\b", script, re.M)]


def test_the_documents_of_this_project_have_no_problem() -> None:
    try:
        assert load_documents(PROJECT / "documents")
    except FilesError as error:
        pytest.fail(str(error))
