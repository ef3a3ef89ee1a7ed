"""Which image runs on which instance type. Pure rules; sources in aws-facts E6.

Checked before launch because EC2 refuses late, one reason at a time.
"""

from collections.abc import Iterator, Sequence

from bakery.problems import Problem
from bakery.resources import Image, InstanceTypeInfo


def image_problems(path: str, image: Image, *, windows: bool) -> list[Problem]:
    """What makes an image unfit as a base, whatever the instance type.

    ``windows``: the recipe is for Windows, and its documents run nowhere else.
    """
    faults = [*_faults(image), *_platform_faults(image, windows=windows)]
    return [Problem(path, f"image {image.id} ({image.name}) {text}") for text in faults]


def _platform_faults(image: Image, *, windows: bool) -> Iterator[str]:
    # PlatformDetails has texts such as "Windows with SQL Server Standard". Source: EC2 user guide,
    # "AMI billing information fields".
    is_windows = "windows" in image.platform.lower()
    if is_windows and not windows:
        yield (
            "is Windows, and the recipe does not have windows; choose a Linux image, or add "
            "`windows: {}`"
        )
    if windows and not is_windows:
        yield (
            f"is no Windows ({image.platform}), and the recipe has windows; choose a Windows "
            "image, or remove windows"
        )


def _faults(image: Image) -> Iterator[str]:
    if image.state != "available":
        yield f"is {image.state}, not available; choose another base image"
    if image.architecture not in {"x86_64", "arm64"}:
        yield f"is {image.architecture}, not 64-bit; choose its x86_64 or arm64 edition"
    if image.root_device_type != "ebs":
        yield (
            f"has an {image.root_device_type} root, which CreateImage cannot image; "
            "choose an EBS-backed edition, or make one of an instance of it, `bakery convert i-...`"
        )


def type_problems(
    path: str, image: Image, names: Sequence[str], known: dict[str, InstanceTypeInfo]
) -> list[Problem]:
    """A problem for each listed type that does not exist here or cannot run the image."""
    problems: list[Problem] = []
    for index, name in enumerate(names):
        where = f"{path}[{index}]"
        if name not in known:
            problems.append(
                Problem(where, f"'{name}' is no instance type of this Region; correct or remove it")
            )
            continue
        problems += [Problem(where, f"{name} {text}") for text in _clashes(image, known[name])]
    return problems


def _called(image: Image) -> str:
    """What stands for an image that is yet to be made is a running instance."""
    return f"instance {image.id}" if image.id.startswith("i-") else f"image {image.id}"


def _clashes(image: Image, kind: InstanceTypeInfo) -> Iterator[str]:
    if image.architecture not in kind.architectures:
        yield (
            f"runs {' and '.join(kind.architectures)}, but {_called(image)} is "
            f"{image.architecture}; choose types or an image of one architecture"
        )
    if image.virtualization not in kind.virtualizations:
        yield (
            f"runs {' and '.join(kind.virtualizations)} images, but {image.id} is "
            f"{image.virtualization}; choose an hvm image or an older type"
        )
    if image.root_device_type not in kind.root_device_types:
        yield (
            f"does not boot from {image.root_device_type} roots such as that of {image.id}; "
            "choose an EBS-backed image or another type"
        )
    if kind.ena == "required" and not image.ena:
        yield (
            f"requires ENA networking, which {_called(image)} does not declare; "
            "choose an image with ENA support or an older type"
        )
    if (
        image.boot_mode
        and image.boot_mode != "uefi-preferred"
        and image.boot_mode not in kind.boot_modes
    ):
        yield (
            f"boots by {' and '.join(kind.boot_modes)}, but {_called(image)} needs "
            f"{image.boot_mode}; choose a type that lists this boot mode"
        )
    if image.tpm and not kind.tpm:
        yield (
            f"has no NitroTPM, which {_called(image)} needs ({image.tpm}); "
            "choose a type with NitroTPM or an image without it"
        )
