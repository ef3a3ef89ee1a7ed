"""What Plan makes of a Windows recipe."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bakery import planning, sysprep
from bakery.documents import parameter_problems
from bakery.errors import InvalidRecipeError
from bakery.naming import fixed_document
from bakery.planning import decide
from bakery.recipe import Recipe, parse_recipe
from bakery.resources import Document
from infra.loading import load_document
from tests.unit import samples
from tests.unit.samples import REBOOT, document, recipe, world

DOCUMENTS = Path(__file__).parents[2] / "documents"
BASE = "/aws/service/ami-windows-latest/Windows_Server-2022-English-Full-Base"
IMAGE = replace(samples.IMAGE, platform="Windows", root_size_gib=30, boot_mode=None)


def windows(customize: Any = (), **choices: Any) -> Recipe:
    fields = {"description": "w", "base": {"parameter": BASE}, "windows": choices}
    return parse_recipe("web", {**fields, "customize": customize})


def planned(made: Recipe) -> Any:
    names = planning.documents_of("web", made)
    return decided(made, {it: document(it) for it in names})


def decided(made: Recipe, documents: dict[str, Document]) -> Any:
    return decide(world(recipe=made, base=IMAGE, documents=documents), force=False)


def test_a_linux_bake_runs_no_document_for_windows_and_is_asked_for_no_sysprep() -> None:
    assert not [name for name in planning.documents_of("web", recipe()) if "windows" in name]
    plan = decide(world(), force=False)
    assert plan.sysprep is None
    assert plan.remove_identity is not None


@pytest.mark.parametrize("sysprepped", [True, False])
def test_a_windows_bake_runs_documents_for_windows_only(sysprepped: bool) -> None:
    names = planning.documents_of("web", windows(customize=[REBOOT], sysprep=sysprepped))

    how = "sysprep-windows" if sysprepped else "generalize-windows-without-sysprep"
    assert names == [
        "AmiBakery-prepare-windows",
        f"AmiBakery-{how}",
        "AmiBakery-verify-windows",
        "AmiBakery-test-image-windows",
        "AmiBakery-report-identity-windows",
        "AmiBakery-report-packages-windows",
        "AmiBakery-reboot-windows",
    ]


@pytest.mark.parametrize("sysprepped", [True, False])
@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("english", [True, False])
def test_the_documents_take_what_the_recipe_chooses(
    sysprepped: bool, named: bool, english: bool
) -> None:
    made = windows(sysprep=sysprepped, computer_name=named, require_en_us=english)
    plan = planned(made)

    name = ("base",) if named else ("off",)
    assert plan.prepare.parameters["RequireEnUs"] == (("yes",) if english else ("no",))
    assert plan.remove_identity is None
    assert plan.generalize.parameters["ComputerName"] == name
    assert plan.verify_identity.parameters["ComputerName"] == name
    assert plan.verify_identity.parameters["Sysprep"] == (("yes",) if sysprepped else ("no",))
    assert (plan.sysprep is not None) == sysprepped
    sent = [plan.prepare, plan.generalize, plan.verify_identity, plan.sysprep, *plan.test.checks]
    for command in filter(None, sent):
        stem = command.document.removeprefix(fixed_document(""))
        values = {name: list(values) for name, values in command.parameters.items()}
        assert parameter_problems(load_document(DOCUMENTS / f"{stem}.yaml"), values) == []


def test_sysprep_is_configured_in_one_command_and_started_in_another() -> None:
    plan = planned(windows())

    assert plan.generalize.document == plan.sysprep.document == fixed_document(sysprep.STEP)
    assert "Phase" not in plan.generalize.parameters, "configure is the default"
    assert plan.sysprep.parameters == {**plan.generalize.parameters, "Phase": ("shutdown",)}
    assert plan.sysprep.label != plan.generalize.label


def test_a_document_of_the_other_platform_is_refused() -> None:
    made = windows(customize=[{"name": "d", "document": "AWS-RunShellScript"}])
    names = planning.documents_of("web", made)
    shell = document("AWS-RunShellScript")
    there = {it: document(it) for it in names} | {shell.name: replace(shell, platforms=("Linux",))}

    with pytest.raises(InvalidRecipeError, match="is for Linux, not for Windows; name another"):
        decided(made, there)


def test_a_linux_base_is_refused() -> None:
    made = windows()
    there = {it: document(it) for it in planning.documents_of("web", made)}
    with pytest.raises(InvalidRecipeError, match="base: image .* is no Windows"):
        decide(world(recipe=made, documents=there), force=False)


def test_a_windows_base_is_refused_without_windows() -> None:
    with pytest.raises(InvalidRecipeError, match="base: image .* is Windows, and the recipe"):
        decide(world(base=IMAGE), force=False)


def test_its_instances_have_the_time_to_come_up() -> None:
    assert planned(windows()).launch.windows is True
    assert decide(world(), force=False).launch.windows is False


def test_the_estimate_knows_windows_and_sysprep() -> None:
    linux = decide(world(base=replace(samples.IMAGE, root_size_gib=30)), force=False)
    plain, sysprepped = planned(windows(sysprep=False)), planned(windows())
    assert linux.estimate.minutes < plain.estimate.minutes < sysprepped.estimate.minutes
    prices = [sum(it.usd_per_hour.values()) for it in (linux, plain, sysprepped)]
    assert prices[0] < prices[1] == prices[2]


@pytest.mark.parametrize(
    ("secret", "name"),
    [
        ({"secret": "windows/admin"}, "windows/admin"),
        ({"secret": "windows/admin", "key": "password"}, "windows/admin#password"),
        (
            {"secret": "arn:aws:secretsmanager:eu-west-1:111122223333:secret:a/b+c-AbCdEf"},
            "arn:aws:secretsmanager:eu-west-1:111122223333:secret:a/b+c-AbCdEf",
        ),
    ],
)
def test_a_specified_password_travels_by_the_name_of_its_secret(
    secret: dict[str, str], name: str
) -> None:
    plan = planned(windows(administrator_password=secret))

    for command in (plan.generalize, plan.sysprep):
        assert command.parameters["PasswordKind"] == ("specified",)
        assert command.parameters["Secret"] == (name,)
        document = load_document(DOCUMENTS / "sysprep-windows.yaml")
        values = {key: list(value) for key, value in command.parameters.items()}
        assert parameter_problems(document, values) == []
    assert plan.verify_identity.parameters["PasswordKind"] == ("specified",)
    assert "Secret" not in plan.verify_identity.parameters


def test_a_random_password_is_the_documents_default() -> None:
    plan = planned(windows())

    for command in (plan.generalize, plan.sysprep, plan.verify_identity):
        assert not {"PasswordKind", "Secret"} & command.parameters.keys()
