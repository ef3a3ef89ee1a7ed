"""Off an instance store root: a real disk is copied to a real volume, and a bundle has what the
guide says it must.

The AMI tools cannot be had here. What stands in for ec2-bundle-vol writes down how it is called,
and has the real rsync choose files by the filters that AWS documents for it.
"""

import contextlib
import hashlib
import os
import shlex
import struct
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from bakery.documents import problems_of
from infra.loading import load_document
from scripts.local import roots
from scripts.local.hosts import HereHost
from scripts.local.processes import run_group
from scripts.local.runner import Ran, StepOutcome, aggregate, run_document
from scripts.local.sandbox import Sandbox
from tests.instance_services import InstanceServices, RefusedError, serve
from tests.os.conftest import FOLDER
from tests.os.test_secrets import Builder

pytestmark = [pytest.mark.os, pytest.mark.timeout(900)]

# --- conversion: a disk with a partition table, and a system that has its root on it -----------

_SECTOR = 512
_FIRST = 2048
_DISK = 1536 << 20
UUID = "5cb30431-99d6-4e42-8af4-b8ed08fb60ca"
FSTAB = """\
# of the host
UUID=5cb30431-99d6-4e42-8af4-b8ed08fb60ca / ext4 defaults,discard 0 1
/dev/xvdb /mnt auto defaults,comment=cloudconfig 0 2
LABEL=data /data xfs noatime,nofail 0 2
/dev/xvdc swap swap
nfs.example.com:/srv /srv nfs defaults 0 0
tmpfs /scratch tmpfs size=64m 0 0
"""
CALM = FSTAB.replace("comment=cloudconfig", "comment=cloudconfig,nofail").replace(
    "/dev/xvdc swap swap", "/dev/xvdc swap swap defaults,nofail"
)


class Disk:
    """A file that is a disk, with a partition if its first sector says so."""

    def __init__(self, file: Path) -> None:
        self.device = _said("losetup", "--find", "--show", str(file))
        self.partition = f"{self.device}p1"

    def close(self) -> None:
        subprocess.run(["partx", "-d", self.device], capture_output=True)
        subprocess.run(["losetup", "-d", self.device], check=True)


class FromDisk(HereHost):
    """A system whose root is that partition: what runs in it sees the machine's devices."""

    def execute(
        self, argv: Sequence[str], *, directory: str, environment: Mapping[str, str], timeout: float
    ) -> Ran:
        enter = (
            'for it in dev sys proc; do mount --rbind "/$it" "$0/$it"; done; '
            'mount -t tmpfs none "$0/mnt"; exec chroot "$0" "$@"'
        )
        inside = ["unshare", "--mount", "sh", "-ec", enter, str(self.root), *argv]
        return run_group(inside, timeout=timeout, environment=environment)

    def reboot(self) -> None:
        raise AssertionError("a host is never restarted")


def _said(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@contextlib.contextmanager
def _mounted(device: str, folder: Path, *options: str) -> Iterator[Path]:
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", *options, device, str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disk]:
    """With what a boot loader has before the root, and Debian on it."""
    file = tmp_path_factory.mktemp("disk") / "root.img"
    before = bytearray(os.urandom(_FIRST * _SECTOR))
    sectors = _DISK // _SECTOR - _FIRST
    before[446:512] = struct.pack(
        "<B3sB3sII48sH", 0x80, b"", 0x83, b"", _FIRST, sectors, b"", 0xAA55
    )
    file.write_bytes(before)
    os.truncate(file, _DISK)
    disk = Disk(file)
    try:
        subprocess.run(["partx", "-u", disk.device], check=True)
        tree = str(roots.root_of("debian"))
        # As a boot loader of its time had it.
        old = ["-I", "128", "-O", "^metadata_csum,^64bit,^orphan_file"]
        how = ["-q", "-F", "-U", UUID, "-L", "root of shop", *old, "-d", tree]
        subprocess.run(["mkfs.ext4", *how, disk.partition], check=True)
        yield disk
    finally:
        disk.close()


@pytest.fixture
def host(disk: Disk, tmp_path: Path) -> Iterator[FromDisk]:
    with _mounted(disk.partition, tmp_path / "host") as root:
        (root / "etc/fstab").write_text(FSTAB)
        (root / "tmp").chmod(0o1777)
        yield FromDisk(root)


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Disk]:
    """Larger than the disk, and empty."""
    (tmp_path / "volume.img").touch()
    os.truncate(tmp_path / "volume.img", 2 << 30)
    volume = Disk(tmp_path / "volume.img")
    try:
        yield volume
    finally:
        volume.close()


