"""A running host is the base of a bake whose documents run for real; the host goes on as it was."""

from collections.abc import Iterator

import pytest

from scripts.bakery_cli.synthesis import PROJECT, synthesize
from scripts.local import LocalAws
from scripts.local.estate import CONTEXT, network
from scripts.local.machines import Machine
from scripts.local.sandbox_machines import SandboxMachines
from tests.functional.conftest import World
from tests.functional.hosting import HOST, everything, host

pytestmark = [pytest.mark.os, pytest.mark.timeout(1200)]

OPSWORKS = "ami-0c0de180400000012"
RECIPE = f"""\
description: a clean image of a host that OpsWorks configured
base: {{instance: {HOST}}}
opsworks: chef-12
customize:
  - name: what the host has
    shell: |
      test "$(cat /srv/shop/orders)" = 42
      id shopkeeper
      test -d /etc/aws/opsworks
"""
LIVE = """\
mkdir -p /srv/shop && echo 42 >/srv/shop/orders && useradd --create-home shopkeeper
find /etc /srv /home /opt -xdev | sort | sha256sum; cat /etc/machine-id; pidof systemd init | wc -w
"""
LOOK = LIVE.splitlines()[1]


@pytest.fixture(scope="module")
def account() -> Iterator[tuple[World, SandboxMachines]]:
    recipes = PROJECT / "build/test-os-hosts"
    recipes.mkdir(parents=True, exist_ok=True)
    (recipes / "host.yaml").write_text(RECIPE)
    assembly = synthesize(recipes, lambda _: None, choices=CONTEXT)
    with (
        SandboxMachines(network=False) as machines,
        LocalAws.start(assembly, scale=240.0, region="eu-west-1", machines=machines) as aws,
    ):
        network(aws)
        yield World(aws, aws.deploy()), machines


def test_a_host_with_an_agent_users_and_data_gives_a_clean_image_and_stays_as_it_is(
    account: tuple[World, SandboxMachines],
) -> None:
    world, machines = account
    host(world, image=OPSWORKS)
    with world.aws.ec2.state.lock:
        system = world.aws.ec2.state.region("eu-west-1").hidden(HOST)["system"]
    machine = machines.host(Machine(HOST, OPSWORKS, system))
    before = machine.sh(LIVE)
    assert before.exit_code == 0, before
    seen = everything(world)
    ended = world.bake("host", seconds=900)
    assert ended.status == "SUCCEEDED", ended.cause
    assert everything(world) == seen
    assert machines.host(Machine(HOST, OPSWORKS, system)) is machine
    assert machine.sh(LOOK).stdout == before.stdout
    assert machine.sh("test -d /etc/aws/opsworks && id aws").exit_code == 0
