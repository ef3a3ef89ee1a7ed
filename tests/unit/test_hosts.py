"""Which running hosts are refused, each with its own reason and way out; and what is imaged."""

from dataclasses import replace
from typing import Any

import pytest

from bakery import hosts
from bakery.bake import HostPlan
from bakery.compatibility import type_problems
from bakery.errors import InvalidRecipeError
from bakery.planning import decide
from bakery.recipe import InstanceBase, parse_recipe
from bakery.resources import Host, HostVolume
from tests.unit.samples import GRAVITON, NITRO, content, world

ID = "i-0123456789abcdef0"
ROOT = HostVolume("/dev/xvda", "vol-root", 8)
DATA = HostVolume("/dev/sdf", "vol-data", 20)
KEY = "arn:aws:kms:eu-west-1:111122223333:key/01234567-89ab-cdef-0123-456789abcdef"
HOST = Host(
    id=ID,
    name="web-1",
    state="running",
    instance_type="t3.medium",
    architecture="x86_64",
    virtualization="hvm",
    root_device_type="ebs",
    root_device="/dev/xvda",
    boot_mode=None,
    ena=True,
    tpm=None,
    platform="Linux/UNIX",
    image_id="ami-0123456789abcdef0",
    launched="2016-05-01T00:00:00+00:00",
    volumes=(ROOT, DATA),
)


def source(**fields: Any) -> InstanceBase:
    return InstanceBase(instance=ID, **fields)


def problems(host: Host, *, isolated: bool = True, **fields: Any) -> dict[str, str]:
    found = list(hosts.host_problems(source(**fields), host, isolated=isolated))
    assert len({it.path for it in found}) == len(found)
    return {it.path: it.message for it in found}


def test_a_host_in_order_is_refused_for_nothing() -> None:
    assert problems(HOST) == {}
    assert problems(replace(HOST, state="stopped", name="")) == {}


@pytest.mark.parametrize(
    ("changes", "path", "told", "way_out"),
    [
        ({"state": "stopping"}, "base.instance", "is stopping;", "wait, or start it"),
        ({"architecture": "i386"}, "base.instance", "i386, not 64-bit", "on a 64-bit base"),
        ({"platform": "Windows"}, "base.instance", "is Windows", "name it as base.ami"),
        (
            {"group": "web asg"},
            "base.instance",
            "is in Auto Scaling group web asg, which replaces what fails a health check",
            f"detach-instances --instance-ids {ID} --auto-scaling-group-name 'web asg'",
        ),
        (
            {"product_codes": ("abc123",)},
            "base.instance",
            "product codes of the AWS Marketplace (abc123)",
            "bake from the publisher's current image",
        ),
        ({"bake": "bake-7"}, "base.instance", "is an instance of bake bake-7", "name the host"),
        (
            {"root_device_type": "instance-store"},
            "base.instance",
            "has an instance-store root, which CreateImage cannot image",
            f"`bakery convert {ID}` (docs/opsworks.md, 'Instance store')",
        ),
        (
            {"instance_type": "m3.large", "instance_stores": 1},
            "base.instance",
            "is of type m3.large, which comes with 1 instance store volume, and no image has",
            "write instance_store: leave_out",
        ),
        (
            {"volumes": (replace(ROOT, kms_key=KEY, key_state="Disabled"),)},
            "base.instance",
            f"has volume vol-root (/dev/xvda), encrypted with {KEY}, which is Disabled",
            "not Enabled",
        ),
        (
            {"volumes": (replace(ROOT, kms_key=KEY, key_state="unknown"),)},
            "base.instance",
            "which KMS does not know here",
            "cannot be read any more",
        ),
        (
            {"volumes": (replace(ROOT, kms_key=KEY, key_state="denied"),)},
            "base.instance",
            "which this account may not look at",
            "have the key's policy let",
        ),
        (
            {"managed": False},
            "base.unmanaged",
            "does not report to Systems Manager",
            "install the SSM agent on it, and give it a role with AmazonSSMManagedInstanceCore",
        ),
    ],
)
def test_each_refusal_has_its_own_reason_and_way_out(
    changes: dict[str, Any], path: str, told: str, way_out: str
) -> None:
    found = problems(replace(HOST, **changes))
    assert set(found) == {path}
    assert found[path].startswith(f"instance {ID} (web-1) ")
    assert told in found[path]
    assert way_out in found[path]


def test_a_deployment_without_a_network_for_clones_is_told_what_to_deploy() -> None:
    found = problems(HOST, isolated=False)
    assert "clone_egress" in found["base.instance"]
    assert "cannot act as the original" in found["base.instance"]


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"instance_stores": 2}, {"instance_store": "leave_out"}),
        ({"managed": False}, {"unmanaged": "allow"}),
        # What is left out need not be read.
        ({"volumes": (ROOT, replace(DATA, kms_key=KEY, key_state="Disabled"))}, {}),
        ({"volumes": (replace(ROOT, kms_key=KEY),)}, {}),
    ],
)
def test_what_the_recipe_allows_is_no_problem(
    changes: dict[str, Any], fields: dict[str, Any]
) -> None:
    assert problems(replace(HOST, **changes), **fields) == {}