def sent(host: Any, stem: str, **parameters: str) -> StepOutcome:
    """What the document as it is deployed does on the host."""
    document = load_document(FOLDER / f"{stem}.yaml")
    assert problems_of(document) == []
    values = {name: [value] for name, value in {"Bake": "convert", **parameters}.items()}
    (outcome,) = run_document(document, values, host)
    said = outcome.stdout.endswith("ami-bakery: convert done\n")
    assert said == (aggregate([outcome])[0] == "Success"), outcome
    return outcome


def files(root: Path) -> dict[str, tuple[object, ...]]:
    """Everything below a folder, to its attributes and which names are one file."""
    found: dict[str, tuple[object, ...]] = {}
    for folder, folders, names in os.walk(root):
        for path in (Path(folder, it) for it in (*folders, *names)):
            it = path.lstat()
            names_of_it = 0 if path.is_dir() else it.st_nlink
            facts = (it.st_mode, it.st_uid, it.st_gid, it.st_rdev, names_of_it)
            content = ""
            if path.is_symlink():
                content = str(path.readlink())
            elif path.is_file():
                content = hashlib.sha256(path.read_bytes()).hexdigest()
            attributes = {
                name: os.getxattr(path, name, follow_symlinks=False)
                for name in os.listxattr(path, follow_symlinks=False)
            }
            found[str(path.relative_to(root))] = (*facts, content, str(attributes))
    return found


def test_the_volume_becomes_the_disk_that_it_was_copied_from(
    host: FromDisk, disk: Disk, volume: Disk, tmp_path: Path
) -> None:
    odd = host.root / "srv/shop, with a 'name'*"
    odd.mkdir(parents=True)
    (odd / "key.pem").write_text("-----BEGIN PRIVATE KEY-----\n")
    os.link(odd / "key.pem", odd / "same.pem")
    os.setxattr(odd / "key.pem", "user.colour", b"red")
    with (odd / "sparse").open("wb") as sparse:
        sparse.truncate(8 << 20)
    before = files(host.root)
    outcome = sent(host, "convert-instance-store", Device=volume.device, SizeGib="2")
    assert outcome.status == "Success", outcome.stderr
    assert "left out /mnt" not in outcome.stdout  # no file system of a disk
    # Nothing on the host is written but by the agent, which keeps what it runs, and what a system
    # has in memory.
    ours = ("var/lib/amazon", "run/")
    mine = {path: it for path, it in files(host.root).items() if not path.startswith(ours)}
    assert mine == {path: it for path, it in before.items() if not path.startswith(ours)}
    for one, other in zip(blocks(disk), blocks(volume), strict=True):
        assert one == other
    assert made_with(disk) == made_with(volume)
    for fact, value in {"UUID": UUID, "LABEL": "root of shop", "TYPE": "ext4"}.items():
        found = _said(*["blkid", "-c", "/dev/null", "-o", "value", "-s"], fact, volume.partition)
        assert found == value
    with _mounted(volume.partition, tmp_path / "copy", "-o", "ro") as copy:
        assert (copy / "srv/shop, with a 'name'*/sparse").stat().st_blocks == 0
        there = {path: it for path, it in files(copy).items() if not path.startswith(ours)}
        keyrings = [it for it in there if it.startswith(("usr/share/keyrings/", "etc/apt/tr"))]
        assert len([it for it in keyrings if it.endswith((".gpg", ".asc"))]) > 5
        assert (copy / "etc/fstab").read_text() == CALM
        assert there.pop("etc/fstab")[0] == mine.pop("etc/fstab")[0]
        assert there == mine


