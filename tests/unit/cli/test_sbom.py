"""The bill of materials holds what CycloneDX says it must."""

import json

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from bakery.inventory import Package, System
from scripts.bakery_cli.sbom import cyclonedx, purl_of
from tests.data.packages import AL2023, DEBIAN
from tests.unit.cli.test_diff import kept

VALIDATOR = JsonStrictValidator(SchemaVersion.V1_6)


@pytest.mark.parametrize("output", [DEBIAN, AL2023], ids=["deb", "rpm"])
def test_it_is_valid_by_the_formats_own_validator(output: str) -> None:
    assert VALIDATOR.validate_str(cyclonedx(kept(output))) is None


def test_the_validator_would_notice() -> None:
    broken = json.loads(cyclonedx(kept(DEBIAN)))
    broken["components"][0]["type"] = "packet"
    assert VALIDATOR.validate_str(json.dumps(broken)) is not None
    broken["components"][0]["type"] = "library"
    broken["serialNumber"] = "1"
    assert VALIDATOR.validate_str(json.dumps(broken)) is not None


def test_every_package_is_in_it_by_its_url() -> None:
    image = kept(AL2023)
    content = json.loads(cyclonedx(image))
    found = {component["purl"]: component for component in content["components"]}
    assert len(found) == len(content["components"]) == len(image.packages)
    openssl = found[
        "pkg:rpm/amzn/openssl-libs@3.2.2-1.amzn2023.0.1"
        "?arch=x86_64&distro=amzn-2023&epoch=1&upstream=openssl"
    ]
    assert openssl["version"] == "1:3.2.2-1.amzn2023.0.1"
    assert openssl["supplier"] == {"name": "Amazon Linux"}
    assert all(PackageURL.from_string(purl).to_string() == purl for purl in found)


def test_it_says_of_which_image_it_is() -> None:
    content = json.loads(cyclonedx(kept(DEBIAN)))
    about = content["metadata"]["component"]
    assert (about["type"], about["name"]) == ("operating-system", "web-20260130T030000Z")
    assert about["version"] == "ami-11111111111111111"
    properties = {it["name"]: it["value"] for it in about["properties"]}
    assert properties["ami-bakery:base-image"] == "ami-0a"
    assert properties["ami-bakery:recipe"] == "web"
    assert content["metadata"]["timestamp"] == "2026-01-30T03:10:00+00:00"


def test_the_same_image_has_the_same_text_and_another_one_another_serial_number() -> None:
    assert cyclonedx(kept(DEBIAN)) == cyclonedx(kept(DEBIAN))
    one, other = (
        json.loads(cyclonedx(kept(DEBIAN, image_id=image)))["serialNumber"]
        for image in ("ami-1", "ami-2")
    )
    assert one != other


@pytest.mark.parametrize(
    ("package", "url"),
    [
        (
            Package(kind="deb", name="g++-12", version="1:12.2-1+b1", architecture="amd64"),
            "pkg:deb/debian/g%2B%2B-12@1:12.2-1%2Bb1?arch=amd64&distro=debian-12",
        ),
        (
            Package(
                kind="deb", name="libssl3", version="3", architecture="arm64", source="openssl"
            ),
            "pkg:deb/debian/libssl3@3?arch=arm64&distro=debian-12&upstream=openssl",
        ),
        (
            Package(kind="rpm", name="x", version="2-1", architecture=""),
            "pkg:rpm/debian/x@2-1?distro=debian-12",
        ),
    ],
)
def test_urls_of_packages(package: Package, url: str) -> None:
    assert purl_of(package, System(id="debian", version="12")).to_string() == url


def test_a_host_that_does_not_say_what_it_is_has_urls_without_a_namespace() -> None:
    package = Package(kind="rpm", name="x", version="2-1", architecture="noarch")
    assert purl_of(package, System()).to_string() == "pkg:rpm/x@2-1?arch=noarch"
