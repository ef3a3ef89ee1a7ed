"""Fills a new account: base images, public parameters and the documents that AWS owns."""

from __future__ import annotations

import copy
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from scripts.local.documents import Documents
    from scripts.local.ec2_state import Region, State
    from scripts.local.parameters import Parameters

_FOLDER = Path(__file__).parent
_INTERNAL = ("size", "volume", "system")


@lru_cache(maxsize=1)
def contents() -> dict[str, Any]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    found: dict[str, Any] = yaml.load((_FOLDER / "catalog.yaml").read_text(), loader)
    found["documents"] = yaml.load((_FOLDER / "aws_documents.yaml").read_text(), loader)
    return found


def load(state: State, parameters: Parameters, documents: Documents) -> None:
    """Every Region gets the images when it is first used; parameters go to the same Region."""

    def populate(region: Region) -> None:
        for image_id, given in contents()["images"].items():
            _add_image(region, image_id, given)
        for name, value in contents()["parameters"].items():
            parameters.publish(name, value, region.name)

    state.populate = populate  # type: ignore[method-assign]
    for name, content in contents()["documents"].items():
        # Schema 0.3 is Automation's. Source: SSM user guide, "Schemas, features, and examples".
        automation = content["schemaVersion"] == "0.3"
        documents.add(name, content, type_="Automation" if automation else "Command")


def _add_image(region: Region, image_id: str, given: dict[str, Any]) -> None:
    image = {k: copy.copy(v) for k, v in given.items() if k not in _INTERNAL and v is not None}
    image.update(ImageId=image_id, ImageType="machine")
    image.setdefault("State", "available")
    image["ImageLocation"] = f"{image['OwnerId']}/{image['Name']}"
    image["BlockDeviceMappings"] = []
    if image["RootDeviceType"] == "ebs":
        snapshot_id = f"snap-{image_id.removeprefix('ami-')}"
        ebs = {
            "SnapshotId": snapshot_id,
            "VolumeSize": given["size"],
            "VolumeType": given.get("volume", "gp2"),
            "DeleteOnTermination": True,
            "Encrypted": False,
        }
        if ebs["VolumeType"] == "gp3":
            ebs.update(Iops=3000, Throughput=125)
        image["BlockDeviceMappings"].append({"DeviceName": image["RootDeviceName"], "Ebs": ebs})
        region.snapshots[snapshot_id] = {
            "SnapshotId": snapshot_id,
            "VolumeId": "vol-ffffffff",
            "VolumeSize": given["size"],
            "State": "completed",
            "Progress": "100%",
            "StartTime": image["CreationDate"],
            "OwnerId": image["OwnerId"],
            "Encrypted": False,
            "Description": f"Created for {image_id}",
            "StorageTier": "standard",
        }
    region.images[image_id] = image
    region.hidden(image_id)["system"] = dict(given.get("system") or {})
