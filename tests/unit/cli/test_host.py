"""Reading what `inspect-host` has told."""

import pytest

from scripts.bakery_cli.host import SENTINEL, IncompleteReportError, read
from tests.unit.cli.hosts import CHEF_12, PLAIN, host


def test_facts_lists_and_the_past_are_read() -> None:
    found = host()
    assert (found.past, found.chef, found.system) == ("chef-12", "chef-12", "Ubuntu 18.04.6 LTS")
    assert found.layers == {"web": "Web servers"}
    assert found.run_lists == {
        "setup": ("shop::packages", "shop::web"),
        "deploy": ("shop::release",),
    }
    assert found.cookbooks and found.cookbooks.revision == "v7"
    assert [(it.name, it.there) for it in found.applications] == [("shop", True)]
    assert [(it.name, it.opsworks, it.keys) for it in found.users] == [
        ("ubuntu", False, 2),
        ("carol", True, 1),
    ]
    assert found.mounts[1].size == 104857600
    assert found.fstab[2].options == ("defaults", "nofail")
    assert found.more == {"secret": 3}


def test_a_host_without_a_past_has_none_whatever_its_chef() -> None:
    assert host(PLAIN).past == "none"
    other = host(PLAIN.replace("chef\tnone", "chef\tother"))
    assert (other.past, other.chef) == ("none", "other")


def test_what_goes_anyway_is_no_secret_and_no_leftover_of_the_image() -> None:
    found = host()
    assert found.secrets == ("/srv/www/shop/.env",)
    assert [it.what for it in found.stays] == ["/etc/ganglia/gmond.conf"]
    assert found.crons == ("/etc/cron.d/shop",)


def test_a_folder_takes_what_is_in_it_and_nothing_beside_it() -> None:
    chef = next(it for it in host().removals if it.kind == "folder")
    assert chef.takes("/opt/chef") and chef.takes("/opt/chef/bin/chef-client")
    assert not chef.takes("/opt/chefs") and not chef.takes("/opt")
    package = next(it for it in host().removals if it.kind == "package")
    assert not package.takes("opsworks-agent-ruby")


@pytest.mark.parametrize("text", ["", CHEF_12, CHEF_12 + SENTINEL + " or so\n"])
def test_without_its_last_line_it_is_not_read(text: str) -> None:
    with pytest.raises(IncompleteReportError):
        read(text)


def test_a_list_that_was_cut_ends_before_the_part_that_is_not_whole() -> None:
    assert host(PLAIN, "run-list\tsetup\ta::b,c::d,e::...").run_lists == {"setup": ("a::b", "c::d")}


def test_lines_with_too_few_fields_and_of_other_releases_do_no_harm() -> None:
    found = host(
        PLAIN,
        "mount\t/dev/sdf",
        "user",
        "new\tx\ty\tz",
        "cookbooks\ta\tb\tc\td",
        "application\tshop",
        "more\tuser\tx",
    )
    assert found.mounts[-1].point == "" and found.applications[0].name == "shop"
    assert found.more == {"user": 0}