def test_before_systemd_no_disk_is_waited_for_either(
    host: FromDisk, volume: Disk, tmp_path: Path
) -> None:
    host.write("/sbin/mountall", b"", 0o755)
    outcome = sent(host, "convert-instance-store", Device=volume.device, SizeGib="2")
    (host.root / "sbin/mountall").unlink()
    assert outcome.status == "Success", outcome.stderr
    with _mounted(volume.partition, tmp_path / "copy", "-o", "ro") as copy:
        told = (copy / "etc/fstab").read_text()
    assert "/mnt auto defaults,comment=cloudconfig,nobootwait 0 2\n" in told
    assert "/data xfs noatime,nofail,nobootwait 0 2\n" in told


def made_with(disk: Disk) -> list[str]:
    """What a boot loader must understand of the file system."""
    told = _said("dumpe2fs", "-h", disk.partition).splitlines()
    kinds = ("Filesystem features:", "Inode size:", "Block size:")
    transient = {"needs_recovery", "orphan_present"}
    return [
        " ".join(it for it in row.split() if it not in transient)
        for row in told
        if row.startswith(kinds)
    ]


def blocks(disk: Disk) -> tuple[bytes, ...]:
    """What lies before the root: code of the boot loader, partition table, what is between."""
    with Path(disk.device).open("rb") as device:
        found = device.read(_FIRST * _SECTOR)
    return found[:446], found[446:512], found[512:]


def test_a_disk_that_has_something_on_it_is_left_as_it_is(
    host: FromDisk, disk: Disk, volume: Disk
) -> None:
    with Path(volume.device).open("r+b") as device:
        device.seek((1 << 20) - 1)
        device.write(b"x")
    before = Path(volume.device).read_bytes()
    outcome = sent(host, "convert-instance-store", Device=volume.device, SizeGib="2")
    assert f"{volume.device} is not empty, and is left as it is" in outcome.stderr
    assert Path(volume.device).read_bytes() == before
    outcome = sent(host, "convert-instance-store", Device=disk.device, SizeGib="2")
    assert "is not the volume of 2 GiB, and is left as it is" in outcome.stderr


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        ("truncate", "is not the volume of 2 GiB, and is left as it is"),
        ("small", "is smaller than the disk of the root: attach an empty volume of 2 GiB or more"),
        ("name", "there is no device /dev/sdq; attach the volume"),
        ("tool", "rsync is not installed; install it on the host"),
        ("mkfs", "mkfs.ext4 is not installed; install it on the host (package e2fsprogs"),
    ],
)
def test_what_cannot_be_copied_is_told_before_anything_is_written(
    host: FromDisk, volume: Disk, tmp_path: Path, spoil: str, told: str
) -> None:
    device, size = volume.device, "2"
    tool = host.root / {"tool": "usr/bin/rsync", "mkfs": "usr/sbin/mkfs.ext4"}.get(spoil, "tmp/no")
    match spoil:
        case "truncate":
            os.truncate(tmp_path / "volume.img", 1 << 30)
            subprocess.run(["losetup", "-c", device], check=True)
        case "small":
            os.truncate(tmp_path / "volume.img", 1 << 30)
            subprocess.run(["losetup", "-c", device], check=True)
            size = "1"
        case "name":
            device = "/dev/sdq"
        case "tool" | "mkfs":
            tool.rename(f"{tool}.away")
    try:
        outcome = sent(host, "convert-instance-store", Device=device, SizeGib=size)
    finally:
        if spoil in ("tool", "mkfs"):
            Path(f"{tool}.away").rename(tool)
    assert told in outcome.stderr
    assert not any((tmp_path / "volume.img").read_bytes())


def test_the_host_can_not_be_written_to_by_what_is_copied_from(
    host: FromDisk, volume: Disk
) -> None:
    """A job that cleans /tmp would find the whole host there."""
    probe = b"""#!/bin/sh
for it in "$@"; do case $it in */from/) from=$it ;; esac; done
touch "${from}tmp/probe" 2>/dev/null && echo writable >&2
exit 23
"""
    host.write("/usr/local/bin/rsync", probe, 0o755)
    outcome = sent(host, "convert-instance-store", Device=volume.device, SizeGib="2")
    (host.root / "usr/local/bin/rsync").unlink()
    assert "rsync could not read all files in five passes" in outcome.stderr
    assert "writable" not in outcome.stderr
    assert list((host.root / "tmp").iterdir()) == []


