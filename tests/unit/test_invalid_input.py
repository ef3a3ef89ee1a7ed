"""Every field of a recipe and of an execution's input, wrong in every way that there is: refused,
with the field's path and what to do, before anything has talked to AWS."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from botocore.client import BaseClient
from pydantic import BaseModel, ValidationError

from bakery.bake import ExecutionInput
from bakery.errors import InvalidRecipeError
from bakery.fleet import FleetInput
from bakery.moving import Asked
from bakery.problems import Problem
from bakery.recipe import parse_recipe, validation_problems
from infra.loading import FileProblem, RecipesError, inspect_recipes, load_recipes
from scripts.bakery_cli.main import main
from tests.model_fields import Case, cases, nodes
from tests.unit.samples import APPLICATION, DOCUMENT, SHELL, content

INPUTS = (ExecutionInput, Asked, FleetInput)
_KEY_OF_EBS = "arn:aws:kms:eu-west-1:111122223333:alias/aws/ebs"
_ARN = "arn:aws:organizations::111122223333:organization/o-a1b2c3d4e5"


def _volume(**fields: object) -> dict[str, Any]:
    return content(builder={"root_volume": fields})


def _retention(**fields: object) -> dict[str, Any]:
    return content(retention=fields)


def _schedule(**fields: object) -> dict[str, Any]:
    return content(schedule={"cron": "0 3 * * ? *", **fields})


def _places(*regions: str, **fields: object) -> dict[str, Any]:
    return content(distribute=[{"region": it, **fields} for it in regions])


def _steps(*steps: dict[str, Any]) -> dict[str, Any]:
    return content(customize=list(steps))


def _app(**changes: object) -> dict[str, Any]:
    inner = {**APPLICATION["application"], **changes}
    return _steps({**APPLICATION, "application": inner})


def _cron(text: str) -> dict[str, Any]:
    return content(schedule={"cron": text})


_LT = [f"lt-{number:017x}" for number in range(20)]
_MANY = [f"ap-south-{n}" for n in range(1, 10)] + [f"eu-west-{n}" for n in range(1, 10)]

SECRET = {**SHELL, "secrets": {"TOKEN": {"secret": "web/token"}}}

# Fields that are in order, each for itself, or that only a person can tell to be wrong.
BY_HAND = [
    Case("two bases", "base", content(base={"ami": "ami-12345678", "recipe": "golden"})),
    Case("no base of the five", "base", content(base={"image": "ami-12345678"})),
    Case("a search without owner", "base.search.owner", content(base={"search": {"name": "u*"}})),
    Case(
        "wildcards", "base.search.name", content(base={"search": {"owner": "self", "name": "***"}})
    ),
    Case("two kinds of step", "customize[0]", _steps({**SHELL, "reboot": True})),
    Case("no kind of step", "customize[0]", _steps({"name": "x"})),
    Case("shel", "customize[0]", _steps({"name": "x", "shel": "true"})),
    Case("reboot false", "customize[0].reboot", _steps({"name": "x", "reboot": False})),
    Case("twice", "customize", _steps(SHELL, SHELL)),
    Case("alike", "customize", _steps({**SHELL, "name": "a b"}, {**SHELL, "name": "a (b)"})),
    Case("tests alike", "test", content(test=[SHELL, SHELL])),
    Case("a secret in a test", "test", content(test=[SECRET])),
    Case("a secret in its steps", "test.steps", content(test={"steps": [SECRET]})),
    Case(
        "too long together",
        "customize",
        _steps(*({**SHELL, "name": f"s{n}", "timeout_seconds": 43_200} for n in range(60))),
    ),
    Case(
        "tests too long together",
        "test",
        content(test=[{**SHELL, "name": f"s{n}", "timeout_seconds": 43_200} for n in range(40)]),
    ),
    Case("iops of the size", "builder.root_volume.iops", _volume(size_gib=8, iops=16_000)),
    Case("throughput of iops", "builder.root_volume.throughput", _volume(throughput=1_000)),
    Case("deprecated after disabled", "retention", _retention(days=10, deprecate_after_days=20)),
    Case("a Region twice", "distribute", _places("eu-west-1", "eu-west-1")),
    Case("shared without a key", "distribute[0]", _places("eu-west-1", accounts=["111122223333"])),
    Case(
        "with aws/ebs",
        "distribute[0]",
        _places("us-east-1", kms_key=_KEY_OF_EBS, organizations=[_ARN]),
    ),
    Case(
        "too many pointers",
        "publish.labels",
        {**_places(*_MANY), "publish": {"labels": [f"l{n}" for n in range(10)]}},
    ),
    Case(
        "too many templates",
        "publish.launch_templates",
        {**_places(*_MANY[:5], launch_templates=_LT), "publish": {"launch_templates": _LT}},
    ),
    Case(
        "a secret as base",
        "base.parameter",
        content(base={"parameter": "/aws/reference/secretsmanager/x"}),
    ),
    Case("a rate", "schedule.cron", _cron("rate(1 day)")),
    Case("cron of Unix", "schedule.cron", _cron("0 3 * * *")),
    Case("both days", "schedule.cron", _cron("0 3 1 * 1 *")),
    Case("no day", "schedule.cron", _cron("0 3 ? * ? *")),
    Case("minute 60", "schedule.cron", _cron("60 3 * * ? *")),
    Case("a month that is not", "schedule.cron", _cron("0 3 * JUM ? *")),
    Case("a step of zero", "schedule.cron", _cron("0/0 3 * * ? *")),
    Case("Mars", "schedule.timezone", _schedule(timezone="Mars/Olympus")),
    Case("an offset", "schedule.timezone", _schedule(timezone="+02:00")),
    Case("an unknown placeholder", "image_name", content(image_name="{recipe}-{stage}")),
    Case("an attribute", "image_name", content(image_name="{recipe.name}")),
    Case("a conversion", "image_name", content(image_name="{recipe!r}")),
    Case("an open brace", "image_name", content(image_name="{recipe")),
    Case("a blank", "image_name", content(image_name="web tier {time}")),
    Case("the system's", "customize[0].application.directory", _app(directory="/etc")),
    Case("a climb", "customize[0].application.directory", _app(directory="/srv/../etc")),
    Case("tmp", "customize[0].application.directory", _app(directory="/tmp/app")),
    Case("plain http", "customize[0].application.source", _app(source="http://x.example/a.zip")),
    Case("a query", "customize[0].application.source", _app(source="https://x.example/a?b=c")),
    Case("a wildcard", "customize[0].application.source", _app(source="s3://abc/*")),
    Case("a policy variable", "customize[0].application.source", _app(source="s3://abc/${aws:x}")),
    Case("a long key", "customize[0].application.source", _app(source=f"s3://abc/{'x' * 1100}")),
    Case("an MD5", "customize[0].application.sha256", _app(sha256="0" * 32)),
    Case("pasted", "customize[0].shell", _steps({**SHELL, "shell": "echo {{ Name }}"})),
    Case("of the store", "customize[0].shell", _steps({**SHELL, "shell": "x={{ssm:/db/pw:3}}"})),
    Case("a secret", "customize[0].shell", _steps({**SHELL, "shell": "x={{ssm-secure:pw}}"})),
    Case("resolved", "customize[0].shell", _steps({**SHELL, "shell": "{{resolve:ssm:/a:1}}"})),
    Case("a token", "customize[0].shell", _steps({**SHELL, "shell": "${Token[TOKEN.1]}"})),
    Case("unseen", "customize[0].shell", _steps({**SHELL, "shell": "true # \u202e"})),
    Case("resolved in a test", "test[0].shell", content(test=[{**SHELL, "shell": "{{ssm:x}}"}])),
    Case("too large a script", "customize[0].shell", _steps({**SHELL, "shell": "é" * 40_000})),
    Case(
        "resolved as sent",
        "customize[0].parameters.Operation",
        _steps({**DOCUMENT, "parameters": {"Operation": "{{ ssm:op }}"}}),
    ),
    Case("no description", "description", {"base": {"ami": "ami-12345678"}}),
    Case("two lines", "description", content(description="a\nb")),
    Case("blank", "description", content(description="  ")),
    Case("digits of others", "distribute[0].region", _places("eu-west-\u0661")),
    Case(
        "others' account",
        "distribute[0].accounts[0]",
        _places("eu-west-1", kms_key="alias/k", accounts=["\u0661" * 12]),
    ),
]

RECIPES = [*BY_HAND, *cases()]

_REMEDIES = re.compile(
    r"must|needs? |is missing|remove|correct|write|lower|raise|make |name |rename|at most|choose|"
    r"store |read |takes|wants|does not accept|is unknown; use|allow"
)


def says_what_to_do(problem: Problem | FileProblem) -> bool:
    return bool(_REMEDIES.search(problem.message))


def problems(case: Case) -> list[Problem]:
    with pytest.raises(InvalidRecipeError) as refused:
        parse_recipe("web", case.content)
    return list(refused.value.problems)


def test_there_are_more_than_300() -> None:
    assert len(RECIPES) > 2000
    assert sum(len(cases(model)) for model in INPUTS) > 200


def test_what_each_case_is_wrong_in_is_all_that_is_wrong_in_it() -> None:
    """Whatever stands at a place, what stands around it is in order."""
    values: tuple[Any, ...] = (None, 3000, True, "web", "true", [], {})
    for node in nodes():
        for value in values:
            case = Case("", node.path, node.write(value) if node.path else content())
            try:
                parse_recipe("web", case.content)
            except InvalidRecipeError as error:
                found = {problem.path for problem in error.problems}
                assert case.is_named(found), (case, found)
                assert len({it.split(".")[0].split("[")[0] for it in found}) == 1, (case, found)


def test_every_recipe_that_is_wrong_anywhere_is_refused_at_its_field() -> None:
    for case in RECIPES:
        found = problems(case)
        assert case.is_named({problem.path for problem in found}), (case, found)
        assert all(map(says_what_to_do, found)), found


@pytest.mark.parametrize("model", INPUTS)
def test_every_input_that_is_wrong_anywhere_is_refused_at_its_field(
    model: type[BaseModel],
) -> None:
    for case in cases(model):
        with pytest.raises(ValidationError) as refused:
            model.model_validate(case.content)
        found = validation_problems(refused.value)
        assert case.is_named({problem.path for problem in found}), (case, found)
        assert all(map(says_what_to_do, found)), found


@pytest.fixture
def no_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever calls AWS fails, in this process."""

    def refuse(self: BaseClient, operation: str, parameters: object) -> None:
        raise AssertionError(f"{operation} was called")

    monkeypatch.setattr(BaseClient, "_make_api_call", refuse)


