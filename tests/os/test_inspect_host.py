"""inspect-host on real hosts: what it tells is what happens then, and it changes nothing."""

import contextlib
import copy
import functools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from bakery.recipe import InstanceBase, parse_recipe
from infra.loading import load_yaml
from scripts.bakery_cli import check
from scripts.bakery_cli.adopt import recipe
from scripts.bakery_cli.host import SENTINEL, HostReport, read
from scripts.bakery_cli.screen import console
from scripts.local import opsworks_past
from scripts.local.opsworks_past import PASSWORD, PASTS, place
from scripts.local.runner import run_document
from scripts.local.sandbox import Sandbox
from tests.os import applications
from tests.os.conftest import FOLDER, Run
from tests.os.test_opsworks_past import await_agent
from tests.os.trees import fingerprint
from tests.unit.cli.hosts import instance

pytestmark = [pytest.mark.os, pytest.mark.timeout(900)]

Documents = Mapping[str, Any]
PLAIN = "al2023"
KINDS = ("amazon-linux-chef-11", "ubuntu-16.04-chef-12", PLAIN)
SECRET = "srv/www/shop/current/.env"
INSTANCE = instance()


@contextlib.contextmanager
def standing(kind: str) -> Iterator[Sandbox]:
    """A host of a kind with applications, as it runs."""
    past = PASTS.get(kind)
    with Sandbox.boot(past.family if past else "debian", start=False, cloud_init=False) as host:
        applications.install(host.root, systemd=host.family.systemd)
        place(host.root, SECRET, "API_TOKEN=abc\n", 0o600)
        place(host.root, "etc/ganglia/gmond.conf", 'override_hostname = "web1"\n')
        with (host.root / "etc/fstab").open("a") as fstab:
            fstab.write("/dev/xvdb /mnt auto defaults,nofail,comment=cloudconfig 0 2\n")
        if past:
            opsworks_past.apply(past, host.root)
        else:
            place(host.root, "etc/os-release", 'ID="amzn"\nVERSION_ID="2023"\nPRETTY_NAME="AL"\n')
            place(host.root, "etc/dnf/vars/releasever", "2023.6.20250115\n")
        host.start()
        host.sh("hostname web1")
        if past:
            await_agent(host)
        yield host


def look(documents: Documents, host: Sandbox, *, shell: str = "sh", **parameters: str) -> str:
    """What the document says of a host; all of it fits into what Systems Manager shows."""
    document = copy.deepcopy(documents["inspect-host"])
    inputs = document["mainSteps"][0]["inputs"]
    inputs["runCommand"][0] = inputs["runCommand"][0].replace("#!/bin/sh", f"#!/bin/{shell}", 1)
    sent = {"Bake": ["inspect"], **{name: [value] for name, value in parameters.items()}}
    [outcome] = run_document(document, sent, host)
    assert (outcome.status, outcome.stderr) == ("Success", "")
    assert outcome.stdout.endswith(f"{SENTINEL}\n") and len(outcome.stdout) < 24_000
    return outcome.stdout


def on_disk(host: Sandbox) -> dict[str, tuple[object, ...]]:
    """Everything that is on the disk, but for what services and the agent write by themselves."""
    ignored = ("run/.*", "var/log/.*", "var/lib/amazon(/.*)?", "var/lib/rpm/(__db.*|.*-shm)")
    # monit's and its services' state, and the timers of systemd.
    living = ("var/lib/monit/.*", "root/.monit.*", "var/.monit.*", "var/lib/systemd/.*")
    return fingerprint(host.root, host.folder / "upper", (*ignored, *living))


@dataclass(frozen=True)
class Visit:
    """What was told, and what was on the disk before and afterwards."""

    said: str
    said_by_bash: str
    before: dict[str, tuple[object, ...]]
    after: dict[str, tuple[object, ...]]


@pytest.fixture(scope="module")
def visit(documents: Documents) -> Callable[[str], Visit]:
    """One of each kind is enough: they are only looked at."""

    @functools.cache
    def visit(kind: str) -> Visit:
        with standing(kind) as host:
            before = on_disk(host)
            said, by_bash = look(documents, host), look(documents, host, shell="bash")
            return Visit(said, by_bash, before, on_disk(host))

    return visit


@pytest.mark.parametrize("kind", KINDS)
def test_it_changes_nothing_and_shows_no_secret(kind: str, visit: Callable[[str], Visit]) -> None:
    """With each of the shells that /bin/sh is."""
    seen = visit(kind)
    assert seen.after == seen.before and f"{SECRET}" in seen.before
    for secret in (PASSWORD, "PRIVATE KEY", "AKIA", "wJalr", "API_TOKEN"):
        assert secret not in seen.said
    # But for the free space.
    lines, by_bash = (
        [line for line in text.split("\n") if not line.startswith("mount\t")]
        for text in (seen.said, seen.said_by_bash)
    )
    assert by_bash == lines


@pytest.mark.parametrize("kind", [*KINDS, "centos-7-chef-12"])
def test_what_it_tells_of_removals_is_what_happens(
    kind: str, documents: Documents, run: Run
) -> None:
    with standing(kind) as host:
        told = read(look(documents, host))
        before = {it.what: content(host, it.what) for it in told.removals if it.kind == "lines"}
        [outcome] = run(host, "remove-opsworks-identity")
        for what in gone(outcome.stdout):
            assert any(it.what == what or it.takes(what) for it in told.removals), what
        for it in told.removals:
            assert not is_there(host, it.kind, it.what) or it.kind == "lines", it
        assert {path for path, text in before.items() if content(host, path) == text} == set()
        kept = re.findall(r"^kept (.+?): ", outcome.stdout, re.M)
        assert {it.what for it in told.stays} == set(kept)
        run(host, "generalize-linux")
        [verified] = run(host, "verify-identity", fails=True)
        left = re.findall(r"^check\tsecret\tfail\t(.+)$", verified.stdout, re.M)
        assert set(told.secrets) == set(left) == {f"/{SECRET}"}


