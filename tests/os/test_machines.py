"""The hosts behind `bakery --local --sandbox`: a bake's documents, in a bake's order."""

import pytest

from scripts.local.machines import Machine
from scripts.local.sandbox_machines import SandboxMachines, family_of, knows_env_var, past_of
from tests.os.conftest import Run

pytestmark = [pytest.mark.os, pytest.mark.timeout(900)]

UBUNTU = {"name": "Ubuntu", "version": "18.04", "agent": "3.1.2144.0", "opsworks": "chef-12"}
AMAZON = {
    "name": "Amazon Linux AMI",
    "version": "2018.03",
    "agent": "3.2.1705.0",
    "opsworks": "chef-11",
}


@pytest.mark.parametrize(("system", "lock"), [(UBUNTU, ""), (AMAZON, "2018.03")])
def test_a_bake_of_each_system_goes_through(system: dict[str, str], lock: str, run: Run) -> None:
    """Of those with a past; test_bake.py bakes one without."""
    past = system.get("opsworks", "auto")
    with SandboxMachines(network=False) as machines:
        machine = Machine("i-0123456789abcdef0", "ami-1", system)
        host = machines.host(machine)
        assert machines.host(machine) is host

        run(host, "prepare-linux", LockRelease=lock)
        run(host, "reboot-linux")
        run(host, "remove-opsworks-identity", Opsworks=past)
        run(host, "generalize-linux")
        run(host, "verify-identity", Opsworks=past, LockRelease=lock)

        machines.gone(machine.instance_id)
        assert not host.folder.exists()
        machines.gone(machine.instance_id)


def test_systems_are_told_apart() -> None:
    assert family_of(AMAZON) == "sysvinit"
    assert family_of({"name": "Amazon Linux", "version": "2"}) == "debian"
    assert family_of({"name": "Ubuntu", "version": "14.04"}) == "sysvinit"
    assert not knows_env_var(UBUNTU)
    assert knows_env_var({"agent": "3.3.3050.0"})
    for system, name in ((UBUNTU, "ubuntu-16.04-chef-12"), (AMAZON, "amazon-linux-chef-11")):
        past = past_of(system)
        assert past
        assert past.name == name
    assert past_of({"name": "Ubuntu"}) is None
