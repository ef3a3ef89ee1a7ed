"""``bakery sbom``: the bill of materials of an image, in CycloneDX."""

import uuid
from collections.abc import Iterator
from datetime import datetime

from cyclonedx.model import Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.contact import OrganizationalEntity
from cyclonedx.model.dependency import Dependency
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from bakery import VERSION
from bakery.inventory import Inventory, Package, System

_NAMES = uuid.UUID("6f0b8f0c-6d0b-5b43-9f4f-5f6f1a6a9d0e")
"""Ours, for serial numbers: the same image has the same one."""


def cyclonedx(inventory: Inventory) -> str:
    """CycloneDX 1.6 as JSON; the same text for the same inventory."""
    bom = Bom(serial_number=uuid.uuid5(_NAMES, f"{inventory.region}/{inventory.image_id}"))
    image = Component(
        bom_ref=inventory.image_id,
        type=ComponentType.OPERATING_SYSTEM,
        name=inventory.image_name,
        version=inventory.image_id,
        properties=_properties(inventory),
    )
    bom.metadata.timestamp = datetime.fromisoformat(inventory.created.replace("Z", "+00:00"))
    bom.metadata.component = image
    bom.metadata.tools.components.add(
        Component(type=ComponentType.APPLICATION, name="ami-bakery", version=VERSION)
    )
    packages = [_component(package, inventory.system) for package in inventory.packages]
    bom.components.update(packages)
    # Not register_dependency: it looks for each among all others.
    parts = [Dependency(package.bom_ref) for package in packages]
    bom.dependencies.update([Dependency(image.bom_ref, parts), *parts])
    return JsonV1Dot6(bom).output_as_string(indent=2) + "\n"


def _properties(inventory: Inventory) -> Iterator[Property]:
    facts = {
        "recipe": inventory.recipe,
        "bake": inventory.bake,
        "region": inventory.region,
        "base-image": inventory.base_image.id,
        "fingerprint": inventory.fingerprint,
        "system": inventory.system.name,
        "kernel": inventory.system.kernel,
    }
    for name, value in facts.items():
        yield Property(name=f"ami-bakery:{name}", value=value)


def _component(package: Package, system: System) -> Component:
    purl = purl_of(package, system)
    return Component(
        bom_ref=purl.to_string(),
        type=ComponentType.LIBRARY,
        name=package.name,
        version=package.version,
        purl=purl,
        supplier=OrganizationalEntity(name=package.vendor) if package.vendor else None,
    )


def purl_of(package: Package, system: System) -> PackageURL:
    """The package's URL. Of an rpm the epoch is a qualifier, of a deb it is part of the version.

    Source: package-url specification, types ``deb`` and ``rpm``.
    """
    version, qualifiers = package.version, {"arch": package.architecture}
    if package.kind == "rpm":
        epoch, colon, rest = version.partition(":")
        if colon:
            version, qualifiers["epoch"] = rest, epoch
    if system.id and system.version:
        qualifiers["distro"] = f"{system.id}-{system.version}"
    if package.source and package.source != package.name:
        qualifiers["upstream"] = package.source
    return PackageURL(
        type=package.kind,
        namespace=system.id or None,
        name=package.name,
        version=version,
        qualifiers={name: value for name, value in qualifiers.items() if value},
    )
