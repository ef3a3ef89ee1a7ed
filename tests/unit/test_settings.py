"""What a function reads from its environment."""

import inspect
import os

import pytest

from bakery import settings
from bakery.settings import LaunchSettings, PlanSettings, Settings, SettingsError, WaitSettings

PLAN = PlanSettings(
    machine="arn:aws:states:eu-west-1:111122223333:stateMachine:AmiBakery-Bake",
    table="Table",
    default_instance_types=("t3.medium", "t3a.medium"),
    subnet_ids=(),
    default_instance_profile="arn:profile",
    test_instance_profile="arn:test-profile",
    account="111122223333",
    base_owners=(),
    isolated=True,
    tags={"CostCenter": "1234"},
)
EVERY = [
    kind for _, kind in inspect.getmembers(settings, inspect.isclass) if issubclass(kind, Settings)
]


def deploy(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    "given", [PLAN, LaunchSettings(table="t", security_group="sg-1", isolated_group="", kms_key="")]
)
def test_what_synthesis_writes_is_what_the_function_reads(
    given: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(given.to_environment(), monkeypatch)
    assert type(given).load() == given


def test_variables_are_upper_case_and_lists_are_json() -> None:
    written = PLAN.to_environment()
    assert written["TABLE"] == "Table"
    assert written["DEFAULT_INSTANCE_TYPES"] == '["t3.medium", "t3a.medium"]'
    assert all(isinstance(value, str) for value in written.values())


@pytest.mark.parametrize("missing", PLAN.to_environment())
def test_a_missing_variable_is_named(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    deploy(PLAN.to_environment(), monkeypatch)
    monkeypatch.delenv(missing)
    with pytest.raises(SettingsError, match=f"variable {missing} is missing"):
        PlanSettings.load()


@pytest.mark.parametrize("text", ["", "t3.medium", "{", "[1]", '"t3.medium"', "{}", "null"])
def test_a_wrong_variable_is_named(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    deploy({**PLAN.to_environment(), "DEFAULT_INSTANCE_TYPES": text}, monkeypatch)
    with pytest.raises(SettingsError, match="variable DEFAULT_INSTANCE_TYPES"):
        PlanSettings.load()


def test_a_text_is_taken_as_it_is_though_it_looks_like_json(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TABLE", "123")
    assert WaitSettings.load().table == "123"


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
def test_no_variable_is_one_that_lambda_sets_itself(kind: type[Settings]) -> None:
    reserved = {"AWS_REGION", "LAMBDA_TASK_ROOT", "PATH", "TZ", "_HANDLER"}
    assert not {name.upper() for name in kind.model_fields} & (reserved | set(os.environ))


def test_an_unknown_setting_is_refused_when_the_stack_is_made() -> None:
    with pytest.raises(ValueError, match="extra"):
        WaitSettings.model_validate({"table": "T", "queue": "Q"})