def test_a_file_that_becomes_shorter_while_it_is_read_costs_a_pass(
    host: FromDisk, volume: Disk, tmp_path: Path
) -> None:
    """As a log does that is rotated in place: rsync reads to its old end, and ends with 23."""
    shrinks = b"""#!/bin/sh
/usr/bin/rsync "$@" || exit
[ "$(wc -l </tmp/passes)" -ne 1 ] || code=23
echo "${code:-0}" >>/tmp/passes
exit "${code:-0}"
"""
    host.write("/usr/local/bin/rsync", shrinks, 0o755)
    host.write("/tmp/passes", b"passes\n", 0o644)
    outcome = sent(host, "convert-instance-store", Device=volume.device, SizeGib="2")
    passes = (host.root / "tmp/passes").read_bytes()
    for path in ("usr/local/bin/rsync", "tmp/passes"):
        (host.root / path).unlink()
    assert outcome.status == "Success", outcome.stderr
    assert passes.split() == [b"passes", b"23", b"0"]
    with _mounted(volume.partition, tmp_path / "copy", "-o", "ro") as copy:
        assert (copy / "etc/debian_version").read_bytes() == (
            host.root / "etc/debian_version"
        ).read_bytes()


def test_a_disk_that_is_in_use_is_left_as_it_is(host: FromDisk, volume: Disk) -> None:
    subprocess.run(["mkfs.ext4", "-q", "-F", volume.device], check=True)
    with _mounted(volume.device, host.root / "srv"):
        outcome = sent(host, "convert-instance-store", Device=volume.device, SizeGib="2")
    assert f"{volume.device} is in use (/proc/mounts)" in outcome.stderr


def test_a_root_that_is_on_no_disk_is_told() -> None:
    with Sandbox.boot(cloud_init=False) as sandbox:
        outcome = sent(sandbox, "convert-instance-store", Device="/dev/sdf", SizeGib="2")
    assert "the root file system is overlay; only ext2, ext3, ext4 and xfs" in outcome.stderr


# --- the bundle ------------------------------------------------------------------------------

METADATA = "/opt/fake/metadata"
CURL = f"""#!/bin/sh
for url in "$@"; do :; done
cat "{METADATA}/${{url#http://169.254.169.254/latest/meta-data/}}" 2>/dev/null
"""
# What is left out and in what order: EC2 user guide, ec2-bundle-vol; a file that is included
# overrides both. As patterns of rsync.
EXCLUDED = ["/dev", "/media", "/mnt", "/proc", "/sys"]
FILTER = (
    *("*/#*#", "*/.#*", "*.sw", "*.swo", "*.swp", "*~", "*.pem", "*.priv", "*id_rsa*", "*id_dsa*"),
    *("*.gpg", "*.jks", "*/.ssh/authorized_keys", "*/.bash_history"),
)
BUNDLE_VOL = f"""#!/bin/bash
set -eu
printf '%s\\0' "$@" >/opt/fake/bundle
IFS=, included=() excluded=()
while [ $# -gt 0 ]; do
  case $1 in
    -i) for it in $2; do included+=(--include "$it"); done ;;
    -e) for it in $2; do excluded+=(--exclude "$it"); done ;;
    -d) destination=$2 ;;
    -S) script=$2 ;;
    -k) stat -c '%a %n' "$2" "${{2%/*}}" >/opt/fake/keys; sha256sum <"$2" >>/opt/fake/keys ;;
  esac
  shift
done
env >/opt/fake/environment
umask >/opt/fake/bits
mkdir -p /opt/fake/image/etc
"$script" /opt/fake/image
rsync -n8 --out-format=/%n -rlpgoD -t -S "${{included[@]}}" "${{excluded[@]}}" \\
  {" ".join(f"--exclude '{it}'" for it in (*EXCLUDED, *FILTER))} \\
  /* /opt/fake/nowhere >/opt/fake/files
[ ! -e /opt/fake/breaks ] || {{ echo 'no loop device' >&2; exit 1; }}
echo manifest >"$destination/image.manifest.xml"
"""
UPLOAD = """#!/bin/bash
printf '%s\\0' "$@" >/opt/fake/upload
while [ "$1" != -m ]; do shift; done
cp "$2" /opt/fake/
"""
DF = """#!/bin/sh
[ "$2" != / ] || { echo of the root; echo overlay 8000000 400000 7000000 6% /; exit; }
exec /usr/bin/df "$@"
"""
# The root here is on the machine's own disk, which is of any size.
KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIabc\n-----END RSA PRIVATE KEY-----"
OTHER_KEY = KEY.replace("MIIabc", "MIIxyz")
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIdef\n-----END CERTIFICATE-----"
PARAMETERS = {
    "Account": "123456789012",
    "Bucket": "images/shop",
    "Certificate": "bundles/certificate",
    "PrivateKey": "/bundles/key",
}


