"""A host that OpsWorks ran becomes one that never knew it, and its applications do not notice."""

import contextlib
import time
from collections.abc import Callable, Iterator

import pytest

from scripts.local import opsworks_past
from scripts.local.opsworks_past import PASTS, Past
from scripts.local.sandbox import Sandbox
from tests.os import applications
from tests.os.conftest import Run
from tests.os.trees import differences, fingerprint, touched

pytestmark = [pytest.mark.os, pytest.mark.timeout(900)]

STEPS = ("prepare-linux", "remove-opsworks-identity", "generalize-linux", "verify-identity")

SECOND_RUNS = {
    "": ("remove-opsworks-identity",),
    # It does the same on every host of a family.
    "ubuntu-16.04-chef-12": ("remove-opsworks-identity", "generalize-linux"),
    "amazon-linux-chef-11": ("remove-opsworks-identity", "generalize-linux"),
}
"""What is run a second time on which host."""

ALLOWED = (
    # A user of OpsWorks with work in it: kept on purpose, and reported.
    "home/dave(/.*)?",
    # Times and sizes of what ran; nothing of OpsWorks in it is asserted by its own test.
    "var/log/(?!aws).*",
    "var/lib/amazon/.*",
    "var/lib/rpm(/.*)?",
    "var/lib/dpkg/(status|status-old)",
    "var/lib/systemd/(random-seed|timesync.*|catalog/.*)",
    "var/lib/logrotate/.*",
    "var/lib/urandom/.*",
    "var/cache/ldconfig/aux-cache",
    "etc/ld\\.so\\.cache",
    "(root/\\.monit\\.state|var/lib/monit/state)",
    "etc/sudoers\\.d/90-cloud-init-users",
    # Orders of services that mean the same.
    "etc/init\\.d/\\.depend\\..*",
    # Written by OpsWorks as a whole: what is in them now is asserted by its own test.
    "etc/hosts",
    "etc/motd",
    "etc/sudoers",
    # Configuration that the applications inherit from OpsWorks.
    "etc/monit/monitrc",
    "etc/auto\\.master",
    "etc/fstab",
    "etc/ld\\.so\\.conf\\.d",
    # Folders of Red Hat's layout, which the past brought to Debian.
    "etc/rc\\.d(/rc3\\.d)?",
    # Backups of useradd and of cron.
    "var/backups/passwd\\.bak",
    "etc/(passwd|group|shadow|gshadow|subuid|subgid)-",
)


@contextlib.contextmanager
def baked(run: Run, family: str, past: Past | None, *, twice: bool = False) -> Iterator[Sandbox]:
    """A host with the applications, and the past, after the documents and a shut-down."""
    with Sandbox.boot(family, start=False, cloud_init=False) as host:
        applications.install(host.root, systemd=host.family.systemd)
        if past:
            opsworks_past.apply(past, host.root)
        (host.root / "etc/hostname").chmod(0o644)
        host.start()
        if past:
            await_agent(host)
            # Somebody is logged in: userdel refuses until the session ends.
            host.sh("setsid su carol -c 'exec sleep 100000' >/dev/null 2>&1 </dev/null &")
        for stem in STEPS:
            run(host, stem)
            if past and stem == "remove-opsworks-identity":
                # It would start the agent again whenever it looks before its file is gone.
                assert host.sh("ps ax -o args= | grep '[b]in/monit'").stdout == ""
            if past and twice and stem in SECOND_RUNS.get(past.name, SECOND_RUNS[""]):
                changes_nothing(run, host, stem, past)
        assert applications.serves(host)
        assert host.sh("ps ax -o args= | grep '^opsworks-agent'").stdout == ""
        host.stop()
        yield host


def await_agent(host: Sandbox) -> None:
    """Monit starts the agent, a second one if it looks before the first has written its id."""
    deadline = time.monotonic() + 60
    while int(host.sh("ps ax -o args= | grep -c '^opsworks-agent: '").stdout) < 4:
        if time.monotonic() > deadline:
            raise TimeoutError("the past's agent never ran: nothing can be said of the documents")
        time.sleep(0.3)


@pytest.fixture(scope="module")
def never_knew(run: Run) -> Iterator[Callable[[str], Sandbox]]:
    """Hosts with the same applications and no past, one per family."""
    with contextlib.ExitStack() as stack:
        hosts: dict[str, Sandbox] = {}

        def host(family: str) -> Sandbox:
            if family not in hosts:
                hosts[family] = stack.enter_context(baked(run, family, None))
            return hosts[family]

        yield host


