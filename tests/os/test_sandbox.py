"""The sandbox itself: what it leaves behind, whatever happens."""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scripts.local import roots
from scripts.local.runner import run_document
from scripts.local.sandbox import Sandbox

pytestmark = [pytest.mark.os, pytest.mark.timeout(900)]


def mounted(folder: Path) -> bool:
    return str(folder) in Path("/proc/mounts").read_text()


def test_nothing_is_left_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), Sandbox.boot(cloud_init=False) as host:
        _ = 1 / 0

    assert not host.folder.exists()
    assert not mounted(host.folder)


@pytest.fixture
def own_runs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder of hosts that no other test sweeps, with the same roots."""
    roots.root_of("debian")
    cache = roots.cache_folder()
    with tempfile.TemporaryDirectory(dir=cache.parent) as folder:
        (Path(folder) / "ami-bakery").mkdir()
        (Path(folder) / "ami-bakery/roots").symlink_to(cache)
        monkeypatch.setenv("XDG_CACHE_HOME", folder)
        yield


@pytest.mark.usefixtures("own_runs")
def test_what_a_killed_process_left_is_swept_by_the_next() -> None:
    script = (
        "import os, signal\nfrom scripts.local.sandbox import Sandbox\n"
        "with Sandbox.boot(cloud_init=False) as host:\n"
        "    print(host.folder, flush=True)\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    folder = Path(killed.stdout.strip())
    assert folder.exists()
    running = f"--directory={folder}/root"
    assert running in subprocess.run(["ps", "axww"], capture_output=True, text=True).stdout

    with Sandbox.boot(start=False):
        assert not folder.exists()
        assert not mounted(folder)
        assert running not in subprocess.run(["ps", "axww"], capture_output=True, text=True).stdout


def test_two_hosts_do_not_see_each_other(boot: Callable[..., Sandbox]) -> None:
    one, other = boot(), boot()
    one.sh("echo one >/srv/file")

    assert other.sh("ls /srv/file").exit_code != 0
    assert one.sh("cat /etc/machine-id").stdout != other.sh("cat /etc/machine-id").stdout


def test_a_restart_is_one_and_the_step_goes_on(boot: Callable[..., Sandbox]) -> None:
    script = (
        "cat /proc/sys/kernel/random/boot_id\n[ -e /srv/seen ] && exit 0\n: >/srv/seen\nexit 194"
    )
    document = {
        "schemaVersion": "2.2",
        "mainSteps": [
            {
                "action": "aws:runShellScript",
                "name": "restart",
                "inputs": {"runCommand": script.split("\n")},
            }
        ],
    }
    [outcome] = run_document(document, {}, boot())

    before, after = outcome.stdout.split()
    assert outcome.status == "Success"
    assert before != after


def test_a_time_out_ends_everything_inside(boot: Callable[..., Sandbox]) -> None:
    host = boot()
    document = {
        "schemaVersion": "2.2",
        "mainSteps": [
            {
                "action": "aws:runShellScript",
                "name": "hang",
                "inputs": {"runCommand": ["sleep 4321 & sleep 4321"], "timeoutSeconds": "5"},
            }
        ],
    }
    [outcome] = run_document(document, {}, host)

    assert (outcome.status, outcome.exit_code) == ("TimedOut", 137)
    assert host.sh("pgrep -x sleep").stdout == ""


def test_what_is_missing_is_said_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("os.geteuid", lambda: 1000)

    assert "root rights" in roots.missing()[0]
    assert "apt-get install" in roots.missing()[1]
    with pytest.raises(roots.SandboxUnavailableError, match="mmdebstrap"):
        roots.require()
