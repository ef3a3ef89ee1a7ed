"""What the owner of a host must decide."""

import pytest

from bakery.resources import HostVolume
from scripts.bakery_cli.choices import choices, surprises
from tests.unit.cli.hosts import CHEF_12, PLAIN, host, instance


def titles(**more: object) -> list[str]:
    return [it.title for it in choices(host(), instance(**more))]


def about(mount: str, *lines: str, **more: object) -> str:
    """What is said about a line of fstab; empty if nothing."""
    found = surprises(host(PLAIN, *lines), instance(**more))
    return next((it.title for it in found if f" on {mount}: " in it.title), "")


def test_a_plain_host_in_order_leaves_nothing_to_decide() -> None:
    root = (HostVolume("/dev/xvda", "vol-0aaa", 8),)
    assert choices(host(PLAIN), instance(root_device="/dev/xvda", volumes=root)) == []


def test_each_thing_that_only_the_owner_knows_is_said_once() -> None:
    assert titles() == [
        "vol-0bbb (/dev/sdf) is encrypted with arn:aws:kms:x:1:key/2",
        "4 files with secrets: /srv/www/shop/.env and 3 more",
        "Application shop is in /srv/www/shop, from archive https://files.example.com/shop.zip",
        "MySQL is on it",
        "Data volume vol-0bbb (/dev/sdf, 100 GiB) is mounted on /data",
        "/etc/fstab mounts /dev/nvme1n1 on /data: that is volume vol-0bbb, which instances of the "
        "image do not have; without `nofail` an instance stops there when it boots",
        "/etc/fstab mounts /dev/nvme2n1 on /mnt: that is an instance store, which is not part of "
        "an image and not on every type",
        "/etc/fstab mounts /dev/xvdz on /old: that is an instance store, which is not part of an "
        "image and not on every type; without `nofail` an instance stops there when it boots",
        "/etc/fstab mounts fs.example.com:/shop on /shared: it is in the network, and may not be "
        "reachable from where instances of the image run; without `nofail` an instance stops there "
        "when it boots",
        "Only 390 MiB are free on /",
        "Cron runs on it: /etc/cron.d/shop",
    ]


def test_secrets_on_other_disks_are_no_matter_of_the_image() -> None:
    lines = ("secret\t/data/shop/.env", "secret\t/database.key")
    found = {it.title: it.advice for it in choices(host(CHEF_12, *lines), instance())}
    assert "5 files with secrets: /srv/www/shop/.env, /database.key and 3 more" in found
    told = found["1 file with secrets on other disks: /data/shop/.env"]
    assert told.startswith("an image without those disks has none of them")


@pytest.mark.parametrize(
    ("agent", "old"),
    [("2.3.68.0", True), ("2.3.772.0", True), ("2.3.814.0", False), ("3.3.1", False), ("", False)],
)
def test_an_agent_that_a_clone_could_not_use_is_told(agent: str, old: bool) -> None:
    found = [it for it in choices(host(PLAIN), instance(agent=agent)) if "SSM agent" in it.title]
    assert bool(found) == old
    for it in found:
        assert f"Its SSM agent {agent} knows no session tokens" in it.title
        assert "update it on the host" in it.advice


def test_what_plan_refuses_is_said_first_with_its_ways_out() -> None:
    more = {"group": "web-fleet", "root_device_type": "instance-store", "product_codes": ("abc",)}
    found = choices(host(), instance(**more))
    assert [it.title for it in found[:3]] == ["A bake is refused as it is"] * 3
    said = [it.advice for it in found[:3]]
    assert "Auto Scaling group web-fleet" in said[0] and "detach-instances" in said[0]
    assert "AWS Marketplace (abc)" in said[1] and "instance-store root" in said[2]


def test_an_image_that_would_not_run_cloud_init_is_said() -> None:
    broken = host(CHEF_12.replace("first-boot\t", "first-boot\tcloud-init is not installed "))
    assert any(
        "would not run cloud-init: cloud-init is not" in it.title
        for it in choices(broken, instance())
    )


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("fstab\t/dev/xvdb\t/x\tauto\tdefaults,nofail,comment=cloudconfig\t/dev/xvdb", "store"),
        ("fstab\t/dev/xvdb\t/x\text3\tdefaults\t/dev/xvdb", "instance store"),
        ("fstab\t/dev/xvdf1\t/x\text3\tdefaults\t/dev/xvdf1", "volume vol-0bbb"),
        ("fstab\tUUID=9\t/x\text3\tdefaults\tmissing", "no such device"),
        ("fstab\t//server/share\t/x\tcifs\tdefaults\t-", "in the network"),
        ("fstab\t/dev/sda1\t/x\text4\tdefaults\t/dev/xvda1", ""),
        ("fstab\tproc\t/x\tproc\tdefaults\t-", ""),
        ("fstab\t/srv/www\t/x\tnone\tbind\t/srv/www", ""),
        ("fstab\t/dev/mapper/vg-data\t/x\txfs\tdefaults\t/dev/dm-0", ""),
    ],
)
def test_lines_of_fstab(line: str, says: str) -> None:
    found = about("/x", line)
    assert says in found and bool(says) == bool(found)


def test_what_was_not_found_out_or_shown_is_said() -> None:
    found = choices(host(PLAIN, "problem\tno Python", "more\tuser\t7"), instance())
    assert (found[-2].advice, found[-1].advice) == ("no Python", "7 more of kind 'user'")
