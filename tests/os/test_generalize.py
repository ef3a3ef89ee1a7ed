"""Two instances of one image share nothing that names them, and the image itself holds nothing."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bakery.identity import HOST_KEY, REQUIRED, UNUSED, Report, compare, read_report
from scripts.local.sandbox import Sandbox
from tests.os.conftest import Run

pytestmark = [pytest.mark.os, pytest.mark.timeout(900)]

EVERY_FACT = {*REQUIRED, f"{HOST_KEY}-ecdsa", f"{HOST_KEY}-ed25519"} - {HOST_KEY}


def report(run: Run, host: Sandbox) -> Report:
    """What the product's own document says that the host is."""
    [outcome] = run(host, "report-identity")
    assert len(outcome.stdout) < 1000
    return read_report(host.instance_id, outcome.stdout, sentinel="ami-bakery: bake-1 done")


REMOVED = (
    *("root/.ssh/authorized_keys", "home/debian/.ssh/authorized_keys2"),
    *(
        f"root/.{name}"
        for name in (
            *("bash_history", "sh_history", "ash_history", "zsh_history", "history", "lesshst"),
            *("mysql_history", "psql_history", "sqlite_history", "node_repl_history", "viminfo"),
            *("irb_history", "rediscli_history", "wget-hsts", "monit.id"),
        )
    ),
    "home/debian/.python_history",
    *("etc/ssh/ssh_host_old_key", "etc/ssh/ssh_host_old_key.pub"),
    "etc/ssh/ssh_host_old_key-cert.pub",
    *("var/lib/amazon/ssm/Vault/Store/RegistrationKey", "var/lib/amazon/ssm/registration"),
    *("var/lib/amazon/ssm/i-0base/document/state/completed/x", "var/lib/amazon/ssm/mi-0base/x"),
    *("var/lib/ecs/data/agent.db", "var/lib/ecs/data/ecs_agent_data.json"),
    *("etc/pki/consumer/key.pem", "etc/pki/consumer/cert.pem"),
    *("etc/insights-client/machine-id", "etc/insights-client/.registered"),
    *("var/lib/yum/uuid", "var/lib/dnf/uuid", "var/lib/NetworkManager/secret_key"),
    *("var/lib/monit/id", "var/.monit.id"),
    *("var/lib/random-seed", "var/lib/systemd/credential.secret"),
    *("var/lib/dhcp/a.lease", "var/lib/dhcp/dhclient.eth0.leases"),
    *("var/lib/dhclient/a.lease", "var/lib/dhclient/a.leases"),
    *("var/lib/NetworkManager/internal.lease", "var/lib/dhcpcd/eth0.lease"),
    *("var/lib/dhcpcd/eth0.lease6", "var/lib/dhcpcd/duid", "etc/dhcpcd.duid"),
    "etc/udev/rules.d/70-persistent-net.rules",
    *("var/lib/systemd/timers/stamp-apt-daily.timer",),
    "var/lib/systemd/timers/stamp-apt-daily-upgrade.timer",
    *("tmp/leftover", "tmp/.hidden", "var/tmp/leftover/below"),
    *(
        f"var/log/{name}"
        for name in (
            *("x.gz", "x.xz", "x.bz2", "x.old", "app.log.10x", "messages.2", "app.log-1x"),
            *("maillog-20260131", "cloud-init.log", "cloud-init-output.log"),
        )
    ),
    "var/log/journal/0123456789abcdef0123456789abcdef/system.journal",
    *("var/lib/rsyslog/imjournal.state", "var/lib/ami-bakery/x/y"),
    *("var/crash/_bin_sh.0.crash", "var/lib/systemd/coredump/core.sh.0.zst"),
    "var/cache/apt/archives/x.deb",
)
"""What a builder may hold of itself; all of it goes."""

EMPTIED = tuple(
    f"var/log/quiet/{name}"
    for name in (
        *("app.log", "app.err", "access_log", "messages", "syslog", "secure", "maillog"),
        *("mail.info", "mail.warn", "cron", "debug", "dmesg", "spooler", "boot", "tallylog"),
        *("sysstat/sa01", "sysstat/sar01", "faillog", "wtmp", "btmp", "lastlog"),
    )
)
"""Logs stay, without a word in them: what writes them may expect them."""

KEPT = ("var/log/mysql/mysql-bin.000001", "var/log/app/state.json", "root/.profile.local")


