"""What a bake takes: minutes and US dollars, as estimates.

Prices are a linear fit to us-east-1's on-demand list for Linux (2026), and for Windows what that
costs more for each vCPU: general purpose types come out within about 15 %. They are for comparing
recipes, not for invoices: a spot builder, whose price changes by the hour, counts as on-demand.
"""

import re

from bakery.bake import Estimate, FastLaunchCost
from bakery.recipe import FastLaunch
from bakery.resources import InstanceTypeInfo

_USD_PER_VCPU_HOUR = 0.037
_USD_PER_GIB_HOUR = 0.00275
_BURSTABLE_SHARE = 0.5
_WINDOWS_USD_PER_VCPU_HOUR = 0.046
_WINDOWS_BURSTABLE_SHARE = 0.25
"""Of burstable types the licence is priced by their baseline: 20 to 40 % of a vCPU."""
_VOLUME_USD_PER_GIB_MONTH = 0.08
_SNAPSHOT_USD_PER_GIB_MONTH = 0.05
_HOURS_PER_MONTH = 730
# Transitions of one bake at $0.025 per thousand, and about thirty short Lambda calls.
_ORCHESTRATION_USD = 0.001

_FAST_LAUNCH_USD_PER_HOUR = 0.24
"""A t3.xlarge with Windows, the type that EC2's guide has for it."""
_FAST_LAUNCH_HOURS = 0.5

_FIXED_MINUTES = 4.0
"""Launch, agent, preparation, identity, stop: published durations, aws-facts E12."""
_MINUTES_PER_STEP = 1.0
_BOOT_MINUTES = 2.0
_WINDOWS_BOOT_MINUTES = 15.0
"""The first boot of an image that Sysprep has generalized, such as Amazon's own: aws-facts E12."""
_WINDOWS_PLAIN_BOOT_MINUTES = 5.0
"""Of one that it has not: no set-up, and no restarts."""
_SYSPREP_MINUTES = 10.0
_MINUTES_PER_TEST = 0.25
_IMAGE_MINUTES = 2.0
_IMAGE_MINUTES_PER_GIB = 0.1


def usd_per_hour(kind: InstanceTypeInfo, size_gib: int, *, windows: bool = False) -> float:
    """A running builder of this type with this root volume."""
    compute = kind.vcpus * _USD_PER_VCPU_HOUR + kind.memory_mib / 1024 * _USD_PER_GIB_HOUR
    licence = kind.vcpus * _WINDOWS_USD_PER_VCPU_HOUR if windows else 0.0
    if re.match(r"t\d", kind.name):  # not trn1, which is not burstable
        compute *= _BURSTABLE_SHARE
        licence *= _WINDOWS_BURSTABLE_SHARE
    return compute + licence + size_gib * _VOLUME_USD_PER_GIB_MONTH / _HOURS_PER_MONTH


def before(
    *,
    steps: int,
    size_gib: int,
    hourly: float,
    tests: int,
    machines: float,
    windows: bool = False,
    sysprep: bool = False,
    cloned_gib: int = 0,
) -> Estimate:
    """A guess before the bake: how long, and what for.

    ``tests`` is how many run on each test instance, ``machines`` what all of those cost in an hour,
    ``cloned_gib`` what a running host has that is imaged first.
    ``sysprep``: it stops the builder, and the test instances set themselves up.
    """
    running = _FIXED_MINUTES + steps * _MINUTES_PER_STEP
    boot = _BOOT_MINUTES
    if windows:
        running += _WINDOWS_BOOT_MINUTES + (_SYSPREP_MINUTES if sysprep else 0.0)
        boot = _WINDOWS_BOOT_MINUTES if sysprep else _WINDOWS_PLAIN_BOOT_MINUTES
    imaging = _IMAGE_MINUTES + size_gib * _IMAGE_MINUTES_PER_GIB
    cloning = _IMAGE_MINUTES + cloned_gib * _IMAGE_MINUTES_PER_GIB if cloned_gib else 0.0
    testing = boot + tests * _MINUTES_PER_TEST
    return Estimate(
        minutes=round(cloning + running + imaging + testing, 1),
        usd=spent(hours=running / 60, hourly=hourly, others=testing / 60 * machines),
    )


def spent(*, hours: float, hourly: float, others: float = 0.0) -> float:
    """The cost of a bake whose builder ran for ``hours``; storage is ``monthly_storage``.

    ``others`` is what a builder cost that was replaced, and what the test instances did.
    """
    return round(hours * hourly + others + _ORCHESTRATION_USD, 4)


def fast_launch(region: str, wanted: FastLaunch, size_gib: int) -> FastLaunchCost:
    """What EC2 does for one image's fast launch in one Region, at the prices of us-east-1.

    At most: half an hour for each first boot is what EC2 allows, snapshots have used blocks only,
    and one that a launch has used up is gone; each launch costs one more such boot.
    Source: EC2 user guide, "Manage costs for EC2 Fast Launch underlying resources".
    """
    hourly = _FAST_LAUNCH_USD_PER_HOUR + size_gib * _VOLUME_USD_PER_GIB_MONTH / _HOURS_PER_MONTH
    return FastLaunchCost(
        region=region,
        usd=round(wanted.snapshots * _FAST_LAUNCH_HOURS * hourly, 2),
        monthly_usd=round(wanted.snapshots * monthly_storage(size_gib), 2),
    )


def monthly_storage(size_gib: int) -> float:
    """An upper bound for keeping the image: snapshots store only blocks in use."""
    return round(size_gib * _SNAPSHOT_USD_PER_GIB_MONTH, 2)