def gone(report: str) -> Iterator[str]:
    """What remove-opsworks-identity says that it has removed or edited."""
    for what in re.findall(r"^(?:removed|emptied|edited) (.+)$", report, re.M):
        yield re.sub(r"^(package|user|group) ", "", what.partition(": ")[0])


def is_there(host: Sandbox, kind: str, what: str) -> bool:
    ask = {
        "package": f"dpkg -s {what} 2>/dev/null | grep -q '^Status: .* installed' || rpm -q {what}",
        "user": f"getent passwd {what}",
        "group": f"getent group {what}",
    }
    return host.sh(ask.get(kind, f"test -e {what} || test -L {what}")).exit_code == 0


def content(host: Sandbox, path: str) -> str:
    return (host.root / path.lstrip("/")).read_text()


@pytest.mark.parametrize("kind", KINDS)
def test_the_recipe_for_it_is_sound_as_it_is_and_with_its_examples(
    kind: str, visit: Callable[[str], Visit], tmp_path: Path
) -> None:
    text = recipe(read(visit(kind).said), INSTANCE, today=date(2026, 1, 31))
    plain = adopted(text, tmp_path)
    assert plain.base == InstanceBase(instance=INSTANCE.id)
    without = re.sub(r"^(base: .*|opsworks: chef-.*)\n", "", text, flags=re.M)
    switched = re.sub(r"^#\|", "", without, flags=re.M)
    assert len(adopted(switched, tmp_path).customize) == (0 if kind == PLAIN else 3)
    assert PASSWORD not in text


def adopted(text: str, folder: Path) -> Any:
    """The recipe, which `bakery check` finds sound."""
    file = folder / "web.yaml"
    file.write_text(text)
    assert check.check(console(), ["web"], recipes=folder, documents=FOLDER) == 0
    return parse_recipe("web", load_yaml(file))


def test_chef_11_on_amazon_linux_is_known(visit: Callable[[str], Visit]) -> None:
    told = read(visit("amazon-linux-chef-11").said)
    assert (told.past, told.facts["agent"], told.facts["init"]) == ("chef-11", "runs", "sysvinit")
    assert told.layers == {"php-app": "PHP App Server"}
    assert told.run_lists == {"deploy": ("shop::release",), "setup": ("shop::packages",)}
    assert "apache2" in told.built_in["setup"] and "deploy::php" in told.built_in["deploy"]
    assert told.cookbooks and told.cookbooks.address == "https://git.example.com/cookbooks.git"
    (shop,) = told.applications
    assert (shop.source, shop.directory, shop.there) == ("s3", "/srv/www/shop", True)
    common(told)


def test_chef_12_on_ubuntu_is_known(visit: Callable[[str], Visit]) -> None:
    told = read(visit("ubuntu-16.04-chef-12").said)
    assert (told.past, told.facts["agent"], told.facts["init"]) == ("chef-12", "runs", "systemd")
    assert told.layers == {"web": "Web servers"}
    assert told.run_lists["setup"] == ("shop::packages", "shop::web")
    assert told.facts["attributes"] == "shop"
    assert told.cookbooks and told.cookbooks.source == "s3"
    (shop,) = told.applications
    assert (shop.address, shop.revision) == ("git@git.example.com:shop/shop.git", "main")
    assert told.services["shop"] == "enabled,runs"
    common(told)


def test_a_plain_host_has_no_past(visit: Callable[[str], Visit]) -> None:
    told = read(visit(PLAIN).said)
    assert (told.past, told.chef, told.removals, told.stays) == ("none", "none", (), ())
    assert told.facts["release-lock"] == "2023.6.20250115"
    assert told.applications == ()
    assert told.secrets == (f"/{SECRET}",)


def test_chef_of_somebody_else_is_told_as_such(
    boot: Callable[..., Sandbox], documents: Documents
) -> None:
    host = boot()
    host.sh("mkdir -p /etc/chef /opt/chef/bin")
    told = read(look(documents, host, Secrets="skip"))
    assert (told.past, told.chef, told.removals) == ("none", "other", ())


def test_a_host_without_python_or_with_broken_files_still_tells_the_rest(
    boot: Callable[..., Sandbox], documents: Documents
) -> None:
    host = boot(start=False)
    opsworks_past.apply(PASTS["ubuntu-16.04-chef-12"], host.root)
    for file in (host.root / "var/chef/runs").glob("*/*.json"):
        file.write_text("{")
    host.start()
    broken = read(look(documents, host, Secrets="skip"))
    assert (broken.past, broken.run_lists["setup"], broken.problems) == ("chef-12", (), ())
    host.sh("rm -f /usr/bin/python3*")
    without = read(look(documents, host, Secrets="skip"))
    assert without.removals == broken.removals and not without.layers
    assert "no Python" in without.problems[0]


def common(told: HostReport) -> None:
    """What both hosts of OpsWorks have."""
    assert told.facts["stack"] == "Shop"
    assert {it.name for it in told.users if it.opsworks} == {"aws", "carol", "dave"}
    assert "deploy" in {it.name for it in told.users if not it.opsworks}
    assert {"/etc/cron.d/shop", "/var/spool/cron/crontabs/deploy"} == set(told.crons)
    assert "/" in {it.point for it in told.mounts}
    assert ("/mnt", "missing") in {(it.point, it.resolved) for it in told.fstab}
    assert told.secrets == (f"/{SECRET}",)
    assert told.more == {} and told.problems == ()
