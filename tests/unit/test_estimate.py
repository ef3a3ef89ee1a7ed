"""Estimates of time and cost: right in size, monotonous, and honest about what is not known."""

from dataclasses import replace

import pytest

from bakery import estimate
from bakery.bake import Estimate
from bakery.resources import InstanceTypeInfo
from tests.unit.samples import NITRO


def test_a_builder_that_was_lost_and_test_instances_cost_as_well() -> None:
    once = estimate.spent(hours=0.5, hourly=0.1)
    assert estimate.spent(hours=0.5, hourly=0.1, others=0.02) == pytest.approx(once + 0.02)


def before(
    *,
    steps: int = 1,
    size_gib: int = 8,
    tests: int = 2,
    machines: float = 0.1,
    windows: bool = False,
    sysprep: bool = False,
) -> Estimate:
    """Of a builder at five cents an hour, and two test instances like it."""
    return estimate.before(
        steps=steps,
        size_gib=size_gib,
        hourly=0.05,
        tests=tests,
        machines=machines,
        windows=windows,
        sysprep=sysprep,
    )


def kind(name: str, vcpus: int, gib: float) -> InstanceTypeInfo:
    return replace(NITRO, name=name, vcpus=vcpus, memory_mib=int(gib * 1024))


# us-east-1, Linux, on-demand, 2026.
@pytest.mark.parametrize(
    ("type_", "usd"),
    [
        (kind("t3.medium", 2, 4), 0.0416),
        (kind("t3.large", 2, 8), 0.0832),
        (kind("m6i.large", 2, 8), 0.096),
        (kind("m6i.4xlarge", 16, 64), 0.768),
        (kind("c6i.large", 2, 4), 0.085),
    ],
)
def test_the_price_of_a_usual_type_is_right_within_a_half(
    type_: InstanceTypeInfo, usd: float
) -> None:
    assert estimate.usd_per_hour(type_, 0) == pytest.approx(usd, rel=0.5)


@pytest.mark.parametrize("type_", [kind("m6i.large", 2, 8), kind("m5.xlarge", 4, 16)])
def test_a_general_purpose_type_is_right_within_15_percent(type_: InstanceTypeInfo) -> None:
    usd = {"m6i.large": 0.096, "m5.xlarge": 0.192}[type_.name]
    assert estimate.usd_per_hour(type_, 0) == pytest.approx(usd, rel=0.15)


# The same with Windows.
@pytest.mark.parametrize(
    ("type_", "usd", "within"),
    [
        (kind("m6i.large", 2, 8), 0.188, 0.15),
        (kind("m5.xlarge", 4, 16), 0.376, 0.15),
        (kind("t3.medium", 2, 4), 0.06, 0.5),
        (kind("t3.xlarge", 4, 16), 0.24, 0.5),
    ],
)
def test_windows_costs_its_licence_as_well(
    type_: InstanceTypeInfo, usd: float, within: float
) -> None:
    dear, plain = estimate.usd_per_hour(type_, 0, windows=True), estimate.usd_per_hour(type_, 0)
    assert dear == pytest.approx(usd, rel=within)
    assert dear > plain


def test_a_windows_bake_takes_longer_and_most_of_all_with_sysprep() -> None:
    linux, plain = before(), before(windows=True)
    sysprepped = before(windows=True, sysprep=True)
    assert plain.minutes - linux.minutes == pytest.approx(15 + 3)  # both boot, the builder longer
    assert sysprepped.minutes - plain.minutes == pytest.approx(10 + 10)  # the stop; the first boot
    assert linux.usd < plain.usd < sysprepped.usd


def test_a_burstable_type_is_cheaper_than_its_like() -> None:
    burstable = estimate.usd_per_hour(kind("t3a.large", 2, 8), 0)
    assert burstable == pytest.approx(estimate.usd_per_hour(kind("m6i.large", 2, 8), 0) / 2)


def test_a_trainium_type_is_not_burstable() -> None:
    assert estimate.usd_per_hour(kind("trn1.2xlarge", 8, 32), 0) == estimate.usd_per_hour(
        kind("m6i.2xlarge", 8, 32), 0
    )


def test_the_root_volume_costs_80_cents_a_month_for_ten_gib() -> None:
    extra = estimate.usd_per_hour(NITRO, 10) - estimate.usd_per_hour(NITRO, 0)
    assert extra * 730 == pytest.approx(0.80)


def test_a_small_bake_takes_minutes_and_cents() -> None:
    guess = before(steps=3, tests=4)
    assert guess.minutes == pytest.approx(12.8)
    assert guess.usd == pytest.approx(7 / 60 * 0.05 + 3 / 60 * 0.1 + 0.001, abs=1e-4)


def test_more_steps_take_longer_and_cost_more() -> None:
    few, many = before(), before(steps=20)
    assert many.minutes - few.minutes == pytest.approx(19)
    assert many.usd > few.usd


def test_a_larger_image_takes_longer_but_the_builder_is_stopped_meanwhile() -> None:
    small, large = before(), before(size_gib=108)
    assert large.minutes - small.minutes == pytest.approx(10)
    assert large.usd == small.usd


def test_more_tests_take_longer_and_cost_on_every_test_instance() -> None:
    few, many = before(tests=2), before(tests=50)
    assert many.minutes - few.minutes == pytest.approx(12)
    assert many.usd - few.usd == pytest.approx(12 / 60 * 0.1, abs=1e-4)
    twice = before(tests=50, machines=0.2)
    assert twice.minutes == many.minutes  # they run at the same time
    assert twice.usd > many.usd


def test_a_test_instance_boots_whatever_is_tested() -> None:
    assert before(tests=0).usd > before(tests=0, machines=0.0).usd


def test_a_bake_that_launched_nothing_costs_next_to_nothing() -> None:
    assert 0 < estimate.spent(hours=0, hourly=5.0) < 0.01


def test_the_cost_is_hours_times_price() -> None:
    assert estimate.spent(hours=2, hourly=0.5) == pytest.approx(1.001)


def test_keeping_an_image_costs_five_cents_a_gib_and_month() -> None:
    assert estimate.monthly_storage(8) == 0.4