@pytest.mark.parametrize("name", PASTS)
def test_nothing_is_left_and_nothing_else_is_lost(
    name: str, run: Run, never_knew: Callable[[str], Sandbox]
) -> None:
    """Nor does a second run change anything, of what is known or found out of the past."""
    past = PASTS[name]
    clean = never_knew(past.family)
    with baked(run, past.family, past, twice=True) as host:
        if report := "\n".join(residues(past, host, clean)):
            pytest.fail(report, pytrace=False)


def residues(past: Past, host: Sandbox, clean: Sandbox) -> Iterator[str]:
    """What is left of the past, and what is lost of the applications, in a shut-down host."""
    yield from differences(
        host.root, host.folder / "upper", clean.root, clean.folder / "upper", ALLOWED
    )
    yield from (f"lost: {path}" for path in applications.lost(host.root))
    yield from sorted(mentions(host))
    yield from remembered(host)
    hosts = (host.root / "etc/hosts").read_text()
    if "127.0.0.1 localhost" not in hosts or "ip6-localhost" not in hosts:
        yield f"/etc/hosts lost its own names: {hosts}"
    if {"10.1.2.3", "54.1.2.3", "127.0.1.1"} & set(hosts.split()):
        yield f"/etc/hosts knows the stack: {hosts}"
    if (host.root / "etc/motd").read_text():
        yield "/etc/motd is not empty"
    if "swapfile" in (host.root / "etc/fstab").read_text():
        yield "/etc/fstab has the swap file"
    for name in (".ssh/authorized_keys", ".ssh/id_rsa", ".ssh/id_dsa", ".bash_history"):
        if (host.root / "home/dave" / name).exists():
            yield f"home/dave/{name} is left"
    if past.chef == 11:
        sudoers = (host.root / "etc/sudoers").read_text()
        if "carol" in sudoers or "debian ALL=(ALL) NOPASSWD:ALL" not in sudoers:
            yield f"/etc/sudoers: {sudoers}"


def remembered(host: Sandbox) -> Iterator[str]:
    """Users and groups that only the backups of their databases still know."""
    for name in ("passwd", "shadow", "group", "gshadow", "subuid", "subgid"):
        now, before = (
            {line.partition(":")[0] for line in (host.root / file).read_text().splitlines()}
            for file in (f"etc/{name}", f"etc/{name}-")
        )
        if gone := before - now:
            yield f"etc/{name}-: still has {sorted(gone)}"


def mentions(host: Sandbox) -> set[str]:
    """Files outside of logs and package databases whose text still says OpsWorks or Chef keys."""
    skipped = ("var/log/", "var/lib/amazon/", "var/lib/dpkg/status-old", "var/lib/rpm", "srv/www/")
    words = (b"opsworks", b"web1", b"db-master1", b"PRIVATE KEY", b"carol")
    found = set()
    upper = host.folder / "upper"
    for path in touched(upper):
        file = upper / path
        if path.startswith(skipped) or file.is_symlink() or not file.is_file():
            continue
        text = file.read_bytes()
        found |= {f"{path}: {word!r}" for word in words if word.lower() in text.lower()}
    return found


def changes_nothing(run: Run, host: Sandbox, stem: str, past: Past) -> None:
    """A second run succeeds, finds nothing to remove and leaves every file as it is."""
    known = {"Opsworks": f"chef-{past.chef}"} if stem == "remove-opsworks-identity" else {}
    before = files(host)
    [again] = run(host, stem, **known)
    assert "removed" not in again.stdout
    assert files(host) == before


def files(host: Sandbox) -> dict[str, tuple[object, ...]]:
    """Everything that the host has changed on its disk, but for what changes by itself."""
    ignored = ("run/.*", "tmp/.*", "var/log/.*", "var/lib/amazon(/.*)?", "var/lib/rpm/.*")
    return fingerprint(host.root, host.folder / "upper", ignored)


def test_a_run_that_was_cut_short_is_finished(run: Run, boot: Callable[..., Sandbox]) -> None:
    """Without a trace of the agent, its Chef is still known to be OpsWorks's."""
    host = boot(start=False)
    opsworks_past.apply(PASTS["ubuntu-16.04-chef-12"], host.root)
    host.start()
    host.sh("mkdir -p /var/lib/ami-bakery; echo chef-12 >/var/lib/ami-bakery/opsworks")
    host.sh("systemctl stop monit opsworks-agent; dpkg -P opsworks-agent-ruby")
    host.sh("rm -rf /etc/aws /opt/aws /var/lib/aws /var/log/aws /etc/init.d/opsworks-agent")

    run(host, "remove-opsworks-identity")
    assert host.sh("ls -d /opt/chef /var/chef /etc/chef").stdout == ""
    run(host, "generalize-linux")
    run(host, "verify-identity", Opsworks="chef-12")


