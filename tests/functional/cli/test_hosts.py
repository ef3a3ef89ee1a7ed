"""`bakery inspect` and `bakery adopt` against instances of the account."""

import json
import re
from pathlib import Path

import pytest

from bakery.recipe import InstanceBase, parse_recipe
from infra.loading import load_yaml
from scripts.bakery_cli.check import find
from scripts.bakery_cli.main import DOCUMENTS
from scripts.local import estate
from scripts.local.iam import OPERATOR
from tests.functional.cli.conftest import Bakery
from tests.functional.conftest import World

pytestmark = pytest.mark.long

CHEF_11, CHEF_12, PLAIN = estate.HOSTS
NOBODY = "i-0123456789abcdef0"
READ_ONLY = re.compile(r"Describe\w+|GetCommandInvocation|SendCommand")


@pytest.fixture(scope="module")
def hosts(deployed: World) -> list[str]:
    return estate.launch(deployed.aws)


@pytest.mark.parametrize(("id_", "past"), [(CHEF_11, "chef-11"), (CHEF_12, "chef-12")])
def test_a_host_of_opsworks_is_shown_with_what_would_be_removed(
    bakery: Bakery, hosts: list[str], id_: str, past: str
) -> None:
    said = bakery("inspect", id_)
    assert (said.code, said.err) == (0, "")
    name = estate.HOSTS[id_][1]
    assert said.lines[0].startswith(f"{id_} ({name}): ")
    assert f"  4. remove OpsWorks ({past}): 2 packages, 1 user, 1 file, 2 folders" in said.out
    assert "  chef          package chef" in said.lines
    assert "  hosts         /etc/hosts (members of the stack)" in said.lines
    (volume,) = [line for line in said.lines if line.startswith("  - Data volume vol-")]
    assert "(/dev/sdf, 20 GiB) is attached" in volume
    assert said.lines[-1] == f"A first recipe: bakery adopt {id_} > recipes/NAME.yaml"


def test_a_plain_host_is_shown_without_any_of_it(bakery: Bakery, hosts: list[str]) -> None:
    said = bakery("inspect", PLAIN)
    assert said.code == 0
    assert "OpsWorks      no trace of it" in said.lines and "It would remove" not in said.out


def test_nothing_is_asked_that_could_change_the_host(
    bakery: Bakery, hosts: list[str], world: World
) -> None:
    world.aws.calls.clear()
    assert bakery("inspect", CHEF_12).code == bakery("adopt", CHEF_12).code == 0
    operations = {it.operation for it in world.aws.calls if it.principal == OPERATOR}
    assert operations and all(READ_ONLY.fullmatch(it) for it in operations)
    for sent in world.calls("SendCommand"):
        assert sent["DocumentName"] == "AmiBakery-inspect-host"
        assert sent["InstanceIds"] == [CHEF_12]


def test_secrets_are_searched_unless_that_is_too_much(
    bakery: Bakery, hosts: list[str], world: World
) -> None:
    world.aws.calls.clear()
    for option in ("--secrets", "--no-secrets"):
        assert bakery("inspect", CHEF_12, option).code == 0
    sent = [it["Parameters"]["Secrets"] for it in world.calls("SendCommand")]
    assert sent == [["search"], ["skip"]]


def test_a_program_gets_all_of_it_and_nothing_else(bakery: Bakery, hosts: list[str]) -> None:
    said = bakery("inspect", CHEF_11, "--json")
    found = json.loads(said.out)
    assert (found["past"], found["instance"]["id"]) == ("chef-11", CHEF_11)
    assert found["host"]["run_lists"]["setup"] == ["invented::setup"]
    assert {"keep": "chef", "kind": "package", "what": "chef", "detail": ""} in found["host"][
        "removals"
    ]
    assert found["choices"] and found["plan"]


