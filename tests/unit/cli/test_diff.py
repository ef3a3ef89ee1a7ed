"""What `bakery diff` shows of two inventories."""

import json
from io import StringIO
from typing import Any

from rich.console import Console

from bakery.inventory import Inventory, Package, Source, read_report
from scripts.bakery_cli import diff
from tests.data.packages import AL2023, DEBIAN, SENTINEL

UPDATED = DEBIAN.replace("3.0.17-1~deb12u2", "3.0.18-1~deb12u1")


def kept(output: str, **changes: Any) -> Inventory:
    found = read_report(output, sentinel=SENTINEL)
    return Inventory(
        **{
            "recipe": "web",
            "bake": "bake-1",
            "region": "eu-west-1",
            "image_id": "ami-11111111111111111",
            "image_name": "web-20260130T030000Z",
            "created": "2026-01-30T03:10:00.000Z",
            "size_gib": 8,
            "base_image": Source(id="ami-0a", name="al2023-1"),
            "fingerprint": "bakery=0.1.0 documents=d1 recipe=r1",
            "system": found.system,
            "packages": found.packages,
            **changes,
        }
    )


OLD = kept(DEBIAN)
NEW = kept(
    UPDATED,
    image_id="ami-22222222222222222",
    image_name="web-20260131T030000Z",
    created="2026-01-31T03:10:00.000Z",
)


def shown(old: Inventory, new: Inventory) -> list[str]:
    out = StringIO()
    diff.show(Console(file=out, width=120, highlight=False), old, new)
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_a_person_sees_which_images_and_what_has_changed() -> None:
    lines = shown(OLD, NEW)
    assert lines[:2] == [
        "From ami-11111111111111111 (web-20260130T030000Z), 2026-01-30 03:10 UTC",
        "  to ami-22222222222222222 (web-20260131T030000Z), 2026-01-31 03:10 UTC",
    ]
    assert "Packages    2 updated; 10 packages now" in lines
    table = [line.split() for line in lines if "updated" in line and "Packages" not in line]
    versions = ["updated", "3.0.17-1~deb12u2", "3.0.18-1~deb12u1"]
    assert table == [["libssl3", "amd64", *versions], ["openssl", "amd64", *versions]]
    assert "Base image  ami-0a (al2023-1), unchanged" in lines
    assert "Inputs      unchanged" in lines
    assert "Size        8 GiB, unchanged" in lines


def test_everything_else_that_differs_is_told() -> None:
    new = kept(
        AL2023,
        recipe="shop",
        size_gib=12,
        base_image=Source(id="ami-0b", name="al2023-2"),
        fingerprint="bakery=0.2.0 documents=d1 recipe=r2",
    )
    lines = shown(OLD, new)
    for line in (
        "Recipe      web -> shop",
        "Base image  ami-0a (al2023-1) -> ami-0b (al2023-2)",
        "Inputs      bakery 0.1.0 -> 0.2.0, recipe changed",
        "System      Debian GNU/Linux 12 (bookworm) -> Amazon Linux 2023.8.20250721",
        "Kernel      6.1.0-37-cloud-amd64 -> 6.1.144-170.251.amzn2023.x86_64",
        "Size        8 GiB -> 12 GiB",
        "Packages    7 added, 10 removed; 7 packages now",
    ):
        assert line in lines


def test_two_images_with_the_same_packages_have_no_table() -> None:
    lines = shown(OLD, kept(DEBIAN))
    assert lines[-1] == "Packages    none has changed; 10 packages now"


def test_a_downgrade_is_called_one() -> None:
    lines = shown(NEW, OLD)
    assert "Packages    2 downgraded; 10 packages now" in lines
    assert sum("downgraded" in line for line in lines) == 3


def test_brackets_in_versions_are_no_markup() -> None:
    package = Package(kind="deb", name="odd", version="1[bold]2", architecture="all")
    odd = kept(DEBIAN, packages=(*OLD.packages, package))
    assert any("1[bold]2" in line for line in shown(OLD, odd))


def test_a_program_gets_the_same_as_json() -> None:
    found = json.loads(diff.as_json(OLD, NEW))
    assert found["old"]["image_id"] == OLD.image_id and "packages" not in found["old"]
    assert found["inputs_changed"] == []
    assert found["packages"]["added"] == found["packages"]["removed"] == []
    assert found["packages"]["updated"][0] == {
        "kind": "deb",
        "name": "libssl3",
        "architecture": "amd64",
        "source": "openssl",
        "old": "3.0.17-1~deb12u2",
        "new": "3.0.18-1~deb12u1",
        "downgraded": False,
    }
    back = json.loads(diff.as_json(kept(AL2023), OLD))["packages"]
    assert {it["new"] for it in back["removed"]} == {None} == {it["old"] for it in back["added"]}
