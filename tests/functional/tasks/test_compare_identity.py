"""CompareIdentity: what two test instances have in common fails the bake by name."""

from pathlib import Path
from typing import Any

import pytest

from tests.functional.conftest import FunctionFailedError, World
from tests.functional.making import Making

COMPARE = 1
"""Where report-identity is among the checks."""


@pytest.fixture
def twins(quiet: World) -> tuple[Making, list[str]]:
    making = Making.begin(quiet, "wide")
    return making, [making.test_booted(0), making.test_booted(1)]


def report(making: Making, instance: str, facts: dict[str, str] | None = None) -> None:
    """Run report-identity on the instance; with ``facts`` it prints those."""
    aws = making.world.aws
    if facts is not None:
        lines = [f"identity\t{name}\t{value}" for name, value in facts.items()]
        aws.agent.script(
            "AmiBakery-report-identity",
            exit_code=0,
            stdout="\n".join([*lines, f"ami-bakery: {making.bake} done", ""]),
        )
    making.world.invoke("run_test", making.stepping(instance, COMPARE))
    aws.until(lambda: ended(making, instance), what="the end of report-identity")
    making.world.invoke("resume_waits", {})


def ended(making: Making, instance: str) -> bool:
    found = making.world.aws.client("ssm").list_command_invocations(InstanceId=instance)
    statuses = [it["Status"] for it in found["CommandInvocations"]]
    return statuses == ["Success"]


def compare(making: Making, at: int | None = COMPARE) -> list[str]:
    """What the two share and may."""
    event = {"bake": making.bake, "recipe": making.plan["recipe"], "compare": at}
    shared: list[str] = making.world.invoke("compare_identity", event)["shared"]
    return shared


FACTS = {
    "machine-id": "0123",
    "ssh-host-key-ed25519": "SHA256:abc",
    "cloud-init-instance-id": "i-1",
    "ssm-registration": "i-1",
    "hostname": "ip-10-0-0-1",
}


def test_two_that_differ_in_everything_pass(twins: tuple[Making, list[str]]) -> None:
    making, instances = twins
    for instance in instances:
        report(making, instance)
    assert compare(making) == []


def test_a_machine_id_that_both_have_fails_the_bake_by_name(
    twins: tuple[Making, list[str]],
) -> None:
    making, (one, other) = twins
    report(making, one, FACTS)
    different = {name: f"{value}-2" for name, value in FACTS.items()}
    report(making, other, {**different, "machine-id": "0123"})
    with pytest.raises(FunctionFailedError) as failed:
        compare(making)
    assert failed.value.name == "IdentitySharedError"
    assert "machine-id: both have 0123" in failed.value.message
    assert one in failed.value.message and other in failed.value.message


def test_where_the_recipe_does_not_ask_nothing_is_read(quiet: World) -> None:
    making = Making.begin(quiet)
    quiet.aws.calls.clear()
    assert compare(making, None) == []
    assert quiet.aws.calls.of("ssm") == []


def test_a_report_that_is_not_shown_yet_is_looked_for_again(
    twins: tuple[Making, list[str]],
) -> None:
    making, _ = twins
    with pytest.raises(FunctionFailedError) as failed:
        compare(making)
    assert failed.value.name == "NotYetVisibleError"


WINDOWS_FACTS = {
    "machine-sid": "S-1-5-21-1-2-3",
    "machine-guid": "8a6f0e0c",
    "computer-name": "EC2AMAZ-1",
    "rdp-certificate": "FF4517C8",
    "ssm-registration": "i-1",
}


@pytest.mark.parametrize("sysprep", [True, False])
def test_two_windows_instances_may_share_what_only_sysprep_renews(
    twins: tuple[Making, list[str]], tmp_path: Path, sysprep: bool
) -> None:
    making, (one, other) = twins
    report(making, one, WINDOWS_FACTS)
    report(making, other, {**WINDOWS_FACTS, "ssm-registration": "i-2"})
    windows: dict[str, Any] = {"sysprep": sysprep}
    recipes = {"wide": {"description": "w", "base": {"ami": "ami-12345678"}, "windows": windows}}
    with making.world.carrying(recipes, "compare_identity", tmp_path):
        if not sysprep:
            assert compare(making) == [
                f"{fact}: both have {WINDOWS_FACTS[fact]}"
                for fact in ("computer-name", "machine-guid", "machine-sid", "rdp-certificate")
            ]
            return
        with pytest.raises(FunctionFailedError) as failed:
            compare(making)
    assert failed.value.name == "IdentitySharedError"
    for fact in ("machine-sid", "machine-guid", "computer-name", "rdp-certificate"):
        assert f"{fact}: both have {WINDOWS_FACTS[fact]}" in failed.value.message
