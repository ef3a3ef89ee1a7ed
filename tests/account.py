"""What is in the account of a local AWS, and what must not be: used after every test."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from bakery.naming import TAG_BAKE, TAG_TEST
from scripts.local import LocalAws

MACHINE_NAME = "AmiBakery-Bake"

_GONE = {"terminated", "shutting-down"}
_STANDS = {"open", "active", "disabled"}

_CLEAN: WeakKeyDictionary[LocalAws, set[str]] = WeakKeyDictionary()
"""Bakes of which nothing is left: a pointer remembers its last hundred images only."""


@dataclass
class Account:
    """A local AWS with the bakery's stack in it, or without."""

    aws: LocalAws

    def tagged(self, kind: str, bake: str, region: str | None = None) -> list[dict[str, Any]]:
        """Resources of the bake as EC2 describes them: instance (all, or builder alone), volume,
        image, snapshot or spot request."""
        ec2 = self.aws.client("ec2", region)
        filters = [{"Name": f"tag:{TAG_BAKE}", "Values": [bake]}]
        match kind:
            case "instance":
                found = ec2.describe_instances(Filters=filters)["Reservations"]
                return [i for reservation in found for i in reservation["Instances"]]
            case "builder":
                return [it for it in self.tagged("instance", bake) if not _is_test(it)]
            case "volume":
                return list(ec2.describe_volumes(Filters=filters)["Volumes"])
            case "spot request":
                found = ec2.describe_spot_instance_requests(Filters=filters)
                return list(found["SpotInstanceRequests"])
            case "image":
                found = ec2.describe_images(Owners=["self"], Filters=filters, IncludeDisabled=True)
                return list(found["Images"])
            case _:
                found = ec2.describe_snapshots(OwnerIds=["self"], Filters=filters)
                return list(found["Snapshots"])

    def left_behind(self, bake: str) -> list[str]:
        """Ids of what the bake made and neither published nor removed."""
        requests = self.tagged("spot request", bake)
        left = [r["SpotInstanceRequestId"] for r in requests if r["State"] in _STANDS]
        mine = {r["SpotInstanceRequestId"] for r in requests}
        left += [
            instance["InstanceId"]
            for instance in self.aws.ec2.all("instances")
            if not _is_gone(instance)
            # What a request launched by itself has no tags.
            and (_bake_of(instance) == bake or instance.get("SpotInstanceRequestId") in mine)
        ]
        left += [v["VolumeId"] for v in self.tagged("volume", bake) if v["State"] == "available"]
        return left + [it for region in self.regions for it in self._loose(bake, region)]

    @property
    def regions(self) -> list[str]:
        """Every Region that anybody has used."""
        return sorted({self.aws.region, *self.aws.ec2.state.regions})

    def _loose(self, bake: str, region: str) -> list[str]:
        """Images that were not published there, and snapshots without an image."""
        images = self.tagged("image", bake, region)
        snapshots = {s["SnapshotId"] for s in self.tagged("snapshot", bake, region)}
        if not images and not snapshots:
            return []
        published = set(self._published(region))
        held = {m["Ebs"]["SnapshotId"] for image in images for m in image["BlockDeviceMappings"]}
        left = [image["ImageId"] for image in images if image["ImageId"] not in published]
        return left + sorted(snapshots - held)

    def _published(self, region: str) -> Iterator[str]:
        """Images that a pointer holds or held: taking those away is not a bake's business."""
        ssm = self.aws.client("ssm", region)
        pages = ssm.get_paginator("get_parameters_by_path")
        for page in pages.paginate(Path="/ami-bakery", Recursive=True):
            for parameter in page["Parameters"]:
                history = ssm.get_paginator("get_parameter_history")
                for versions in history.paginate(Name=parameter["Name"]):
                    yield from (version["Value"] for version in versions["Parameters"])

    def leases(self) -> dict[str, str]:
        """Recipe to the execution that holds it."""
        found = self._part("claim", "lease#")
        return {it["id"]["S"].removeprefix("lease#"): it["holder"]["S"] for it in found}

    def items(self) -> dict[str, dict[str, Any]]:
        """What the table holds, by `named`."""
        found = self.aws.client("dynamodb").scan(TableName=self._table)["Items"]
        return {named(item): item for item in found}

    def put_item(self, name: str, **content: str) -> None:
        """Put an item of texts into the table; ``name`` is as `named` says."""
        texts = {key: {"S": text} for key, text in content.items()}
        item = {**_key(name), **texts}
        self.aws.client("dynamodb").put_item(TableName=self._table, Item=item)

    def remove_item(self, name: str) -> None:
        self.aws.client("dynamodb").delete_item(TableName=self._table, Key=_key(name))

    @property
    def _table(self) -> str:
        (table,) = self.aws.client("dynamodb").list_tables()["TableNames"]
        return str(table)

    def open_waits(self) -> list[str]:
        return list(self.waits())

    def waits(self) -> dict[str, dict[str, Any]]:
        """The open waits by their keys in the table."""
        return {named(it): json.loads(it["wait"]["S"]) for it in self._part("wait")}

    def _part(self, part: str, prefix: str = "") -> Iterator[dict[str, Any]]:
        """Items of one kind: the table has those of all bakes that ever were."""
        pages = self.aws.client("dynamodb").get_paginator("query")
        for page in pages.paginate(
            TableName=self._table,
            KeyConditionExpression="part = :part"
            + (" AND begins_with(id, :prefix)" if prefix else ""),
            ExpressionAttributeValues={
                ":part": {"S": part},
                **({":prefix": {"S": prefix}} if prefix else {}),
            },
            ConsistentRead=True,
        ):
            yield from page["Items"]

    def leaks(self) -> list[str]:
        """What bakes that have ended have left: their resources, and what their clean up keeps."""
        clean = _CLEAN.setdefault(self.aws, set())
        found: list[str] = []
        cleaned = set()
        for execution in self._ended():
            name = execution["name"]
            if name not in clean:
                left = self.left_behind(name)
                found += [f"{it} of bake {name}" for it in left]
                clean |= set() if left else {name}
            # No state of another one has run at its end: its lease and its waits are for the
            # janitor.
            if execution["status"] in ("SUCCEEDED", "FAILED"):
                cleaned.add(execution["executionArn"])
        if cleaned:
            names = {arn.rpartition(":")[2] for arn in cleaned}
            found += [f"lease of {it}" for it in set(self.leases().values()) & cleaned]
            found += [key for key, wait in self.waits().items() if wait["bake"] in names]
        return found + self._forgotten_fast_launches()

    def _forgotten_fast_launches(self) -> list[str]:
        """What EC2 has prepared of images that are gone: nobody would ever remove it."""
        return [
            f"fast launch of {image} in {name}, which is gone"
            for name, region in self.aws.ec2.state.regions.items()
            for image in region.fast_launches
            if image not in region.images
        ]

    def _ended(self) -> list[dict[str, Any]]:
        states = self.aws.client("stepfunctions")
        machines = states.list_state_machines()["stateMachines"]
        pages = states.get_paginator("list_executions")
        return [
            execution
            for machine in machines
            if machine["name"] == MACHINE_NAME
            for page in pages.paginate(stateMachineArn=machine["stateMachineArn"])
            for execution in page["executions"]
            if execution["status"] != "RUNNING"
        ]


def named(item: dict[str, Any]) -> str:
    """What a test calls an item of the table: ``wait#SUBJECT``, ``claim#WHAT`` or ``text#KEY``."""
    part, id_ = item["part"]["S"], item["id"]["S"]
    return part if part.startswith("text#") else f"{part}#{id_}"


def _key(name: str) -> dict[str, Any]:
    """The key of the item that a test calls so."""
    part, _, id_ = name.partition("#")
    part, id_ = (name, "text") if part == "text" else (part, id_)
    return {"part": {"S": part}, "id": {"S": id_}}


def _bake_of(instance: dict[str, Any]) -> str | None:
    tags = {tag["Key"]: tag["Value"] for tag in instance.get("Tags", [])}
    return tags.get(TAG_BAKE)


def _is_test(instance: dict[str, Any]) -> bool:
    return TAG_TEST in {tag["Key"] for tag in instance.get("Tags", [])}


def _is_gone(instance: dict[str, Any]) -> bool:
    return instance["State"]["Name"] in _GONE