def make_identity(host: Sandbox) -> None:
    """What a builder gathers besides what its first boot made."""
    planted = "\n".join(f"/{path}" for path in (*REMOVED, *EMPTIED, *KEPT))
    host.write("/run/planted", planted.encode() + b"\n", 0o600)
    made = host.sh(
        """
        set -e
        id debian >/dev/null 2>&1 || useradd --create-home debian
        while IFS= read -r file; do
            mkdir -p "${file%/*}"; echo secret >"$file"
        done </run/planted
        ln -sf /nowhere /etc/ssh/ssh_host_link_key
        echo InitiatorName=iqn.1993-08.org.debian:01:abc | install -D /dev/stdin \\
          /etc/iscsi/initiatorname.iscsi
        echo web1 >/etc/hostname; echo web1 >/etc/mailname; hostname web1
        printf '127.0.0.1 localhost\\n127.0.1.1 web1.example.com web1\\n10.0.0.1 db\\n' >/etc/hosts
        mkdir -p /etc/sysconfig; printf 'NETWORKING=yes\\nHOSTNAME=web1\\n' >/etc/sysconfig/network
        mkdir -p /var/lib/dbus; rm -f /var/lib/dbus/machine-id
        echo 0123456789abcdef0123456789abcdef >/var/lib/dbus/machine-id
        echo root:secret | chpasswd
        session=/var/lib/amazon/ssm/$1/session/orchestration/s-1
        mkdir -p "$session"; echo secret >"$session/screen"
        # Only cloud-init itself knows its hooks, only dnf and yum their caches.
        echo secret >/srv/of-a-hook; echo secret >/srv/of-a-package-manager
        manager=dnf
        if [ ! -d /run/systemd/system ]; then
            manager=yum
            echo 0123456789abcdef0123456789abcdef >/etc/machine-id
        fi
        printf '#!/bin/sh\\nrm -f /srv/of-a-package-manager\\n' >/usr/local/bin/$manager
        printf '#!/bin/sh\\nrm -f /srv/of-a-hook\\n' >/etc/cloud/clean.d/99-hook
        chmod 755 /usr/local/bin/$manager /etc/cloud/clean.d/99-hook
        """.replace("$1", host.instance_id)
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
    write_journal(builder)
    builder.stop()
    inspect(builder)

    image = builder.image(tmp_path / "image")
    first, second = (boot(family, layers=[image], cloud_init=True) for _ in range(2))
    for instance in (first, second):
        run(instance, "test-image")
    ones, others = report(run, first), report(run, second)
    for one, other in ((ones, others), (before, ones), (before, others)):
        comparison = compare(one, other)
        assert comparison.differ, comparison.cause
    assert ones.facts.keys() >= EVERY_FACT
    assert ones.facts["cloud-init-instance-id"] == first.instance_id
    assert ones.facts["ssm-registration"] == first.instance_id
    # Without systemd and dbus nothing makes a machine-id.
    assert (ones.facts["machine-id"] == UNUSED) == (family == "sysvinit")

    first.reboot()
    assert report(run, first) == ones, "an instance stays itself over a restart"
    if family == "debian":
        assert first.sh("systemctl is-active ssh").stdout.strip() == "active"


def test_an_image_that_comes_up_wrong_fails_its_test_by_name(
    run: Run, boot: Callable[..., Sandbox]
) -> None:
    host = boot(cloud_init=True)
    run(host, "test-image")
    host.sh(
        'sed -i \'s/"errors": \\[\\]/"errors": ["no data source"]/\' /run/cloud-init/result.json'
    )
    host.sh("rm -f /etc/ssh/ssh_host_*")
    [outcome] = run(host, "test-image", fails=True)
    assert "test failed: cloud-init: " in outcome.stderr and "no data source" in outcome.stderr
    assert "test failed: ssh-host-keys: there is no SSH host key" in outcome.stderr
    assert "check\troot-file-system\tpass" in outcome.stdout


def write_journal(host: Sandbox) -> None:
    """Log for longer than journald takes to see that its file is gone, and to make another."""
    host.sh("for second in 1 2 3 4 5 6 7; do logger still here; sleep 1; done; journalctl --sync")


def inspect(builder: Sandbox) -> None:
    """The image offline: cloud-init renews keys that were left, so instances do not show them."""
    assert list(left(builder)) == []
    root = builder.root
    for path in KEPT:
        assert (root / path).read_text() == "secret\n", path
    # The agent's own folder survived the command that ran from it.
    assert list(root.glob("var/lib/amazon/ssm/i-*/document/orchestration/*/verify-identity"))


def left(builder: Sandbox) -> Iterator[str]:
    """What an image still holds of its builder, each with its path."""
    root = builder.root
    yield from (f"{path} is left" for path in REMOVED if (root / path).exists())
    yield from (f"{path} has text" for path in EMPTIED if (root / path).read_text())
    for pattern in (
        *("etc/ssh/ssh_host_*", "var/lib/cloud", "var/log/journal/" + "?" * 32, "tmp/*"),
        *("etc/apt/apt.conf.d/99-ami-bakery-bake", "var/lib/amazon/ssm/Vault"),
        *("var/lib/amazon/ssm/i-0base", "var/lib/amazon/ssm/mi-0base", "var/lib/ami-bakery"),
        *("home/debian/.ssh/authorized_keys", "etc/*.ami-bakery", "etc/sysconfig/*.ami-bakery"),
        *("srv/of-a-hook", "srv/of-a-package-manager"),
        "var/lib/amazon/ssm/i-*/session/orchestration/*",
        "var/lib/amazon/ssm/i-*/document/orchestration/*/reboot-linux",
        "var/lib/amazon/ssm/i-*/document/orchestration/*/prepare-linux",
    ):
        for found in root.glob(pattern):
            if not found.name.startswith(("systemd-private-", ".X", ".ICE", ".font")):
                yield f"{found.relative_to(root)} is left"
    for path, wanted in (
        ("etc/iscsi/initiatorname.iscsi", "GenerateName=yes\n"),
        ("etc/hostname", "localhost\n"),
        ("etc/mailname", "localhost\n"),
        ("etc/hosts", "127.0.0.1 localhost\n10.0.0.1 db\n"),
        ("etc/sysconfig/network", "NETWORKING=yes\nHOSTNAME=localhost.localdomain\n"),
    ):
        if (text := (root / path).read_text()) != wanted:
            yield f"{path} has {text!r}"
    yield from machine_ids(builder)
    if not re.search(r"^root:!", (root / "etc/shadow").read_text(), re.MULTILINE):
        yield "etc/shadow has a password for root"


def timers(host: Sandbox, *, enabled: bool) -> Iterator[str]:
    """What is wrong with apt's timers in a host that is generalized and still runs."""
    wanted = "enabled" if enabled else "disabled"
    for timer in ("apt-daily.timer", "apt-daily-upgrade.timer"):
        if host.sh(f"systemctl is-active {timer}").stdout != "inactive\n":
            yield f"{timer} is active"
        if host.sh(f"systemctl is-enabled {timer}").stdout != f"{wanted}\n":
            yield f"{timer} is not {wanted}"
    if (host.root / "etc/apt/apt.conf.d/99-no-automatic-updates").exists() == enabled:
        yield "/etc/apt/apt.conf.d/99-no-automatic-updates is wrong"


def machine_ids(builder: Sandbox) -> Iterator[str]:
    """Empty for systemd, which fills it, and absent without it."""
    own, of_dbus = builder.root / "etc/machine-id", builder.root / "var/lib/dbus/machine-id"
    if not builder.family.systemd:
        yield from (f"{path} is left" for path in (own, of_dbus) if path.exists())
    elif own.read_text() or not of_dbus.is_symlink():
        yield "etc/machine-id or var/lib/dbus/machine-id is left"


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
    assert first.facts.keys() >= EVERY_FACT
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


def test_a_cloud_init_from_before_its_clean_command_runs_again_too(
    run: Run, boot: Callable[..., Sandbox]
) -> None:
    host = boot("sysvinit")
    make_identity(host)
    before_clean(host)
    run(host, "generalize-linux")
    host.stop()

    assert list(left(host)) == []


def before_clean(host: Sandbox) -> None:
    """Make cloud-init as old as on Amazon Linux 1, which runs no hooks either."""
    host.sh("printf '#!/bin/sh\\nexit 2\\n' >/usr/bin/cloud-init; rm /srv/of-a-hook")


def test_what_a_recipe_keeps_stays(run: Run, boot: Callable[..., Sandbox]) -> None:
    host = boot()
    make_identity(host)
    keep = "authorized-keys,histories,hostname,logs,root-password,tmp"
    run(host, "generalize-linux", Keep=keep)

    for path in (
        "/root/.ssh/authorized_keys",
        "/root/.bash_history",
        "/var/log/messages.2",
        "/var/log/quiet/app.log",
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
    # As after a restart that a step of the recipe asked for.
    builder.sh("systemctl start apt-daily.timer apt-daily-upgrade.timer")
    run(builder, "generalize-linux", AptTimers=choice)
    assert list(timers(builder, enabled=choice == "keep")) == []
    builder.stop()
    instance = boot(layers=[builder.image(tmp_path / "image")])

    for timer in ("apt-daily.timer", "apt-daily-upgrade.timer"):
        assert instance.sh(f"systemctl is-enabled {timer}").stdout.strip() == state
    periodic = instance.sh("apt-config dump APT::Periodic::Enable").stdout
    assert periodic == ('APT::Periodic::Enable "0";\n' if choice == "disable" else "")
    # No catch-up run at the first boot: user data finds dpkg's lock free.
    ran = instance.sh("journalctl -q -u apt-daily.service -u apt-daily-upgrade.service").stdout
    assert "Starting" not in ran
