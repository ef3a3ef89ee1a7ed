"""Two instances of one image share nothing that names them, and the image itself holds nothing."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from bakery.identity import REQUIRED, UNUSED, Report, compare, read_report
from scripts.local.sandbox import Sandbox
from tests.os.conftest import Run

pytestmark = [pytest.mark.os, pytest.mark.timeout(900)]

HOST_KEYS = {"ssh-host-key-ecdsa", "ssh-host-key-ed25519"}


def report(run: Run, host: Sandbox) -> Report:
    """What the product's own document says that the host is."""
    [outcome] = run(host, "report-identity")
    assert len(outcome.stdout) < 1000
    return read_report(host.instance_id, outcome.stdout, sentinel="ami-bakery: bake-1 done")


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
    builder = boot(family, cloud_init=True)
    before = report(run, builder)
    make_identity(builder)
    run(builder, "prepare-linux")
    run(builder, "reboot-linux")
    run(builder, "generalize-linux")
    run(builder, "verify-identity")
    builder.stop()
    inspect(builder)

    image = builder.image(tmp_path / "image")
    first, second = (boot(family, layers=[image], cloud_init=True) for _ in range(2))
    ones, others = report(run, first), report(run, second)
    for one, other in ((ones, others), (before, ones), (before, others)):
        comparison = compare(one, other)
        assert comparison.differ, comparison.cause
    assert ones.facts.keys() >= {*REQUIRED, *HOST_KEYS}
    assert ones.facts["cloud-init-instance-id"] == first.instance_id
    assert ones.facts["ssm-registration"] == first.instance_id
    # Without systemd and dbus nothing makes a machine-id.
    assert (ones.facts["machine-id"] == UNUSED) == (family == "sysvinit")

    first.reboot()
    assert report(run, first) == ones, "an instance stays itself over a restart"
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


def test_what_instances_of_an_image_that_was_not_generalized_share_is_named(
    run: Run, boot: Callable[..., Sandbox], tmp_path: Path
) -> None:
    """The counter-test: the comparison sees what was kept, and all of it."""
    builder = boot(cloud_init=True)
    before = report(run, builder)
    builder.sh(
        'mkdir -p /var/lib/amazon/ssm; echo \'{"ManagedInstanceID":"mi-0123456789abcdef0"}\' '
        ">/var/lib/amazon/ssm/registration"
    )
    builder.stop()
    image = builder.image(tmp_path / "image")

    # cloud-init makes a new host key, name and state where it runs, and nothing else.
    first, second = (report(run, boot(layers=[image], cloud_init=True)) for _ in range(2))
    comparison = compare(first, second)
    assert {it.fact for it in comparison.shared} == {"machine-id", "ssm-registration"}
    assert f"machine-id: both have {before.facts['machine-id']}" in comparison.cause
    assert "ssm-registration: both have mi-0123456789abcdef0" in comparison.cause

    # Where it does not run, they share everything.
    first, second = (report(run, boot(layers=[image])) for _ in range(2))
    comparison = compare(first, second)
    assert {it.fact for it in comparison.shared} == first.facts.keys()
    assert first.facts.keys() >= {*REQUIRED, *HOST_KEYS}
    assert comparison.missing == ()


def test_a_host_without_anything_is_reported_as_lacking_it(
    run: Run, boot: Callable[..., Sandbox]
) -> None:
    host = boot()
    host.sh("rm -rf /var/lib/cloud /etc/ssh/ssh_host_*; : >/etc/machine-id; umount /etc/machine-id")
    host.sh("rm -f /etc/machine-id; mv /usr/bin/cloud-init /usr/bin/ssh-keygen /root")
    lacking = report(run, host)
    assert {name for name, value in lacking.facts.items() if not value} == {
        "machine-id",
        "cloud-init-instance-id",
    }
    missing = {it.fact for it in compare(lacking, lacking).missing}
    assert missing == {"machine-id", "cloud-init-instance-id", "ssh-host-key"}

    host.sh("echo ssh-rsa AAAA >/etc/ssh/ssh_host_rsa_key.pub; : >/etc/ssh/ssh_host_rsa_key")
    assert len(report(run, host).facts["ssh-host-key-rsa"]) == 64


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