def test_the_key_of_data_that_comes_along_must_be_usable() -> None:
    host = replace(HOST, volumes=(ROOT, replace(DATA, kms_key=KEY, key_state="PendingDeletion")))
    found = problems(host, data_volumes="include")
    assert "vol-data (/dev/sdf)" in found["base.instance"]
    assert "PendingDeletion" in found["base.instance"]


def test_all_reasons_are_told_at_once() -> None:
    host = replace(HOST, state="pending", group="web", managed=False, product_codes=("x",))
    found = list(hosts.host_problems(source(), host, isolated=False))
    assert [it.path for it in found] == [
        *["base.instance"] * 3,
        "base.unmanaged",
        "base.instance",
    ]


@pytest.mark.parametrize(
    ("fields", "state", "leave_out", "reboot"),
    [
        ({}, "running", ("/dev/sdf",), False),
        ({"data_volumes": "include"}, "running", (), False),
        ({"quiesce": "reboot"}, "running", ("/dev/sdf",), True),
        # It is on the disk already, and a stopped host is not started.
        ({"quiesce": "reboot"}, "stopped", ("/dev/sdf",), False),
    ],
)
def test_what_is_imaged_and_how(
    fields: dict[str, Any], state: str, leave_out: tuple[str, ...], reboot: bool
) -> None:
    found = hosts.plan(
        source(**fields), replace(HOST, state=state), bake="bake-1", tags={"Owner": "x"}
    )
    assert found == HostPlan(
        instance_id=ID,
        image_name="ami-bakery-clone/bake-1",
        leave_out=leave_out,
        reboot=reboot,
        tags={"Owner": "x"},
    )


def test_no_schedule_restarts_a_host() -> None:
    base = {"instance": ID, "quiesce": "reboot"}
    slots = {"cron": "0 3 * * ? *"}
    parse_recipe("web", content(base=base))
    parse_recipe("web", content(base={"instance": ID}, schedule=slots))
    with pytest.raises(InvalidRecipeError) as caught:
        parse_recipe("web", content(base=base, schedule=slots))
    (problem,) = caught.value.problems
    assert problem.path == "base.quiesce"
    assert f"would restart {ID} at every slot; remove the schedule" in problem.message


@pytest.mark.parametrize("quiesce", ["stop", "freeze", {"document": "AmiBakery-flush"}, True])
def test_no_bake_stops_a_host_or_runs_anything_on_it(quiesce: object) -> None:
    with pytest.raises(InvalidRecipeError) as refused:
        parse_recipe("web", content(base={"instance": ID, "quiesce": quiesce}))
    (problem,) = refused.value.problems
    assert problem.path == "base.quiesce"
    if quiesce == "stop":
        assert "stop it yourself, bake, and start it again, or write reboot" in problem.message
    elif quiesce is not True:
        assert "asks for something that runs on the host, and nothing does" in problem.message
        assert "hold it yourself" in problem.message and "or write reboot" in problem.message


def test_types_are_compared_with_the_host_by_its_name() -> None:
    image = hosts.as_image(replace(HOST, architecture="arm64"), "111122223333")
    (problem,) = type_problems("builder.instance_types", image, ["t3.medium"], {"t3.medium": NITRO})
    assert f"but instance {ID} is arm64" in problem.message
    uefi, types = replace(image, boot_mode="uefi"), {"t4g.medium": GRAVITON}
    assert type_problems("x", uefi, ["t4g.medium"], types) == []


def of_host(**changes: Any) -> Any:
    recipe = parse_recipe("web", content(base={"instance": ID}))
    image = hosts.as_image(HOST, "111122223333")
    return world(**{"recipe": recipe, "host": HOST, "base": image, "isolated": True, **changes})


def test_the_plan_images_the_host_and_isolates_its_clone() -> None:
    plan = decide(of_host(), force=False)
    assert plan.host == HostPlan(
        instance_id=ID, image_name="ami-bakery-clone/bake-1", leave_out=("/dev/sdf",)
    )
    assert plan.launch.isolated
    assert (plan.base_image.id, plan.base_image.size_gib) == (ID, 8)
    assert plan.image_tags["ami-bakery:base-image"] == ID
    # Imaging 8 GiB comes before the rest.
    ordinary = decide(world(), force=False)
    assert ordinary.host is None
    assert not ordinary.launch.isolated
    assert plan.estimate.minutes > ordinary.estimate.minutes + 2


def test_its_problems_are_those_of_a_host_not_of_an_image() -> None:
    with pytest.raises(InvalidRecipeError) as refused:
        decide(of_host(host=replace(HOST, group="web"), isolated=False), force=False)
    messages = [it.message for it in refused.value.problems]
    assert len(messages) == 2
    assert not any("choose another base image" in it for it in messages)


def test_a_volume_that_is_smaller_than_the_hosts_is_refused() -> None:
    recipe = parse_recipe(
        "web", content(base={"instance": ID}, builder={"root_volume": {"size_gib": 4}})
    )
    with pytest.raises(InvalidRecipeError) as refused:
        decide(of_host(recipe=recipe), force=False)
    assert [it.path for it in refused.value.problems] == ["builder.root_volume.size_gib"]
