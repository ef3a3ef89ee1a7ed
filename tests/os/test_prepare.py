"""A builder is ready when prepare-linux says so."""

import re
from collections.abc import Callable

import pytest

from scripts.local.sandbox import Sandbox
from tests.os.conftest import Run

pytestmark = [pytest.mark.os, pytest.mark.timeout(900)]

PROGRAM = "printf '#!/bin/sh\\nexit 0\\n' >/tmp/p && chmod +x /tmp/p && /tmp/p"
VENDOR = "[Mount]\nWhat=tmpfs\nWhere=/tmp\nType=tmpfs\nOptions=mode=1777,nosuid,noexec\n"
FSTAB = (
    "# comment noexec\n"
    "tmpfs\t/tmp   tmpfs  noexec,mode=1777,nosuid 0 0\n"
    "none /data tmpfs noexec,noauto 0 0\n"
)


def set_up(kind: str) -> str:
    """A shell script that makes /tmp noexec, by each of the ways that are in use."""
    own = "/etc/systemd/system/tmp.mount"
    ways = {
        "fstab": f"printf '{FSTAB}' >/etc/fstab",
        "fstab, nothing else": "echo 'tmpfs /tmp tmpfs noexec 0 0' >/etc/fstab",
        "own unit": f"printf '{VENDOR}' >{own}; systemctl enable tmp.mount",
        "vendor's unit": f"printf '{VENDOR}' >/usr/lib/systemd/system/tmp.mount; "
        "mkdir -p /etc/systemd/system/local-fs.target.wants; "
        "ln -s /usr/lib/systemd/system/tmp.mount /etc/systemd/system/local-fs.target.wants/",
        "drop-in": f"printf '{VENDOR}' | sed s/,noexec// >{own}; systemctl enable tmp.mount; "
        f"mkdir -p {own}.d; printf '[Mount]\\nOptions = noexec,mode=1777\\n' >{own}.d/cis.conf",
    }
    return ways[kind] + "; systemctl daemon-reload"


@pytest.mark.parametrize(
    "kind", ["fstab", "fstab, nothing else", "own unit", "vendor's unit", "drop-in"]
)
def test_noexec_is_lifted_now_and_for_good(
    kind: str, run: Run, boot: Callable[..., Sandbox]
) -> None:
    host = boot()
    host.sh(set_up(kind))
    host.reboot()
    assert host.sh(PROGRAM).exit_code == 126, "the restart must have made /tmp noexec"

    [outcome] = run(host, "prepare-linux")
    assert "/tmp: a program ran from it" in outcome.stdout
    assert host.sh(PROGRAM).exit_code == 0
    host.reboot()
    assert host.sh(PROGRAM).exit_code == 0, "instances of the image must have it too"
    assert "nosuid" in host.sh("grep ' /tmp ' /proc/mounts").stdout or kind in (
        "fstab, nothing else",
        "drop-in",
    )
    if kind == "fstab":
        wanted = FSTAB.replace("noexec,mode", "mode")
        assert host.sh("cat /etc/fstab").stdout == wanted

    listing = "find /etc/fstab /etc/systemd -type f -exec sha256sum {} +"
    before = host.sh(listing).stdout
    [again] = run(host, "prepare-linux")
    assert "removed noexec" not in again.stdout
    assert host.sh(listing).stdout == before


@pytest.mark.parametrize(("choice", "after"), [("bake", 126), ("keep", 126)])
def test_noexec_can_come_back_with_the_image(
    choice: str, after: int, run: Run, boot: Callable[..., Sandbox]
) -> None:
    host = boot()
    host.sh(set_up("fstab"))
    host.reboot()
    run(host, "prepare-linux", TmpExec=choice)

    assert host.sh(PROGRAM).exit_code == (0 if choice == "bake" else 126)
    host.reboot()
    assert host.sh(PROGRAM).exit_code == after


def test_it_does_not_wait_for_a_cloud_init_that_never_comes(
    run: Run, boot: Callable[..., Sandbox]
) -> None:
    host = boot(cloud_init=True)
    host.sh("cloud-init clean; rm -rf /run/cloud-init")
    [outcome] = run(host, "prepare-linux", WaitSeconds="5")

    assert "ended after 0 seconds" in outcome.stdout


UNTIL_WAITED_FOR = "until pgrep -fx 'sleep 2' >/dev/null; do sleep 0.2; done"
"""Ends when prepare-linux waits: no test depends on how fast this machine is."""


@pytest.mark.failure(25)
def test_it_waits_for_cloud_init(run: Run, boot: Callable[..., Sandbox]) -> None:
    host = boot(start=False, cloud_init=True)
    config = host.root / "etc/cloud/cloud.cfg.d/98-slow.cfg"
    config.write_text(f"runcmd: [{UNTIL_WAITED_FOR!r}, [touch, /srv/user-data-ran]]\n")
    host.start(wait=False)
    [outcome] = run(host, "prepare-linux")

    assert "ended after 0 seconds" not in outcome.stdout
    assert host.sh("ls /srv/user-data-ran").exit_code == 0


