"""Things of a bake that are in order; a test changes the one part that it is about."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from bakery.bake import Current
from bakery.naming import fixed_document
from bakery.planning import (
    GENERALIZE,
    PREPARE,
    REMOVE_IDENTITY,
    REPORT_IDENTITY,
    REPORT_PACKAGES,
    TEST_IMAGE,
    VERIFY_IDENTITY,
    World,
)
from bakery.recipe import Recipe, parse_recipe
from bakery.resources import Document, Image, InstanceTypeInfo, Subnet

NOW = datetime(2026, 1, 31, 3, 0, 0, tzinfo=UTC)
SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

SHELL: dict[str, Any] = {"name": "packages", "shell": "apt-get update"}
DOCUMENT: dict[str, Any] = {
    "name": "patch",
    "document": "AWS-RunPatchBaseline",
    "parameters": {"Operation": "Scan"},
}
REBOOT: dict[str, Any] = {"name": "kernel", "reboot": True}
APPLICATION: dict[str, Any] = {
    "name": "app",
    "application": {"source": "s3://artefacts/a/b.tar.gz", "sha256": SHA256, "directory": "/srv/a"},
}


def content(**fields: object) -> dict[str, Any]:
    """A recipe as plain data, as YAML gives it."""
    return {"description": "web tier", "base": {"ami": "ami-0123456789abcdef0"}, **fields}


def recipe(**fields: object) -> Recipe:
    return parse_recipe("web", content(**fields))


IMAGE = Image(
    id="ami-0123456789abcdef0",
    name="ubuntu-22.04",
    owner="099720109477",
    state="available",
    architecture="x86_64",
    virtualization="hvm",
    root_device_type="ebs",
    root_device_name="/dev/sda1",
    root_size_gib=8,
    boot_mode="uefi-preferred",
    ena=True,
    tpm=None,
    platform="Linux/UNIX",
    created="2026-01-01T00:00:00.000Z",
)

NITRO = InstanceTypeInfo(
    name="t3.medium",
    architectures=("x86_64",),
    virtualizations=("hvm",),
    boot_modes=("legacy-bios", "uefi"),
    root_device_types=("ebs",),
    ena="required",
    tpm=True,
    vcpus=2,
    memory_mib=4096,
)
GRAVITON = replace(NITRO, name="t4g.medium", architectures=("arm64",), boot_modes=("uefi",))
XEN = replace(
    NITRO,
    name="m3.medium",
    architectures=("i386", "x86_64"),
    virtualizations=("hvm", "paravirtual"),
    boot_modes=("legacy-bios",),
    root_device_types=("ebs", "instance-store"),
    ena="unsupported",
    tpm=False,
)


FIXED = (
    *(PREPARE, REMOVE_IDENTITY, GENERALIZE, VERIFY_IDENTITY),
    *(TEST_IMAGE, REPORT_IDENTITY, REPORT_PACKAGES),
)
"""What every bake runs of our documents."""


def document(
    name: str, parameters: Mapping[str, Mapping[str, object]] | None = None, hash_: str = "a" * 64
) -> Document:
    """A deployed document that accepts what it is told to accept."""
    return Document(
        name=name,
        version="3",
        hash=hash_,
        content={"schemaVersion": "2.2", "parameters": parameters or {}, "mainSteps": []},
    )


def documents(*others: Document) -> dict[str, Document]:
    """The fixed documents that every bake runs, and ``others``."""
    fixed = [document(fixed_document(stem)) for stem in FIXED]
    return {found.name: found for found in (*fixed, *others)}


def world(**changes: Any) -> World:
    """All that Plan looks at, for a first bake that nothing is wrong with."""
    in_order = World(
        bake="bake-1",
        name="web",
        recipe=recipe(),
        region="eu-west-1",
        now=NOW,
        base=IMAGE,
        instance_types=("t3.medium",),
        known_types={"t3.medium": NITRO},
        subnets=(Subnet("subnet-1", "eu-west-1a", public=False),),
        instance_profile="arn:aws:iam::111122223333:instance-profile/builder",
        test_profile="arn:aws:iam::111122223333:instance-profile/test",
        documents=documents(),
        current=Current(),
        current_image=None,
        account="111122223333",
    )
    return replace(in_order, **changes)