@pytest.mark.parametrize("id_", estate.HOSTS)
def test_the_recipe_is_all_that_is_printed_and_is_sound(
    bakery: Bakery, hosts: list[str], id_: str, tmp_path: Path
) -> None:
    said = bakery("adopt", id_)
    assert (said.code, said.err) == (0, "")
    (tmp_path / "mine.yaml").write_text(said.out)
    found = parse_recipe("mine", load_yaml(tmp_path / "mine.yaml"))
    assert found.base == InstanceBase(instance=id_)
    assert find(tmp_path, DOCUMENTS) == []


@pytest.mark.parametrize("command", ["inspect", "adopt"])
def test_an_instance_that_is_none_is_said(bakery: Bakery, command: str) -> None:
    said = bakery(command, NOBODY)
    assert (said.code, said.out) == (2, "")
    assert f"There is no instance {NOBODY} in eu-west-1 of this account." in said.err
    assert "'web-1' is no instance." in bakery(command, "web-1").err


def test_a_host_that_cannot_be_asked_is_said_with_the_way_out(
    bakery: Bakery, hosts: list[str], world: World
) -> None:
    ec2 = world.aws.client("ec2")
    launched = [
        ec2.run_instances(ImageId=image, InstanceType="t3.micro", MinCount=1, MaxCount=1)[
            "Instances"
        ][0]["InstanceId"]
        for image in ("ami-0a120230000000064", "ami-0a120230000000064")
    ]
    world.aws.until(
        lambda: all(state(world, it) == "running" for it in launched), what="the instances"
    )
    said = bakery("inspect", launched[0])
    assert said.code == 1
    assert f"{launched[0]} is not managed by Systems Manager." in said.err
    assert "AmazonSSMManagedInstanceCore" in said.err
    ec2.stop_instances(InstanceIds=[launched[1]])
    world.aws.until(lambda: state(world, launched[1]) == "stopped", what="the stop")
    said = bakery("adopt", launched[1])
    assert (said.code, said.out) == (1, "")
    assert f"{launched[1]} is stopped: only a running host can tell" in said.err
    ec2.terminate_instances(InstanceIds=launched)


@pytest.mark.parametrize("command", ["inspect", "adopt"])
def test_a_host_that_runs_windows_is_refused_with_the_way_out(
    bakery: Bakery, hosts: list[str], world: World, command: str
) -> None:
    with world.aws.ec2.state.lock:
        held = world.aws.ec2.state.region("eu-west-1").instances[PLAIN]
        before, held["PlatformDetails"] = held["PlatformDetails"], "Windows"
    said = bakery(command, PLAIN)
    held["PlatformDetails"] = before
    assert (said.code, said.out) == (1, "")
    assert f"{PLAIN} runs Windows, and only a Linux host can be looked at." in said.err
    assert "Bake Windows from a plain image" in said.err


def state(world: World, instance: str) -> str:
    found = world.aws.client("ec2").describe_instances(InstanceIds=[instance])
    return str(found["Reservations"][0]["Instances"][0]["State"]["Name"])


def test_a_report_that_fails_or_is_cut_is_not_shown(
    bakery: Bakery, hosts: list[str], world: World
) -> None:
    world.aws.agent.script("AmiBakery-inspect-host", exit_code=3, stderr="sh: awk: not found\n")
    said = bakery("inspect", PLAIN)
    assert (said.code, said.out) == (1, "")
    assert f"{PLAIN} did not report: Failed: sh: awk: not found" in said.err
    assert "Run Command history" in said.err
    world.aws.agent.script("AmiBakery-inspect-host", stdout="os-name\tLinux\nmount\t/dev/xv")
    said = bakery("adopt", PLAIN)
    assert (said.code, said.out) == (1, "")
    assert "the last line of the host's report is missing" in said.err


def test_a_stack_of_a_release_before_is_said(
    bakery: Bakery, hosts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scripts.bakery_cli.aws.hosts.DOCUMENT", "inspect-host-of-later")
    said = bakery("inspect", PLAIN)
    assert said.code == 2 and "Deploy this release" in said.err
