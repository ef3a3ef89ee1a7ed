"""install-application unpacks what the recipe named, where it named it, and nothing else."""

import hashlib
import json
import stat
import tarfile
from collections.abc import Mapping
from typing import Any

import pytest

from scripts.local.runner import StepOutcome, run_document
from scripts.local.sandbox import Sandbox
from tests.os.archives import tar, zipped

pytestmark = [pytest.mark.os, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def host() -> Any:
    """One host for all; each test uses a directory of its own."""
    with Sandbox.boot(cloud_init=False) as host:
        yield host


def install(
    host: Sandbox, documents: Mapping[str, Any], data: bytes, directory: str, *, sha256: str = ""
) -> list[StepOutcome]:
    """Send the document with an archive that a bucket would have."""
    values = {
        "Bake": "bake-1",
        "SourceType": "S3",
        "SourceInfo": json.dumps({"path": "https://s3.eu-west-1.amazonaws.com/b/app"}),
        "Sha256": sha256 or hashlib.sha256(data).hexdigest(),
        "Directory": directory,
    }
    sent = {name: [value] for name, value in values.items()}
    document = documents["install-application"]
    return run_document(document, sent, host, fetch=lambda kind, info: data)


@pytest.mark.parametrize("kind", ["", "gz"])
def test_a_tar_is_unpacked(kind: str, host: Sandbox, documents: Mapping[str, Any]) -> None:
    directory = f"/srv/tar-{kind or 'plain'}"
    data = tar(
        ("./bin", None, {"type": tarfile.DIRTYPE}),
        ("./bin/run", b"#!/bin/sh\n", {}),
        ("./bin/suid", b"x", {"mode": 0o4755}),
        ("./current", None, {"type": tarfile.SYMTYPE, "linkname": "bin"}),
        kind=kind,
    )
    for _ in range(2):
        outcomes = install(host, documents, data, directory)
        assert outcomes[-1].stdout.endswith("ami-bakery: bake-1 done\n"), outcomes

    listed = host.sh(f"cd {directory} && stat -c '%n %U %a' . bin bin/* && readlink current")
    assert listed.stdout.splitlines() == [
        ". root 755",
        "bin root 755",
        "bin/run root 755",
        "bin/suid root 755",
        "bin",
    ]


@pytest.mark.parametrize("unzip", [True, False])
def test_a_zip_is_unpacked(unzip: bool, host: Sandbox, documents: Mapping[str, Any]) -> None:
    directory = f"/srv/zip-{unzip}"
    if not unzip:
        host.sh("mv /usr/bin/unzip /usr/bin/unzip.away")
    outcomes = install(host, documents, zipped("a", "sub/b"), directory)
    host.sh("! test -e /usr/bin/unzip.away || mv /usr/bin/unzip.away /usr/bin/unzip")

    assert outcomes[-1].status == "Success", outcomes
    assert host.sh(f"cat {directory}/a {directory}/sub/b").stdout == "x\nx\n"


BAD = {
    "absolute": tar(("/srv/evil", b"x", {})),
    "climbing": tar(("sub/../../evil", b"x", {})),
    "dots": tar(("..", None, {"type": tarfile.DIRTYPE})),
    "absolute link": tar(("l", None, {"type": tarfile.SYMTYPE, "linkname": "/etc"})),
    "climbing link": tar(("a/l", None, {"type": tarfile.SYMTYPE, "linkname": "../../etc"})),
    "file through a link": tar(
        ("l", None, {"type": tarfile.SYMTYPE, "linkname": "/srv"}), ("l/evil", b"x", {})
    ),
    "hard link out": tar(("l", None, {"type": tarfile.LNKTYPE, "linkname": "/etc/shadow"})),
    "device": tar(("d", None, {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3})),
    "pipe": tar(("p", None, {"type": tarfile.FIFOTYPE})),
    "zip climbing": zipped("../evil"),
    "zip absolute": zipped("/srv/evil"),
    "neither": b"hello",
    "empty": b"",
}


@pytest.mark.parametrize("name", BAD)
def test_what_leaves_its_directory_is_refused(
    name: str, host: Sandbox, documents: Mapping[str, Any]
) -> None:
    directory = f"/srv/bad-{name.replace(' ', '-')}"
    outcomes = install(host, documents, BAD[name], directory)

    assert outcomes[-1].status == "Failed"
    assert outcomes[-1].stderr
    assert host.sh(f"ls -d {directory} /srv/evil /evil").stdout == ""


def test_another_hash_unpacks_nothing(host: Sandbox, documents: Mapping[str, Any]) -> None:
    outcomes = install(host, documents, tar(("a", b"x", {})), "/srv/hash", sha256="0" * 64)

    assert outcomes[-1].status == "Failed"
    assert "the recipe says 000" in outcomes[-1].stderr
    assert host.sh("ls -d /srv/hash").stdout == ""


@pytest.mark.parametrize(
    "directory", ["/etc", "/usr", "/srv/../etc", "/proc/x", "/tmp/app", "/srv/."]
)
def test_a_directory_of_the_system_is_refused(
    directory: str, host: Sandbox, documents: Mapping[str, Any]
) -> None:
    outcomes = install(host, documents, tar(("a", b"x", {})), directory)

    assert outcomes[-1].status == "Failed"
    assert directory in outcomes[-1].stderr


def test_the_hosts_own_files_beside_it_stay(host: Sandbox, documents: Mapping[str, Any]) -> None:
    host.sh("mkdir -p /srv/beside; echo mine >/srv/beside/mine; chmod 600 /srv/beside/mine")
    install(host, documents, tar(("theirs", b"x", {"mode": stat.S_IRUSR})), "/srv/beside")

    assert host.sh("cd /srv/beside && stat -c '%n %a' *").stdout == "mine 600\ntheirs 400\n"
