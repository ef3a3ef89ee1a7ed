"""Two instances of one image share nothing that names them, and the image itself holds nothing."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from scripts.local.sandbox import Sandbox
from tests.os.conftest import Run

pytestmark = [pytest.mark.os, pytest.mark.timeout(900)]

MARKS = {
    "machine-id": "cat /etc/machine-id",
    "host keys": "sha256sum /etc/ssh/ssh_host_*_key | sort",
    "cloud-init instance-id": "cat /var/lib/cloud/data/instance-id",
    "hostname": "hostname",
}


def identity(host: Sandbox) -> Mapping[str, str]:
    """What names an instance; without dbus and systemd nothing makes a machine-id."""
    return {
        name: host.sh(script).stdout.strip()
        for name, script in MARKS.items()
        if name != "machine-id" or host.family.systemd
    }


def make_identity(host: Sandbox) -> None:
    """What a builder gathers besides what its first boot made."""
    made = host.sh(
        """
        set -e
        mkdir -p /root/.ssh /home/debian/.ssh /var/lib/amazon/ssm/Vault/Store /etc/udev/rules.d
        echo ssh-rsa AAAA root >/root/.ssh/authorized_keys
        echo ssh-rsa AAAA debian >/home/debian/.ssh/authorized_keys2
        echo secret >/root/.bash_history; echo secret >/home/debian/.python_history
        echo mi-0123 >/var/lib/amazon/ssm/Vault/Store/RegistrationKey
        echo mi-0123 >/var/lib/amazon/ssm/registration
        mkdir -p /var/lib/amazon/ssm/i-0base/document/state/completed
        echo NAME=eth0 >/etc/udev/rules.d/70-persistent-net.rules
        mkdir -p /var/lib/dhcp /var/lib/NetworkManager /var/log/journal /var/lib/yum /var/lib/monit
        echo lease >/var/lib/dhcp/dhclient.eth0.leases; echo key >/var/lib/NetworkManager/secret_key
        echo uuid >/var/lib/yum/uuid; echo id >/var/lib/monit/id
        echo lease >/var/lib/NetworkManager/internal.lease
        mkdir -p /var/lib/ecs/data /etc/pki/consumer /etc/insights-client /etc/iscsi
        mkdir -p /var/lib/dhcpcd /var/lib/rsyslog /var/lib/ami-bakery/x
        touch /var/lib/ecs/data/agent.db /etc/pki/consumer/cert.pem /var/lib/dhcpcd/duid
        echo key >/etc/pki/consumer/key.pem; echo id >/etc/insights-client/machine-id
        touch /var/lib/rsyslog/imjournal.state
        echo InitiatorName=iqn.1993-08.org.debian:01:abc >/etc/iscsi/initiatorname.iscsi
        ln -sf /nowhere /etc/ssh/ssh_host_link_key
        echo web1 >/etc/hostname; echo web1 >/etc/mailname; hostname web1
        printf '127.0.0.1 localhost\\n127.0.1.1 web1.example.com web1\\n10.0.0.1 db\\n' >/etc/hosts
        mkdir -p /etc/sysconfig; printf 'NETWORKING=yes\\nHOSTNAME=web1\\n' >/etc/sysconfig/network
        mkdir -p /var/lib/dbus; rm -f /var/lib/dbus/machine-id
        echo 0123456789abcdef0123456789abcdef >/var/lib/dbus/machine-id
        echo old >/var/log/app.log; echo old >/var/log/app.log.1; gzip -c /etc/hosts >/var/log/x.gz
        mkdir -p /var/log/mysql; echo data >/var/log/mysql/mysql-bin.000001
        echo x >/tmp/leftover; mkdir -p /var/tmp/leftover/below
        echo root:secret | chpasswd
        mkdir -p /var/lib/systemd/timers
        touch /var/lib/systemd/timers/stamp-apt-daily.timer
        touch /var/lib/systemd/timers/stamp-apt-daily-upgrade.timer
        """
    )
    assert made.exit_code == 0, made.stderr


@pytest.mark.parametrize("family", ["debian", "sysvinit"])
def test_two_instances_of_an_image_are_two(
    family: str, run: Run, boot: Callable[..., Sandbox], tmp_path: Path
) -> None:
    builder = boot(family)
    before = identity(builder)
    assert all(before.values()), before
    make_identity(builder)
    run(builder, "prepare-linux")
    run(builder, "reboot-linux")
    run(builder, "generalize-linux")
    run(builder, "verify-identity")
    builder.stop()
    inspect(builder)

    image = builder.image(tmp_path / "image")
    first, second = (boot(family, layers=[image]) for _ in range(2))
    ones, others = identity(first), identity(second)
    assert all(ones.values()), ones
    for name in before:
        assert len({before[name], ones[name], others[name]}) == 3, name
    assert ones["cloud-init instance-id"] == first.instance_id

    first.reboot()
    assert identity(first) == ones, "an instance stays itself over a restart"
    if family == "debian":
        assert first.sh("systemctl is-active ssh").stdout.strip() == "active"


def inspect(builder: Sandbox) -> None:
    """The image offline: cloud-init renews keys that were left, so instances do not show them."""
    root = builder.root
    assert list((root / "etc/ssh").glob("ssh_host_*")) == []
    assert not (root / "var/lib/cloud").exists()
    if builder.family.systemd:
        assert (root / "etc/machine-id").read_text() == ""
        assert str((root / "var/lib/dbus/machine-id").readlink()) == "/etc/machine-id"
    else:
        assert not (root / "var/lib/dbus/machine-id").exists()
    for path in (
        "root/.ssh/authorized_keys",
        "root/.bash_history",
        "home/debian/.ssh/authorized_keys",
        "home/debian/.ssh/authorized_keys2",
        "home/debian/.python_history",
        "var/lib/amazon/ssm/Vault",
        "var/lib/amazon/ssm/registration",
        "var/lib/amazon/ssm/i-0base",
        "etc/udev/rules.d/70-persistent-net.rules",
        "var/lib/dhcp/dhclient.eth0.leases",
        "var/lib/NetworkManager/secret_key",
        "var/lib/yum/uuid",
        "var/lib/monit/id",
        "var/log/app.log.1",
        "var/log/x.gz",
        "var/log/cloud-init.log",
        "tmp/leftover",
        "var/tmp/leftover",
        "var/lib/systemd/timers/stamp-apt-daily.timer",
        "var/lib/systemd/timers/stamp-apt-daily-upgrade.timer",
        "etc/apt/apt.conf.d/99-ami-bakery-bake",
        "var/lib/ami-bakery",
        "var/lib/ecs/data/agent.db",
        "var/lib/NetworkManager/internal.lease",
        "var/lib/dhcpcd/duid",
        "var/lib/rsyslog/imjournal.state",
        "etc/pki/consumer/cert.pem",
        "etc/pki/consumer/key.pem",
        "etc/insights-client/machine-id",
    ):
        assert not (root / path).exists(), path
    assert (root / "etc/iscsi/initiatorname.iscsi").read_text() == "GenerateName=yes\n"
    assert not (root / "etc/ssh/ssh_host_link_key").is_symlink()
    assert list((root / "var/log/journal").glob("?" * 32)) == []
    assert (root / "var/log/app.log").read_text() == ""
    assert (root / "var/log/mysql/mysql-bin.000001").read_text() == "data\n"
    assert (root / "etc/hostname").read_text() == "localhost\n"
    assert (root / "etc/mailname").read_text() == "localhost\n"
    assert (root / "etc/hosts").read_text() == "127.0.0.1 localhost\n10.0.0.1 db\n"
    network = (root / "etc/sysconfig/network").read_text()
    assert network == "NETWORKING=yes\nHOSTNAME=localhost.localdomain\n"
    shadow = (root / "etc/shadow").read_text()
    assert re.search(r"^root:!", shadow, re.MULTILINE)
    # The agent's own folder survived the command that ran from it.
    assert list(root.glob("var/lib/amazon/ssm/i-*/document/orchestration/*/verify-identity"))
    assert not list(root.glob("var/lib/amazon/ssm/i-*/document/orchestration/*/reboot-linux"))


def test_without_generalize_the_control_shows_what_is_shared(
    boot: Callable[..., Sandbox], tmp_path: Path
) -> None:
    """The counter-test: the comparison does see a machine-id that was kept."""
    builder = boot()
    before = identity(builder)
    builder.stop()
    image = builder.image(tmp_path / "image")

    assert identity(boot(layers=[image]))["machine-id"] == before["machine-id"]


def test_what_a_recipe_keeps_stays(run: Run, boot: Callable[..., Sandbox]) -> None:
    host = boot()
    make_identity(host)
    keep = "authorized-keys,histories,hostname,logs,root-password,tmp"
    run(host, "generalize-linux", Keep=keep)

    for path in (
        "/root/.ssh/authorized_keys",
        "/root/.bash_history",
        "/var/log/app.log.1",
        "/tmp/leftover",
    ):
        assert host.sh(f"test -s {path}").exit_code == 0, path
    assert host.sh("cat /etc/hostname").stdout == "web1\n"
    assert host.sh("getent shadow root").stdout.startswith("root:$")
    run(host, "verify-identity", Keep=keep)
    run(host, "verify-identity", fails=True)


@pytest.mark.parametrize(("choice", "state"), [("keep", "enabled"), ("disable", "disabled")])
def test_automatic_updates_are_the_recipes_choice(
    choice: str, state: str, run: Run, boot: Callable[..., Sandbox], tmp_path: Path
) -> None:
    builder = boot()
    run(builder, "prepare-linux")
    run(builder, "generalize-linux", AptTimers=choice)
    assert builder.sh("systemctl is-active apt-daily.timer").stdout.strip() == "inactive"
    builder.stop()
    instance = boot(layers=[builder.image(tmp_path / "image")])

    for timer in ("apt-daily.timer", "apt-daily-upgrade.timer"):
        assert instance.sh(f"systemctl is-enabled {timer}").stdout.strip() == state
    periodic = instance.sh("apt-config dump APT::Periodic::Enable").stdout
    assert periodic == ('APT::Periodic::Enable "0";\n' if choice == "disable" else "")
    # No catch-up run at the first boot: user data finds dpkg's lock free.
    ran = instance.sh("journalctl -q -u apt-daily.service -u apt-daily-upgrade.service").stdout
    assert "Starting" not in ran