def folder_of(tmp_path: Path, some: list[Case]) -> dict[Path, Case]:
    by_file = {tmp_path / f"r-{number}.yaml": case for number, case in enumerate(some)}
    for path, case in by_file.items():
        path.write_text(yaml.safe_dump(case.content, allow_unicode=False, width=200))
    return by_file


@pytest.mark.usefixtures("no_aws")
def test_a_folder_of_them_is_refused_file_by_file_with_line_and_path(tmp_path: Path) -> None:
    by_file = folder_of(tmp_path, [*BY_HAND, *RECIPES[len(BY_HAND) :: 7]])
    assert len(by_file) > 300
    sound, found = inspect_recipes(tmp_path)
    assert sound == {}
    for path, case in by_file.items():
        here = [problem for problem in found if problem.file == path]
        assert case.is_named({problem.path for problem in here}), (case, here)
        assert all(problem.line or not problem.path for problem in here)
        assert all(map(says_what_to_do, here)), here
    with pytest.raises(RecipesError):
        load_recipes(tmp_path)


@pytest.mark.usefixtures("no_aws")
def test_the_command_line_tells_all_of_them_without_aws(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    by_file = folder_of(tmp_path, BY_HAND)
    assert main([f"--recipes={tmp_path}", "check"]) == 1
    lines = capsys.readouterr().out.splitlines()
    for path, case in by_file.items():
        assert any(f"{path}:" in line and f" {case.path}" in line for line in lines), case
