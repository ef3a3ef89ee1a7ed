"""Which image runs on which instance type."""

from dataclasses import replace
from typing import Any

import pytest

from bakery.compatibility import image_problems, type_problems
from bakery.resources import Image, InstanceTypeInfo
from tests.unit.samples import GRAVITON, IMAGE, NITRO, XEN

KNOWN = {kind.name: kind for kind in (NITRO, GRAVITON, XEN)}


def image(**changes: Any) -> Image:
    return replace(IMAGE, **changes)


def clashes(image_: Image, kind: InstanceTypeInfo) -> list[str]:
    found = type_problems("builder.instance_types", image_, [kind.name], {kind.name: kind})
    assert {problem.path for problem in found} <= {"builder.instance_types[0]"}
    assert all(problem.message.startswith(kind.name) for problem in found)
    return [problem.message for problem in found]


@pytest.mark.parametrize(
    ("image_", "kind"),
    [
        (image(), NITRO),
        (image(boot_mode=None), NITRO),
        (image(boot_mode="uefi"), NITRO),
        (image(boot_mode="legacy-bios"), NITRO),
        (image(tpm="v2.0", boot_mode="uefi"), NITRO),
        (image(architecture="arm64"), GRAVITON),
        (image(architecture="arm64", boot_mode=None), GRAVITON),
        (image(ena=False), XEN),
        (image(virtualization="paravirtual"), XEN),
        (image(boot_mode="uefi-preferred"), XEN),
        (image(ena=False), replace(NITRO, ena="supported")),
    ],
)
def test_an_image_that_runs_on_the_type_has_no_problem(
    image_: Image, kind: InstanceTypeInfo
) -> None:
    assert clashes(image_, kind) == []


@pytest.mark.parametrize(
    ("image_", "kind", "says"),
    [
        (
            image(architecture="arm64"),
            NITRO,
            "runs x86_64, but image ami-0123456789abcdef0 is arm64",
        ),
        (image(), GRAVITON, "runs arm64, but image ami-0123456789abcdef0 is x86_64"),
        (image(architecture="arm64"), XEN, "runs i386 and x86_64, but"),
        (image(architecture="i386"), NITRO, "is i386; choose types or an image"),
        (image(virtualization="paravirtual"), NITRO, "runs hvm images, but"),
        (image(root_device_type="instance-store"), NITRO, "not boot from instance-store roots"),
        (image(boot_mode="uefi"), XEN, "boots by legacy-bios, but"),
        (image(boot_mode="legacy-bios", architecture="arm64"), GRAVITON, "boots by uefi, but"),
        (image(ena=False), NITRO, "requires ENA networking"),
        (image(tpm="v2.0"), replace(NITRO, tpm=False), "has no NitroTPM, which image"),
    ],
)
def test_a_clash_is_one_problem_that_names_both_and_the_remedy(
    image_: Image, kind: InstanceTypeInfo, says: str
) -> None:
    (message,) = clashes(image_, kind)
    assert says in message
    assert image_.id in message
    assert "; choose " in message


def test_every_clash_of_one_type_is_reported() -> None:
    found = clashes(
        image(virtualization="paravirtual", ena=False, boot_mode="uefi", tpm="v2.0"), XEN
    )
    assert len(found) == 2
    assert len(clashes(image(architecture="arm64", virtualization="paravirtual"), NITRO)) == 2


def test_each_listed_type_is_looked_at_and_named_by_its_index() -> None:
    found = type_problems("types", image(), ["t3.medium", "x9.huge", "t4g.medium"], KNOWN)
    assert [problem.path for problem in found] == ["types[1]", "types[2]"]


def test_an_unknown_type_is_refused_with_its_name() -> None:
    (problem,) = type_problems("types", image(), ["x9.huge"], KNOWN)
    assert problem.message == "'x9.huge' is no instance type of this Region; correct or remove it"


def test_a_sound_image_is_a_base() -> None:
    assert image_problems("base", image(), windows=False) == []
    assert image_problems("base", image(architecture="arm64"), windows=False) == []
    assert image_problems("base", image(platform="Windows"), windows=True) == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"state": "pending"}, "is pending, not available"),
        ({"state": "disabled"}, "is disabled, not available"),
        ({"state": "deregistered"}, "is deregistered, not available"),
        ({"architecture": "i386"}, "is i386, not 64-bit"),
        ({"root_device_type": "instance-store"}, "has an instance-store root"),
    ],
)
@pytest.mark.parametrize("windows", [True, False])
def test_an_unfit_image_is_refused_whatever_the_type(
    changes: dict[str, str], says: str, windows: bool
) -> None:
    platform = "Windows" if windows else "Linux/UNIX"
    (problem,) = image_problems("base", image(platform=platform, **changes), windows=windows)
    assert problem.path == "base"
    assert problem.message.startswith(f"image {IMAGE.id} ({IMAGE.name}) {says}")
    assert "; choose " in problem.message


@pytest.mark.parametrize(
    ("platform", "windows", "says"),
    [
        ("Windows", False, "is Windows, and the recipe does not have windows; choose a Linux"),
        ("Windows with SQL Server Standard", False, "is Windows, and the recipe"),
        ("Windows BYOL", False, "is Windows, and the recipe"),
        ("Linux/UNIX", True, "is no Windows (Linux/UNIX), and the recipe has windows; choose"),
        ("Red Hat Enterprise Linux", True, "is no Windows (Red Hat Enterprise Linux)"),
        ("Linux with SQL Server Web", True, "is no Windows (Linux with SQL Server Web)"),
    ],
)
def test_an_image_of_the_other_platform_is_refused_both_ways(
    platform: str, windows: bool, says: str
) -> None:
    there = image(platform=platform)
    (problem,) = image_problems("base", there, windows=windows)
    assert problem.path == "base"
    assert says in problem.message
    assert "; choose " in problem.message
    assert image_problems("base", there, windows=not windows) == []


def test_every_fault_of_an_image_is_reported() -> None:
    bad = image(state="disabled", architecture="i386", root_device_type="instance-store")
    assert len(image_problems("base", bad, windows=False)) == 3
    assert len(image_problems("base", bad, windows=True)) == 4
