"""What only the owner of a host can decide before it becomes an image. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from bakery.hosts import host_problems
from bakery.recipe import InstanceBase
from bakery.resources import HostVolume
from scripts.bakery_cli.host import HostReport, Instance, Planned
from scripts.bakery_cli.words import count

_NETWORK = re.compile(r"nfs4?|cifs|smb3|ceph|glusterfs|efs|fuse\..*")
_LAYERS_MOUNT = re.compile(r"/dev/(?:sd|xvd|hd)(?P<letter>[a-z])\d*")
_NVME = re.compile(r"(?P<disk>/dev/nvme\d+n\d+)(p\d+)?")
_DATABASES: Final = {
    "MySQL": re.compile(r"mysqld?[0-9]*(-mysqld)?"),
    "MariaDB": re.compile(r"mariadb.*"),
    "PostgreSQL": re.compile(r"postgresql.*"),
    "MongoDB": re.compile(r"mongodb?"),
    "Redis": re.compile(r"redis(-server)?.*"),
    "Elasticsearch": re.compile(r"elasticsearch"),
}
_LITTLE_FREE_KIB: Final = 512 * 1024


@dataclass(frozen=True)
class Choice:
    """Something that a person must decide, or know."""

    title: str
    advice: str


def choices(host: HostReport, instance: Instance) -> list[Choice]:
    """In the order in which they matter."""
    return [
        *_refusals(instance),
        *_first_boot(host),
        *_agent(instance),
        *_secrets(host),
        *_applications(host),
        *_databases(host),
        *_volumes(host, instance),
        *surprises(host, instance),
        *_space(host),
        *_crons(host),
        *_unknown(host),
    ]


def _refusals(instance: Instance) -> Iterator[Choice]:
    """What Plan refuses it for, and the ways out; of keys it asks with other rights than ours."""
    for problem in host_problems(InstanceBase(instance=instance.id), instance, isolated=True):
        yield Choice("A bake is refused as it is", problem.message)
    for volume in instance.volumes:
        if volume.kms_key:
            yield Choice(
                f"{volume.id} ({volume.device}) is encrypted with {volume.kms_key}",
                "the key's policy must let the bakery's roles use it through EC2",
            )


_KNOWS_TOKENS: Final = (2, 3, 814)
"""Source: amazon-ssm-agent, RELEASENOTES: "Bug fix for metadata service V2"."""


def _agent(instance: Instance) -> Iterator[Choice]:
    version = tuple(int(part) for part in re.findall(r"[0-9]+", instance.agent)[:3])
    if version and version < _KNOWS_TOKENS:
        yield Choice(
            f"Its SSM agent {instance.agent} knows no session tokens of the metadata service",
            "a clone has its metadata by those alone (IMDSv2), and its agent would stay silent: "
            "update it on the host, by AWS-UpdateSSMAgent",
        )


def _first_boot(host: HostReport) -> Iterator[Choice]:
    if reason := host.facts.get("first-boot", "").strip():
        yield Choice(
            f"Instances of an image would not run cloud-init: {reason}",
            "they would get no host keys, no user and no user data; mend it in a step, or "
            "verification fails",
        )


def _secrets(host: HostReport) -> Iterator[Choice]:
    on_root = [it for it in host.secrets if _mount_of(it, host) == "/"]
    elsewhere = [it for it in host.secrets if it not in on_root]
    more = host.more.get("secret", 0)
    if on_root or more:
        listed = ", ".join(on_root) + (f" and {more} more" if more else "")
        yield Choice(
            f"{count(len(on_root) + more, 'file')} with secrets: {listed}",
            "verification fails while they are there: remove them in a step, or list those that "
            "are meant to be in the image under identity.allow_secrets",
        )
    if elsewhere:
        yield Choice(
            f"{count(len(elsewhere), 'file')} with secrets on other disks: {', '.join(elsewhere)}",
            "an image without those disks has none of them; with base.data_volumes: include "
            "verification fails while they are there",
        )


def _mount_of(path: str, host: HostReport) -> str:
    """Where the file system is mounted that the path is on."""
    points = (it.point for it in host.mounts if path.startswith(f"{it.point.rstrip('/')}/"))
    return max(points, key=len, default="/")


def _applications(host: HostReport) -> Iterator[Choice]:
    for app in host.applications:
        if app.there:
            source = f", from {app.source} {app.address}".rstrip() if app.address else ""
            yield Choice(
                f"Application {app.name} is in {app.directory}{source}",
                "keep it in the image as it is, or remove it in a step and deploy it later, or "
                "install it from an archive with a step `application`",
            )


def _databases(host: HostReport) -> Iterator[Choice]:
    for kind, names in _DATABASES.items():
        # Without systemd nobody tells which of the services run.
        if any(names.fullmatch(service) for service in host.services):
            yield Choice(
                f"{kind} is on it",
                "the image has its files as after a power cut; base.quiesce: reboot has EC2 shut "
                "the host down for it, and start it again; and every instance begins with its data",
            )


def _volumes(host: HostReport, instance: Instance) -> Iterator[Choice]:
    for volume in instance.data_volumes:
        where = next(
            (it.point for it in host.mounts if volume_of(it.device, host, instance) == volume), ""
        )
        yield Choice(
            f"Data volume {volume.id} ({volume.device}, {volume.size_gib} GiB)"
            + (f" is mounted on {where}" if where else " is attached"),
            "it is not in the image; with base.data_volumes: include every instance begins with a "
            "copy of all its data",
        )


def _space(host: HostReport) -> Iterator[Choice]:
    for mount in host.mounts:
        if mount.point == "/" and mount.size and mount.free < _LITTLE_FREE_KIB:
            yield Choice(
                f"Only {mount.free // 1024} MiB are free on /",
                "the bake needs room: give the builder a larger root volume "
                "(builder.root_volume.size_gib), or remove something in the first step",
            )


def _crons(host: HostReport) -> Iterator[Choice]:
    if host.crons:
        more = host.more.get("cron", 0)
        listed = ", ".join(host.crons) + (f" and {more} more" if more else "")
        yield Choice(
            f"Cron runs on it: {listed}",
            "every instance of the image runs the same at the same time: decide which of them may",
        )


def _unknown(host: HostReport) -> Iterator[Choice]:
    for problem in host.problems:
        yield Choice("Not everything is known", problem)
    for kind, number in host.more.items():
        if kind not in ("cron", "secret"):
            yield Choice("Not everything is shown", f"{number} more of kind '{kind}'")


# --- what fstab expects of an instance ------------------------------------------------------------


def surprises(host: HostReport, instance: Instance) -> Iterator[Choice]:
    """Lines of fstab that an instance of the image could not fulfil."""
    for entry in host.fstab:
        if entry.point == "/" or entry.device == "/var/swapfile":
            continue  # the root, and the swap file that goes with OpsWorks
        if why := _surprise(entry, host, instance):
            calm = {"nofail", "nobootwait", "noauto"} & set(entry.options)
            hang = "" if calm else "; without `nofail` an instance stops there when it boots"
            yield Choice(
                f"/etc/fstab mounts {entry.device} on {entry.point}: {why}{hang}",
                "remove the line in a step, or give it the options nofail and x-systemd.device-"
                "timeout (systemd), nobootwait (Ubuntu before it), or nofail (others)",
            )


def _surprise(entry: Planned, host: HostReport, instance: Instance) -> str | None:
    """Why the line may be one too many; None if it is not."""
    if _NETWORK.fullmatch(entry.type) or entry.type == "autofs":
        return (
            "it is in the network, and may not be reachable from where instances of the image run"
        )
    if entry.resolved == "-" or not entry.resolved:
        return None  # a pseudo file system, or a bind mount
    volume = volume_of(entry.resolved, host, instance)
    if entry.resolved != "missing" and volume and volume.device == instance.root_device:
        return None
    if is_instance_store(entry, host, instance):
        return "that is an instance store, which is not part of an image and not on every type"
    if entry.resolved == "missing":
        return "there is no such device"
    if volume:
        return f"that is volume {volume.id}, which instances of the image do not have"
    return None


def is_instance_store(entry: Planned, host: HostReport, instance: Instance) -> bool:
    """Whether a line of fstab mounts a disk that belongs to the host computer of the instance."""
    if any("comment=cloudconfig" in option for option in entry.options):
        return True  # cloud-init writes it for the first instance store
    if found := _NVME.fullmatch(entry.resolved):
        models = {it.device: it.model for it in host.disks}
        return "Instance Storage" in models.get(found["disk"], "")
    device = entry.device if entry.resolved == "missing" else entry.resolved
    if not _LAYERS_MOUNT.fullmatch(device):
        return False
    # A disk of Xen that EC2 has attached no volume as.
    return volume_of(device, host, instance) is None


def volume_of(device: str, host: HostReport, instance: Instance) -> HostVolume | None:
    """The volume behind a device of the host, or a partition of it."""
    if found := _NVME.fullmatch(device):
        serial = next((it.serial for it in host.disks if it.device == found["disk"]), "")
        id_ = serial.replace("vol", "vol-", 1) if "-" not in serial else serial
        return next((it for it in instance.volumes if it.id == id_), None)
    letter = _letter(device)
    return next((it for it in instance.volumes if letter and _letter(it.device) == letter), None)


def _letter(device: str) -> str:
    """``f`` of /dev/sdf, /dev/xvdf and /dev/xvdf1, which are one to EC2 and to a host under Xen."""
    found = _LAYERS_MOUNT.fullmatch(device)
    return found["letter"] if found else ""