def hold(host: Sandbox, until: str) -> None:
    """Hold dpkg's lock while a script runs; returns when it is held."""
    host.write("/run/until", until.encode(), 0o644)
    script = (
        "import fcntl, subprocess; f = open('/var/lib/dpkg/lock-frontend', 'w');"
        "fcntl.lockf(f, fcntl.LOCK_EX); open('/run/held', 'w');"
        "subprocess.run(['sh', '/run/until'])"
    )
    host.sh(f'rm -f /run/held; python3 -c "{script}" >/dev/null 2>&1 &')
    held = host.sh("until test -e /run/held; do sleep 0.1; done")
    assert held.exit_code == 0


@pytest.mark.failure(25)
def test_it_waits_for_a_package_managers_lock(run: Run, boot: Callable[..., Sandbox]) -> None:
    host = boot()
    hold(host, UNTIL_WAITED_FOR)
    [outcome] = run(host, "prepare-linux")
    waited = re.search(r"package managers: free after (\d+) seconds", outcome.stdout)
    assert waited
    assert int(waited[1]) >= 2

    hold(host, "sleep 600")
    [outcome] = run(host, "prepare-linux", WaitSeconds="3", fails=True)
    assert "still holds its lock after 3 seconds" in outcome.stderr
    assert "python3" in outcome.stderr


def test_it_waits_for_yum(run: Run, boot: Callable[..., Sandbox]) -> None:
    host = boot("sysvinit")
    host.write("/run/until", UNTIL_WAITED_FOR.encode(), 0o644)
    host.sh("sh /run/until >/dev/null 2>&1 & echo $! >/var/run/yum.pid")
    [outcome] = run(host, "prepare-linux")

    assert "free after 0 seconds" not in outcome.stdout


def test_no_update_starts_during_the_bake(run: Run, boot: Callable[..., Sandbox]) -> None:
    host = boot()
    run(host, "prepare-linux")
    active = "systemctl is-active apt-daily.timer apt-daily-upgrade.timer"
    assert host.sh(active).stdout.split() == ["inactive"] * 2
    run(host, "reboot-linux")
    assert host.sh(active).stdout.split() == ["inactive"] * 2
    assert host.sh("apt-config dump APT::Periodic::Enable").stdout == 'APT::Periodic::Enable "0";\n'


AMAZON = {
    "1": 'ID="amzn"\nVERSION_ID="2018.03"\n',
    "2": 'ID="amzn"\nVERSION_ID="2"\n',
    "2023": 'ID="amzn"\nVERSION_ID="2023"\n',
}
YUM_CONF = "[main]\ncachedir=/var/cache/yum\n# releasever=old\nreleasever=latest\n\n[other]\nx=1\n"


def amazon(host: Sandbox, version: str) -> None:
    host.sh(f"rm /etc/os-release; printf '{AMAZON[version]}' >/etc/os-release")
    host.sh(f"printf '{YUM_CONF}' >/etc/yum.conf")


def test_amazon_linux_is_locked_in_yum_and_for_its_instances(
    run: Run, boot: Callable[..., Sandbox]
) -> None:
    host = boot("sysvinit")
    amazon(host, "1")
    for _ in range(2):
        run(host, "prepare-linux", LockRelease="2018.03")
        assert host.sh("cat /etc/yum.conf").stdout == (
            "[main]\nreleasever=2018.03\ncachedir=/var/cache/yum\n\n[other]\nx=1\n"
        )
    cloud = host.sh("cat /etc/cloud/cloud.cfg.d/99-ami-bakery-release.cfg").stdout
    assert cloud == "repo_releasever: 2018.03\n"

    run(host, "generalize-linux")
    run(host, "verify-identity", LockRelease="2018.03")
    host.sh("sed -i s/2018.03/latest/ /etc/yum.conf")
    [outcome] = run(host, "verify-identity", LockRelease="2018.03", fails=True)
    assert "release-lock" in outcome.stderr


def test_amazon_linux_2023_is_locked_by_its_variable(
    run: Run, boot: Callable[..., Sandbox]
) -> None:
    host = boot()
    amazon(host, "2023")
    run(host, "prepare-linux", LockRelease="2023.6.20250115")

    assert host.sh("cat /etc/dnf/vars/releasever").stdout == "2023.6.20250115\n"
    run(host, "generalize-linux")
    run(host, "verify-identity", LockRelease="2023.6.20250115")
    host.sh("echo latest >/etc/dnf/vars/releasever")
    run(host, "verify-identity", LockRelease="2023.6.20250115", fails=True)


@pytest.mark.parametrize(
    ("version", "release", "words"),
    [
        ("2", "2.0", "cannot be locked"),
        ("1", "2023.6.20250115", "look like 2018.03"),
        ("2023", "2018.03", "look like 2023.6.20250115"),
        ("", "2018.03", "works on Amazon Linux"),
    ],
)
def test_a_lock_that_can_not_be_is_refused_at_once(
    version: str, release: str, words: str, run: Run, boot: Callable[..., Sandbox]
) -> None:
    host = boot()
    if version:
        amazon(host, version)
    before = host.sh("sha256sum /etc/yum.conf; ls /etc/apt/apt.conf.d").stdout
    lock = "2018.03" if version == "2" else release

    [outcome] = run(host, "prepare-linux", LockRelease=lock, fails=True)
    assert words in outcome.stderr
    assert host.sh("sha256sum /etc/yum.conf; ls /etc/apt/apt.conf.d").stdout == before