def ask(_instance: str, action: str, wanted: Mapping[str, Any]) -> Mapping[str, Any]:
    if (action, wanted.get("SecretId")) == ("GetSecretValue", "bundles/certificate"):
        return {"SecretString": CERTIFICATE}
    if (action, wanted.get("Name")) == ("GetParameter", "/bundles/key"):
        return {"Parameter": {"Type": "SecureString", "Value": KEY}}
    raise RefusedError("AccessDeniedException", "not authorized to perform: GetSecretValue")


@pytest.fixture(scope="module")
def services() -> Iterator[InstanceServices]:
    with serve(ask) as services:
        yield services


@pytest.fixture(scope="module")
def tooled(services: InstanceServices) -> Iterator[Any]:
    """A host of an old type with the AMI tools, whose identity has been removed."""
    with Sandbox.boot(cloud_init=False, network=True) as host:
        host.sh("rm -rf /var/lib/cloud; mount -t tmpfs -o size=2g none /mnt")
        host.sh("mkdir -p /var/lib/amazon/ssm /var/log/amazon; touch /var/lib/amazon/ssm/state")
        for tool in ("dmsetup", "grub", "kpartx", "parted", "sgdisk"):
            host.write(f"/usr/local/sbin/{tool}", b"", 0o755)
        for path, text in {
            "/usr/local/bin/curl": CURL,
            "/usr/local/bin/df": DF,
            "/usr/local/bin/ec2-bundle-vol": BUNDLE_VOL,
            "/usr/local/bin/ec2-upload-bundle": UPLOAD,
            f"{METADATA}/instance-type": "m3.medium",
            f"{METADATA}/placement/availability-zone": "eu-west-1a",
            f"{METADATA}/services/domain": "amazonaws.com",
        }.items():
            host.write(path, text.encode(), 0o755)
        yield Builder(host, services)


@pytest.fixture
def bundling(tooled: Any) -> Iterator[Any]:
    """After each test neither key nor bundle is left, however it went."""
    tooled.sh("rm -rf /opt/fake/[a-l]*; rm -f /opt/fake/upload")
    yield tooled
    left = tooled.sh(
        "ls -A /dev/shm /mnt; grep -rlF MIIabc /dev/shm /mnt /tmp /var /root /etc /run"
    )
    assert left.stdout.split() == ["/dev/shm:", "/mnt:"]


def read(host: Any, name: str) -> str:
    return str(host.sh(f"cat /opt/fake/{name}").stdout)


def arguments(host: Any, name: str) -> list[str]:
    return read(host, name).split("\0")[:-1]


