"""report-packages lists what dpkg and rpm really have, changes nothing, and shows what changed."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from bakery.inventory import Report, difference, read_report
from scripts.local.runner import run_document
from scripts.local.sandbox import Sandbox
from tests.os.trees import fingerprint

pytestmark = [pytest.mark.os, pytest.mark.timeout(900)]

List = Callable[[Sandbox], Report]
DEB = """
set -e
mkdir -p /tmp/tree/DEBIAN /tmp/tree/etc/default
printf 'Package: %s\\nVersion: %s\\nArchitecture: all\\nSource: house (%s)\\nOrigin: House\\n' \
    "$1" "$2" "$2" >/tmp/tree/DEBIAN/control
printf 'Maintainer: x <x@example.com>\\nDescription: x\\n' >>/tmp/tree/DEBIAN/control
echo "/etc/default/$1" >/tmp/tree/DEBIAN/conffiles
echo x >"/tmp/tree/etc/default/$1"
dpkg-deb --root-owner-group -Zgzip -b /tmp/tree /tmp/package.deb
dpkg -i /tmp/package.deb
rm -rf /tmp/tree /tmp/package.deb
"""
RPM = """
set -e
cat >/tmp/package.spec <<E
Name: $1
Version: $2
Release: 1
Epoch: 1
Summary: x
License: none
Vendor: House of Tabs
BuildArch: noarch
%description
x
%files
E
rpmbuild -bb --quiet --nodeps --define '_topdir /tmp/top' --define '_rpmdir /tmp/out' \
    /tmp/package.spec
rpm "$3" --nodeps --nosignature /tmp/out/*/*.rpm
rm -rf /tmp/package.spec /tmp/top /tmp/out
"""


@pytest.fixture(scope="session")
def listed(documents: Mapping[str, Any]) -> List:
    """What the document says of a host; all of it, as the log has it."""

    def listed(host: Sandbox) -> Report:
        [outcome] = run_document(documents["report-packages"], {"Bake": ["bake-1"]}, host)
        assert outcome.status == "Success", outcome
        assert outcome.stderr == ""
        return read_report(outcome.printed[0], sentinel="ami-bakery: bake-1 done")

    return listed


def sh(host: Sandbox, script: str, *arguments: str) -> None:
    words = " ".join(f"'{argument}'" for argument in arguments)
    ran = host.sh(f"sh -s -- {words} <<'SCRIPT'\n{script}\nSCRIPT", timeout=300)
    assert ran.exit_code == 0, ran


def lines(host: Sandbox, command: str) -> set[str]:
    return set(host.sh(command).stdout.splitlines())


def test_what_dpkg_has_is_listed_and_what_changes_is_told(
    boot: Callable[..., Sandbox], listed: List
) -> None:
    host = boot()
    before = listed(host)
    # dpkg's own view, by another of its commands.
    view = 'dpkg -l | awk \'$1 == "ii" { sub(/:.*/, "", $2); print $2, $3 }\''
    assert {f"{it.name} {it.version}" for it in before.packages} == lines(host, view)
    assert before.system.id == "debian" and before.system.name.startswith("Debian GNU/Linux")
    assert before.system.kernel == host.sh("uname -r").stdout.strip()
    openssh = next(it for it in before.packages if it.name == "openssh-server")
    assert openssh.source == "openssh"

    sh(host, DEB, "house-tools", "1.0-1")
    sh(host, DEB, "house-more", "1.0-1")
    middle = listed(host)
    assert [str(it) for it in difference(before.packages, middle.packages)] == [
        "house-more 1.0-1 added",
        "house-tools 1.0-1 added",
    ]
    tools = next(it for it in middle.packages if it.name == "house-tools")
    assert (tools.source, tools.vendor, tools.architecture) == ("house", "House", "all")

    sh(host, DEB, "house-tools", "1.0-2")
    # Its configuration stays, so dpkg still knows it.
    sh(host, "dpkg -r house-more")
    assert "rc" in host.sh("dpkg -l house-more").stdout
    after = listed(host)
    assert [str(it) for it in difference(middle.packages, after.packages)] == [
        "house-tools 1.0-1 to 1.0-2",
        "house-more 1.0-1 removed",
    ]


@pytest.mark.parametrize("family", ["debian", "sysvinit"])
def test_what_rpm_has_is_listed_and_what_changes_is_told(
    boot: Callable[..., Sandbox], listed: List, family: str
) -> None:
    host = boot(family)
    none = listed(host)
    assert {it.kind for it in none.packages} == {"deb"}
    # Asking rpm would have made a database.
    assert host.sh("ls /var/lib/rpm").stdout == ""

    sh(host, RPM, "house-tools", "1.0", "-i")
    before = listed(host)
    (found,) = (it for it in before.packages if it.kind == "rpm")
    assert (found.name, found.version, found.architecture) == ("house-tools", "1:1.0-1", "noarch")
    assert (found.source, found.vendor) == ("house-tools", "House of Tabs")

    sh(host, RPM, "house-tools", "1.1", "-U")
    after = listed(host)
    (change,) = difference(before.packages, after.packages)
    assert str(change) == "house-tools 1:1.0-1 to 1:1.1-1" and not change.downgraded
    # Kernels are installed beside each other.
    sh(host, RPM, "house-tools", "1.2", "-i")
    (change,) = difference(after.packages, listed(host).packages)
    assert str(change) == "house-tools 1:1.1-1 to 1:1.1-1, 1:1.2-1"


def test_it_changes_nothing(boot: Callable[..., Sandbox], listed: List) -> None:
    host = boot()
    sh(host, RPM, "house-tools", "1.0", "-i")
    ignored = (
        *("run/.*", "tmp/?.*", "var/log/.*", "var/lib/amazon(/.*)?", "var/lib/systemd/.*"),
        "var/lib/rpm/rpmdb.sqlite-shm",  # the locks of who reads the database
    )
    upper = host.folder / "upper"
    before = fingerprint(host.root, upper, ignored)
    assert "var/lib/rpm/rpmdb.sqlite" in before
    listed(host)
    assert fingerprint(host.root, upper, ignored) == before


def test_a_package_manager_that_fails_is_told_and_fails_no_test(
    boot: Callable[..., Sandbox], documents: Mapping[str, Any]
) -> None:
    host = boot()
    status = Path(host.root / "var/lib/dpkg/status")
    status.write_text(re.sub("^Version: ", "Vers ion: ", status.read_text(), flags=re.MULTILINE))
    [outcome] = run_document(documents["report-packages"], {"Bake": ["bake-1"]}, host)
    assert outcome.status == "Success"
    assert "problem\tthe package manager could not list what is installed" in outcome.stdout
    assert "dpkg-query: error" in outcome.stderr
    assert outcome.stdout.endswith("ami-bakery: bake-1 done\n")