def test_what_a_recipe_keeps_is_kept_and_said(run: Run, boot: Callable[..., Sandbox]) -> None:
    host = boot(start=False)
    opsworks_past.apply(PASTS["ubuntu-16.04-chef-12"], host.root)
    host.start()
    keep = "app-secrets,chef,hosts,users"

    [outcome] = run(host, "remove-opsworks-identity", Keep=keep)
    for name in keep.split(","):
        assert f"kept {name}" in outcome.stdout
    assert host.sh("id carol && dpkg -s chef && ls /etc/nginx/ssl/*.key").exit_code == 0
    assert host.sh("grep -q db-master1 /etc/hosts").exit_code == 0
    assert host.sh("ls /var/chef").exit_code != 0


def test_what_could_break_the_host_is_left_and_said(run: Run, boot: Callable[..., Sandbox]) -> None:
    """The layers wrote the host's name into configurations of services that stay."""
    host = boot(start=False)
    opsworks_past.apply(PASTS["rhel-7-chef-12"], host.root)
    opsworks_past.place(host.root, "etc/ganglia/gmond.conf", 'override_hostname = "web1"\n')
    opsworks_past.place(host.root, "etc/nginx/other", "server_name web12;\n")
    opsworks_past.place(host.root, "etc/yum.conf", "[main]\nkeepcache=1\n")
    opsworks_past.place(host.root, "etc/security/limits.d/x.conf", "# OpsWorks\n")
    host.start()
    host.sh("hostname web1")

    [outcome] = run(host, "remove-opsworks-identity")
    kept = {line for line in outcome.stdout.splitlines() if line.startswith("kept /etc")}
    assert kept == {
        "kept /etc/ganglia/gmond.conf: has the name of this host, web1",
        "kept /etc/yum.conf: keepcache=1, which OpsWorks set and others may want",
        "kept /etc/security/limits.d/x.conf: mentions OpsWorks, is not known to be its own",
    }


def test_agents_are_stopped_before_their_state_goes(run: Run, boot: Callable[..., Sandbox]) -> None:
    """They would write it again as they end."""
    host = boot("sysvinit", start=False)
    opsworks_past.apply(PASTS["amazon-linux-chef-11"], host.root)
    for name in ("awslogs", "ecs"):
        script = f'#!/bin/sh\n[ "$1" != stop ] || ls -d /var/awslogs/state /etc/ecs >/srv/{name}\n'
        opsworks_past.place(host.root, f"etc/init.d/{name}", script, 0o755)
    host.start()

    run(host, "remove-opsworks-identity")
    assert host.sh("cat /srv/awslogs").stdout == "/etc/ecs\n/var/awslogs/state\n"
    assert host.sh("cat /srv/ecs").stdout == "/etc/ecs\n"


def test_chef_of_somebody_else_is_left_alone(run: Run, boot: Callable[..., Sandbox]) -> None:
    host = boot()
    host.sh("mkdir -p /etc/chef /opt/chef/bin /var/chef/cookbooks; : >/opt/chef/bin/chef-client")
    before = files(host)

    [outcome] = run(host, "remove-opsworks-identity")
    assert "no trace of OpsWorks" in outcome.stdout
    assert files(host) == before


def test_a_link_in_place_of_a_folder_is_not_followed(
    run: Run, boot: Callable[..., Sandbox]
) -> None:
    host = boot()
    host.sh("mkdir -p /etc/aws/opsworks /opt/aws /srv/volume; : >/srv/volume/keep")
    host.sh("ln -s /srv/volume /opt/aws/opsworks")

    run(host, "remove-opsworks-identity", Opsworks="chef-11")
    assert host.sh("test -e /srv/volume/keep && ! test -L /opt/aws/opsworks").exit_code == 0


def test_libraries_of_applications_are_found_as_before(
    run: Run, boot: Callable[..., Sandbox]
) -> None:
    """OpsWorks's linker setting goes by its name only, where no other file says the same."""
    host = boot(start=False)
    (host.root / "etc/ld.so.conf.d/libc.conf").unlink()
    opsworks_past.apply(PASTS["rhel-7-chef-12"], host.root)
    host.start()
    run(host, "remove-opsworks-identity")

    listed = host.sh("cd /etc/ld.so.conf.d && grep -lx /usr/local/lib *").stdout
    assert listed == "usr-local-lib.conf\n"


def test_an_old_agent_gets_the_same_result(run: Run, boot: Callable[..., Sandbox]) -> None:
    """Before 3.3.2746.0 parameters are pasted into the scripts."""
    host = boot(start=False, new_agent=False)
    opsworks_past.apply(PASTS["ubuntu-16.04-chef-12"], host.root)
    host.start()

    for stem in STEPS:
        run(host, stem)