def test_a_bundle_has_every_certificate_and_keyring_and_none_of_the_secrets(bundling: Any) -> None:
    host = bundling
    made = {
        "/etc/ssl/certs/of, two.pem": CERTIFICATE,
        "/opt/shop/it's [a] *certificate*.crt": CERTIFICATE,
        "/opt/shop/of\ntwo lines.pem": CERTIFICATE,
        "/opt/shop/keyring?.gpg": "keyring",
        "/etc/ssl/private/server.pem": OTHER_KEY,
        "/etc/nginx/server.key": OTHER_KEY,
        "/root/.ssh/id_rsa": OTHER_KEY,
        "/root/.ssh/authorized_keys": "ssh-ed25519 AAAA",
        "/root/.bash_history": "mysql -psecret",
        "/home/deploy/shop.pem": OTHER_KEY,
        "/srv/store.jks": "store",
    }
    for path, text in made.items():
        host.write(path, text.encode(), 0o600)
    find = r"find /etc /usr /opt \( -name '*.pem' -o -name '*.crt' -o -name '*.gpg' \) -print0"
    guide = set(host.sh(find).stdout.split("\0")) - {""}
    assert len([it for it in guide if it.endswith(".gpg")]) > 5
    outcome = sent(host, "bundle-instance-store", **PARAMETERS)
    assert outcome.status == "Success", outcome.stderr
    bundled = set(read(host, "files").splitlines())
    # rsync writes what no line of text has as \#ooo.
    assert {it.replace("\n", "\\#012") for it in guide - {"/etc/ssl/private/server.pem"}} <= bundled
    secrets = {path for path in made if path.startswith(("/root", "/home", "/srv"))}
    assert not bundled & {*secrets, "/etc/ssl/private/server.pem"}
    assert "left out, for it has a private key: /etc/ssl/private/server.pem" in outcome.stderr
    others = ("/proc/", "/sys/", "/mnt/", "/dev/", "/run/", "/var/lib/amazon/ssm/")
    assert not [it for it in bundled if it.startswith(others)]
    host.sh("rm -rf /opt/shop /etc/nginx /etc/ssl/private/server.pem /root/.ssh /home/deploy")


def test_the_tools_are_called_as_aws_documents_them(bundling: Any) -> None:
    outcome = sent(bundling, "bundle-instance-store", **PARAMETERS)
    assert outcome.status == "Success", outcome.stderr
    called = arguments(bundling, "bundle")
    keys = called[1].removesuffix("/key.pem")
    bundle = called[9]
    assert called[10:12] == ["-S", f"{bundle}/customize"]
    assert keys.startswith("/dev/shm/ami-bakery.") and bundle.startswith("/mnt/ami-bakery.")
    assert called[:10] + called[12:13] == [
        *("-k", f"{keys}/key.pem", "-c", f"{keys}/certificate.pem", "-u", "123456789012"),
        *("-r", "x86_64", "-d", bundle, "--batch"),
    ]
    assert (called[13], called[15]) == ("-i", "-e")
    assert {"/var/lib/amazon/ssm", "/var/log/amazon"} <= set(called[16].split(","))
    assert read(bundling, "bits").strip() == "0022"
    mode, folder, digest = read(bundling, "keys").splitlines()
    assert (mode.split()[0], folder.split()[0]) == ("600", "700")
    assert digest.split()[0] == hashlib.sha256(f"{KEY}\n".encode()).hexdigest()
    assert "AMI_" not in read(bundling, "environment")
    assert arguments(bundling, "upload") == [
        *("-b", "images/shop", "-m", f"{bundle}/image.manifest.xml"),
        *("--region", "eu-west-1", "--url", "https://s3.eu-west-1.amazonaws.com"),
        *("--batch", "--retry"),
    ]
    register = outcome.stdout.partition("to register it: ")[2].partition("\n")[0]
    words = shlex.split(register)
    assert words[:4] == ["aws", "ec2", "register-image", "--name"]
    assert words[5:] == [
        *("--image-location", "images/shop/image.manifest.xml", "--architecture", "x86_64"),
        *("--virtualization-type", "hvm"),
    ]
    for text in (KEY, CERTIFICATE, "MII"):
        assert text not in outcome.stdout + outcome.stderr


def test_what_is_mounted_is_not_in_a_bundle_and_no_instance_of_it_waits_for_it(
    bundling: Any,
) -> None:
    host = bundling
    host.sh("mkdir -p '/srv/of shop'; mount -t tmpfs -o mode=711 none '/srv/of shop'")
    host.sh("mkdir '/srv/of shop/sub'; echo secret >'/srv/of shop/data'; chown 7:8 '/srv/of shop'")
    host.write("/etc/fstab", FSTAB.encode(), 0o644)
    outcome = sent(host, "bundle-instance-store", **PARAMETERS)
    told = host.sh("stat -c '%a %u:%g %n' /opt/fake/image/run '/opt/fake/image/srv/of shop'").stdout
    fstab = host.sh("cat /opt/fake/image/etc/fstab").stdout
    there = host.sh("ls /opt/fake/image /opt/fake/image/srv").stdout.split()
    host.sh("umount '/srv/of shop'; rm -rf '/srv/of shop' /etc/fstab")
    assert outcome.status == "Success", outcome.stderr
    assert told.splitlines() == [
        "755 0:0 /opt/fake/image/run",
        "711 7:8 /opt/fake/image/srv/of shop",
    ]
    assert not {"mnt", "proc", "sys", "dev"} & set(there)  # the tool's own
    assert not [it for it in read(host, "files").splitlines() if it.startswith("/srv/of shop")]
    assert "/srv/of?shop" in arguments(host, "bundle")[16].split(",")
    assert fstab == CALM


