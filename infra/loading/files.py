"""Recipes and documents from their folders."""

from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from typing import Any

from bakery.documents import problems_of
from bakery.errors import InvalidRecipeError
from bakery.problems import Problem
from bakery.recipe import Recipe, RecipeBase, parse_recipe
from infra.loading.advice import advised
from infra.loading.problems import DocumentsError, FileProblem, FilesError, RecipesError
from infra.loading.reader import Source, parts, read

_PROGRAM_LINE = "# documents/with_secrets.py, put here when this is deployed"


def recipe_files(folder: Path) -> list[Path]:
    """The recipes of a folder, one a file; raises RecipesError if there is no such folder."""
    if not folder.is_dir():
        raise RecipesError(
            [
                FileProblem(
                    folder,
                    0,
                    "",
                    "there is no such folder of recipes; name another (--recipes, or context)",
                )
            ]
        )
    return sorted(path for path in folder.glob("*.yaml") if not path.name.startswith("."))


def load_recipes(folder: Path) -> dict[str, Recipe]:
    """Every recipe of a folder by its name, the file's stem.

    Raises RecipesError with all problems of all files: what is no YAML, what does not fit the
    model, and bases that are no recipes or go round in a circle.
    """
    recipes, problems = inspect_recipes(folder)
    if problems:
        raise RecipesError(problems)
    return recipes


def inspect_recipes(folder: Path) -> tuple[dict[str, Recipe], list[FileProblem]]:
    """The recipes that can be read, and every problem of any; raises only without a folder."""
    problems = [
        FileProblem(
            path, 0, "", f"is not read; recipes end in .yaml: rename it to {path.stem}.yaml"
        )
        for path in sorted(folder.glob("*.yml"))
    ]
    sources: dict[str, Source] = {}
    recipes: dict[str, Recipe] = {}
    for path in recipe_files(folder):
        try:
            source = sources[path.stem] = read(path)
            recipes[path.stem] = _recipe(source)
        except FilesError as error:
            problems += error.problems
    known = {path.stem for path in recipe_files(folder)}
    for name in recipes:
        if message := _base_problem(name, recipes, known) or _other_platform(name, recipes):
            problems.append(sources[name].problem("base.recipe", message))
    return recipes, problems


def load_document(path: Path) -> dict[str, Any]:
    """An SSM Command document exactly as deployed; raises DocumentsError or YamlError.

    A line of a script that stands for ``with_secrets.py`` is that program here.
    """
    source = read(path)
    if problems := list(_document_problems(source)):
        raise DocumentsError(problems)
    return {key: _with_program(it) for key, it in source.content.items()}


def _with_program(content: Any) -> Any:
    """The same lists, mappings and texts with the program in its place."""
    match content:
        case str() if _PROGRAM_LINE in content:
            return content.replace(_PROGRAM_LINE, load_program().removesuffix("\n"))
        case list():
            return [_with_program(it) for it in content]
        case dict():
            return {key: _with_program(it) for key, it in content.items()}
        case _:
            return content


def document_problems(path: Path) -> list[FileProblem]:
    """Everything that is wrong with a document's file."""
    try:
        load_document(path)
    except FilesError as error:
        return list(error.problems)
    return []


def load_program() -> str:
    """What the document of a step with secrets runs the step's script by."""
    folder = Path(__file__).parents[2] / "documents"
    return (folder / "with_secrets.py").read_text(encoding="utf-8")


def load_documents(folder: Path) -> dict[str, dict[str, Any]]:
    """Every document of a folder by its file's stem; raises DocumentsError with all problems."""
    paths = sorted(folder.glob("*.yaml"))
    problems = [problem for path in paths for problem in document_problems(path)]
    if problems:
        raise DocumentsError(problems)
    return {path.stem: load_document(path) for path in paths}


def _recipe(source: Source) -> Recipe:
    try:
        return parse_recipe(source.file.stem, source.content)
    except InvalidRecipeError as error:
        raise RecipesError(_in_file(source, it) for it in error.problems) from None


def _in_file(source: Source, problem: Problem) -> FileProblem:
    at = parts(problem.path)
    helped = advised(problem, at, source.value(problem.path), bare=at in source.bare)
    return source.problem(helped.path, helped.message, helped.line)


def _base_problem(name: str, recipes: Mapping[str, Recipe], known: Set[str]) -> str | None:
    """What is wrong with the chain of recipes that ``name`` builds on."""
    chain = [name]
    while (recipe := recipes.get(chain[-1])) and isinstance(recipe.base, RecipeBase):
        base = recipe.base.recipe
        if base == name:
            circle = " -> ".join([*chain, name])
            return f"the recipes build on each other in a circle: {circle}; give one another base"
        if base in chain:
            return None  # a circle further down, which its own members report
        chain.append(base)
    if len(chain) == 2 and chain[1] not in known:
        return f"there is no recipe '{chain[1]}'; recipes here: {', '.join(sorted(known))}"
    return None


def _other_platform(name: str, recipes: Mapping[str, Recipe]) -> str | None:
    """Why the images of the recipe that ``name`` builds on are none for it."""
    recipe = recipes[name]
    base_name = recipe.base.recipe if isinstance(recipe.base, RecipeBase) else ""
    base = recipes.get(base_name)
    if base is None or (base.windows is None) == (recipe.windows is None):
        return None
    if recipe.windows is None:
        return f"'{base_name}' makes Windows images; add `windows: {{}}` here, or name another"
    return f"'{base_name}' makes Linux images; remove windows here, or name another"


def _document_problems(source: Source) -> Iterator[FileProblem]:
    if not isinstance(source.content, Mapping):
        yield source.problem("", "is not a mapping; write schemaVersion, parameters and mainSteps")
        return
    for text in problems_of(source.content):
        path, separator, message = text.partition(": ")
        if separator and " " not in path:
            yield source.problem(path, message)
        else:
            yield source.problem("", text)
