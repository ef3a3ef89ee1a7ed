"""What the Lambda functions are made of is told and looked up: ``make sbom``, ``make audit``."""

import hashlib
import json
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.utils import canonicalize_name, parse_wheel_filename

from infra.asset import BUILD, PROJECT, dependencies_folder


def make(target: str, *variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "--no-print-directory", target, *variables],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def bill(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("sbom") / "bill.json"
    done = make("sbom", f"SBOM={path}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(path)
    return path.read_text()


def components(bill: str) -> dict[str, dict[str, Any]]:
    return {part["name"]: part for part in json.loads(bill)["components"]}


def hashes(component: dict[str, Any]) -> set[str]:
    return {
        digest["content"]
        for reference in component["externalReferences"]
        for digest in reference["hashes"]
    }


def test_the_bill_is_valid_and_names_what_is_in_the_asset_in_its_versions(bill: str) -> None:
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill) is None

    in_the_asset = {
        (canonicalize_name(found.metadata["Name"]), found.version)
        for folder in dependencies_folder().glob("*.dist-info")
        for found in [Distribution.at(folder)]
    }
    assert {(name, part["version"]) for name, part in components(bill).items()} == in_the_asset


def test_the_bill_has_the_hash_of_each_wheel_that_the_asset_was_made_of(bill: str) -> None:
    wheels = sorted((BUILD.parent / "wheels" / dependencies_folder().name).glob("*.whl"))
    assert wheels
    for wheel in wheels:
        name, *_ = parse_wheel_filename(wheel.name)
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        assert digest in hashes(components(bill)[name]), wheel.name


def test_the_same_lock_gives_the_same_bill(bill: str, tmp_path: Path) -> None:
    assert make("sbom", f"SBOM={tmp_path / 'again.json'}").returncode == 0
    assert (tmp_path / "again.json").read_text() == bill


class Advisories(ThreadingHTTPServer):
    """Answers as the database of advisories does; source: OSV's API, ``POST /v1/query``."""

    def __init__(self) -> None:
        self.vulnerable: set[str] = set()
        self.asked: set[str] = set()
        self.out_of_order = False
        super().__init__(("127.0.0.1", 0), _Answer)

    @property
    def option(self) -> str:
        return f"AUDIT_ARGS=--osv-url http://127.0.0.1:{self.server_port}/v1/query"


class _Answer(BaseHTTPRequestHandler):
    server: Advisories

    def do_POST(self) -> None:
        query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = query["package"]["name"]
        self.server.asked.add(name)
        found = {"vulns": [advisory(name)]} if name in self.server.vulnerable else {}
        body = json.dumps(found).encode()
        self.send_response(500 if self.server.out_of_order else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def advisory(name: str) -> dict[str, Any]:
    return {
        "id": "PYSEC-2026-1",
        "summary": f"{name} does what it should not",
        "affected": [
            {
                "package": {"name": name, "ecosystem": "PyPI"},
                "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}],
            }
        ],
    }


@pytest.fixture
def advisories() -> Iterator[Advisories]:
    server = Advisories()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_the_audit_asks_for_every_package_of_the_bill(advisories: Advisories, bill: str) -> None:
    done = make("audit", advisories.option)
    assert done.returncode == 0, done.stderr
    assert advisories.asked == set(components(bill))


def test_a_known_vulnerability_fails_the_audit_by_name(advisories: Advisories) -> None:
    advisories.vulnerable = {"urllib3"}
    done = make("audit", advisories.option)
    assert done.returncode != 0
    assert "urllib3" in done.stdout
    assert "PYSEC-2026-1" in done.stdout


def test_an_audit_that_could_not_ask_is_not_clean(advisories: Advisories) -> None:
    advisories.out_of_order = True
    assert make("audit", advisories.option).returncode != 0


LOCKS = ("requirements.lock", "functions/requirements.lock", "tests/dotnet/requirements.lock")


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_of_every_lock_has_its_hash(lock: str) -> None:
    """pip is told to take no other (`--require-hashes`, in the Makefile)."""
    lines = (PROJECT / lock).read_text().replace(" \\\n    --hash", " --hash").splitlines()
    packages = [it for it in lines if it and not it.startswith((" ", "#"))]
    assert packages
    assert [it for it in packages if "==" not in it or "--hash=sha256:" not in it] == []


def test_every_package_of_npm_has_its_hash() -> None:
    packages = json.loads((PROJECT / "package-lock.json").read_text())["packages"]
    installed = {name: it for name, it in packages.items() if name}
    assert installed
    assert [name for name, it in installed.items() if "sha512-" not in it["integrity"]] == []
