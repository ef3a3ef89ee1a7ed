"""``bakery check``: everything that can be found wrong without AWS."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from bakery import steps
from bakery.documents import parameter_problems, problems_of
from bakery.naming import fixed_document
from bakery.problems import one_line
from bakery.recipe import (
    InstanceBase,
    PowershellStep,
    Recipe,
    Schedule,
    ScriptStep,
)
from infra.loading import (
    FileProblem,
    document_problems,
    inspect_recipes,
    load_document,
    load_program,
    recipe_files,
)
from infra.loading.reader import read
from scripts import cron
from scripts.bakery_cli.errors import FAILED, CommandError
from scripts.bakery_cli.screen import line
from scripts.bakery_cli.words import count

_AHEAD = timedelta(days=730)


def check(screen: Console, names: Sequence[str], *, recipes: Path, documents: Path) -> int:
    """Print every problem of the recipes (default: all) and of all documents; the exit code."""
    known_names(names, recipes)
    problems = [
        problem
        for problem in find(recipes, documents)
        if not names or problem.file.stem in names or problem.file.parent == documents
    ]
    warnings = [
        warning for warning in _warnings(recipes) if not names or warning.file.stem in names
    ]
    for problem in problems:
        line(screen, _shown(problem))
    for warning in warnings:
        line(screen, Text.assemble(_shown(warning), style="yellow"))
    if problems:
        line(screen)
        line(screen, f"{count(len(problems), 'problem')}.", style="bold red")
        return FAILED
    what = ", ".join(names) or count(len(recipe_files(recipes)), "recipe")
    number = len(list(documents.glob("*.yaml")))
    line(screen, f"No problem in {what} and {count(number, 'document')}.", style="bold green")
    if warnings:
        line(screen, f"{count(len(warnings), 'warning')}, see above.", style="bold yellow")
    return 0


def known_names(names: Sequence[str], folder: Path) -> None:
    """Raise CommandError, with the names that exist, if one does not."""
    known = [path.stem for path in recipe_files(folder)]
    for name in names:
        if name not in known:
            raise CommandError(
                f"There is no recipe '{name}' in {folder}.",
                f"Recipes here: {', '.join(known) or 'none'}.",
                code=FAILED,
            )


def find(recipes: Path, documents: Path) -> list[FileProblem]:
    """Every problem of recipes and documents, in the order of files and lines."""
    loaded, found = inspect_recipes(recipes)
    sound: dict[str, dict[str, Any]] = {}
    for path in sorted(documents.glob("*.yaml")):
        if problems := document_problems(path):
            found += problems
        else:
            sound[fixed_document(path.stem)] = load_document(path)
    program = load_program()
    for name, recipe in loaded.items():
        found += _step_problems(recipes / f"{name}.yaml", recipe, sound, program)
    return sorted(found)


def _warnings(recipes: Path) -> Iterator[FileProblem]:
    """What can be deployed, but does not do all that its author may expect."""
    loaded, _ = inspect_recipes(recipes)
    for name, recipe in loaded.items():
        if recipe.windows and recipe.windows.administrator_password:
            yield read(recipes / f"{name}.yaml").problem(
                "windows.administrator_password",
                "warning: it stays readable in the image, for all who may use it; with random each "
                "instance makes its own",
            )
        if recipe.schedule and (text := _lost_night(recipe.schedule, datetime.now(UTC))):
            yield read(recipes / f"{name}.yaml").problem("schedule.cron", f"warning: {text}")
        for path, text in _of_a_host(recipe):
            yield read(recipes / f"{name}.yaml").problem(path, f"warning: {text}")


def _of_a_host(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """What is otherwise for a recipe whose base is a running host."""
    if not isinstance(recipe.base, InstanceBase):
        return
    if recipe.schedule and recipe.schedule.only_if_changed:
        yield (
            "schedule",
            "every slot bakes, because nothing tells what has changed on a running host; leave out "
            "the schedule, and start a bake when you want one",
        )
    if recipe.customize:
        yield (
            "customize",
            "these steps run on a clone of the host, which reaches nothing but what the context "
            "clone_egress names; let a second recipe with base: {recipe: THIS} have steps that "
            "need more",
        )


def _lost_night(when: Schedule, now: datetime) -> str | None:
    """That the schedule names a time which clocks will jump over, with the remedy."""
    try:
        found = next(cron.lost(when.cron, when.timezone, now, now + _AHEAD), None)
    except ValueError:
        return None  # one of the few forms that the library does not know
    if found is None:
        return None
    return (
        f"{found:%H:%M} on {found:%Y-%m-%d} does not exist in {when.timezone}, because clocks go "
        "forward: EventBridge Scheduler skips that bake; name an hour at which no clocks change, "
        "such as 4, or leave out timezone for UTC"
    )


def _step_problems(
    file: Path, recipe: Recipe, documents: Mapping[str, Mapping[str, Any]], program: str
) -> Iterator[FileProblem]:
    """What Systems Manager would refuse of the documents that the steps become or name."""
    source = read(file)
    for index, step in enumerate(recipe.customize):
        path = f"customize[{index}]"
        if isinstance(step, ScriptStep):
            language = "powershell" if isinstance(step, PowershellStep) else "shell"
            for text in problems_of(steps.script_document(step, program)):
                yield source.problem(f"{path}.{language}", text)
            continue
        name = steps.document_of(file.stem, step, windows=recipe.windows is not None)
        if name in documents:
            given = steps.parameters_of(step, bake="check", region="us-east-1")
            values = {key: list(value) for key, value in given.items()}
            for text in parameter_problems(documents[name], values):
                yield source.problem(f"{path}.parameters", text)


def _shown(problem: FileProblem) -> Text:
    where = f"{problem.file}:{problem.line}" if problem.line else str(problem.file)
    path = f"{problem.path}: " if problem.path else ""
    return Text.assemble(
        (one_line(where), "bold"), ": ", (one_line(path), "cyan"), one_line(problem.message)
    )