def test_a_paravirtual_host_is_registered_with_its_kernel(bundling: Any) -> None:
    """And needs no boot loader for it."""
    bundling.write(f"{METADATA}/kernel-id", b"aki-52a34525", 0o644)
    bundling.sh("mv /usr/local/sbin/grub /opt")
    outcome = sent(bundling, "bundle-instance-store", **PARAMETERS)
    bundling.sh(f"mv /opt/grub /usr/local/sbin; rm {METADATA}/kernel-id")
    assert "--virtualization-type paravirtual --kernel-id aki-52a34525\n" in outcome.stdout


@pytest.mark.parametrize(
    ("spoil", "mend", "told"),
    [
        (
            "mv /usr/local/bin/ec2-bundle-vol /opt",
            "mv /opt/ec2-bundle-vol /usr/local/bin",
            "ec2-bundle-vol is not installed: yum install aws-amitools-ec2 (Amazon Linux)",
        ),
        (
            "mv /usr/local/sbin/grub /opt",
            "mv /opt/grub /usr/local/sbin",
            "grub is not installed, and the AMI tools need it",
        ),
        (
            f"mv {METADATA} {METADATA}.away",
            f"mv {METADATA}.away {METADATA}",
            "modify-instance-metadata-options --http-tokens optional",
        ),
        (
            f"echo t3.medium >{METADATA}/instance-type",
            f"echo m3.medium >{METADATA}/instance-type",
            "this is t3.medium, and only C1, C3, D2, I2, M1, M2, M3, R3 and X1 boot",
        ),
        (
            "mkdir -p /opt/aws/opsworks",
            "rm -rf /opt/aws",
            "send remove-opsworks-identity, generalize-linux and verify-identity first",
        ),
        ("mkdir -p /var/lib/cloud/instance", "rm -rf /var/lib/cloud", "every instance of the bun"),
        ("umount /mnt", "mount -t tmpfs -o size=2g none /mnt", "/mnt is on the root file system"),
        (
            "mount -t tmpfs -o size=9m none /mnt",
            "umount /mnt",
            "/mnt has 9 MiB free, and twice the",
        ),
        (
            "mkdir /opt/many; cd /opt/many; seq -f certificate-of-test-%.0f.pem 2400 | xargs touch",
            "rm -rf /opt/many",
            "certificates in /etc, /usr and /opt are more than ec2-bundle-vol can be told",
        ),
        ("touch /opt/fake/breaks", "rm /opt/fake/breaks", "ec2-bundle-vol has failed"),
    ],
)
def test_what_cannot_be_bundled_is_told_with_a_way_out(
    bundling: Any, spoil: str, mend: str, told: str
) -> None:
    bundling.sh(spoil)
    outcome = sent(bundling, "bundle-instance-store", **PARAMETERS)
    bundling.sh(mend)
    assert outcome.status == "Failed"
    assert told in outcome.stderr
    assert bundling.sh("test -e /opt/fake/upload").exit_code != 0


def test_a_secret_that_the_host_may_not_read_is_told_before_anything_is_bundled(
    bundling: Any,
) -> None:
    outcome = sent(bundling, "bundle-instance-store", **{**PARAMETERS, "PrivateKey": "denied"})
    assert outcome.status == "Failed"
    assert "AMI_PRIVATE_KEY (secret denied): AccessDeniedException" in outcome.stderr
    assert bundling.sh("test -e /opt/fake/bundle").exit_code != 0
