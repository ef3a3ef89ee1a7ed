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


def test_an_instance_of_an_image_has_the_disk_of_the_instance_that_was_imaged() -> None:
    debian = {"name": "Debian", "version": "12"}
    with SandboxMachines(network=False) as machines:
        builder = machines.host(Machine("i-00000000000000001", "ami-0", debian))
        assert builder.sh("echo baked >/srv/file; rm /etc/motd").exit_code == 0
        machines.stopped(builder.instance_id)
        test = machines.host(Machine("i-00000000000000002", "ami-1", debian, builder.instance_id))
        assert test.sh("cat /srv/file; ls /etc/motd").stdout == "baked\n"
        assert test.sh("echo tested >/srv/file").exit_code == 0

        # The builder is gone by then, and what a test instance writes is its own.
        machines.gone(builder.instance_id)
        child = machines.host(Machine("i-00000000000000003", "ami-1", debian, builder.instance_id))
        assert child.sh("cat /srv/file").stdout == "baked\n"
        assert child.sh("echo more >/srv/more").exit_code == 0
        machines.stopped(child.instance_id)
        machines.gone(child.instance_id)
        grandchild = machines.host(
            Machine("i-00000000000000004", "ami-2", debian, child.instance_id)
        )
        assert grandchild.sh("cat /srv/file /srv/more").stdout == "baked\nmore\n"


def test_a_stopped_instance_that_is_started_again_goes_on_with_its_disk() -> None:
    debian = {"name": "Debian", "version": "12"}
    with SandboxMachines(network=False) as machines:
        machine = Machine("i-00000000000000001", "ami-0", debian)
        host = machines.host(machine)
        boot = "cat /proc/sys/kernel/random/boot_id"
        first = host.sh(f"echo one >/srv/file; {boot}").stdout
        assert first
        machines.stopped(machine.instance_id)
        assert machines.host(machine) is host
        assert host.sh("cat /srv/file").stdout == "one\n"
        assert host.sh(boot).stdout != first


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
