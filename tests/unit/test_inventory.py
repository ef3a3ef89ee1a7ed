"""Reading lists of packages, comparing them, and saying in a line what has changed."""

import gzip
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bakery import inventory
from bakery.inventory import (
    FailedReportError,
    IncompleteReportError,
    Inventory,
    Package,
    Report,
    Source,
    System,
    UnreadableInventoryError,
    difference,
    pack,
    read_report,
    summary,
    unpack,
)
from tests.data.packages import AL2023, DEBIAN, SENTINEL
from tests.hostile import TERMINAL, is_plain


def deb(name: str, version: str, *, source: str = "", arch: str = "amd64") -> Package:
    return Package(kind="deb", name=name, version=version, architecture=arch, source=source or name)


def rpm(name: str, version: str) -> Package:
    return Package(kind="rpm", name=name, version=version, architecture="x86_64", source=name)


def report(*packages: Package, kernel: str = "6.1.0") -> Report:
    return Report(system=System(name="Debian 12", kernel=kernel), packages=packages)


def kept(found: Report, *, image: str = "ami-1") -> Inventory:
    return Inventory(
        recipe="web",
        bake="bake-1",
        region="eu-west-1",
        image_id=image,
        image_name="web-1",
        created="2026-01-31T03:00:00Z",
        size_gib=8,
        base_image=Source(id="ami-0", name="base"),
        fingerprint="bakery=1 documents=2 recipe=3",
        system=found.system,
        packages=found.packages,
    )


def told(old: list[Package], new: list[Package]) -> str:
    return summary(kept(report(*old)), report(*new))


# --- reading ---------------------------------------------------------------------------------


def test_what_dpkg_says_is_read() -> None:
    found = read_report(DEBIAN, sentinel=SENTINEL)
    assert found.system == System(
        id="debian",
        version="12",
        name="Debian GNU/Linux 12 (bookworm)",
        kernel="6.1.0-37-cloud-amd64",
        machine="x86_64",
    )
    by_name = {package.name: package for package in found.packages}
    assert by_name["libssl3"].version == "3.0.17-1~deb12u2"
    assert by_name["libssl3"].source == by_name["openssl"].source == "openssl"
    assert by_name["bsdutils"].version == "1:2.38.1-5+deb12u3"
    assert by_name["nginx"].vendor == "nginx"


def test_what_rpm_says_is_read() -> None:
    found = read_report(AL2023, sentinel=SENTINEL)
    assert found.system.id == "amzn"
    by_name = {package.name: package for package in found.packages}
    assert by_name["openssl-libs"].version == "1:3.2.2-1.amzn2023.0.1"
    assert by_name["openssl-libs"].source == "openssl"
    assert by_name["openssl-libs"].vendor == "Amazon Linux"
    assert by_name["amazon-ssm-agent"].source == "amazon-ssm-agent"
    # Built by hand: no vendor, and no source package.
    assert by_name["house-tools"] == rpm("house-tools", "1.0-1").model_copy(
        update={"source": "", "architecture": "noarch"}
    )


@pytest.mark.parametrize("whole", [DEBIAN, AL2023], ids=["deb", "rpm"])
def test_a_report_without_one_of_its_lines_is_incomplete(whole: str) -> None:
    lines = whole.splitlines()
    needed = [n for n, line in enumerate(lines) if not line.startswith(("os-", "kernel", "mach"))]
    for missing in needed:
        text = "\n".join(lines[:missing] + lines[missing + 1 :])
        with pytest.raises(IncompleteReportError):
            read_report(text, sentinel=SENTINEL)


@pytest.mark.parametrize("whole", [DEBIAN, AL2023], ids=["deb", "rpm"])
def test_a_report_that_was_cut_anywhere_is_incomplete(whole: str) -> None:
    for end in range(len(whole) - 1):
        with pytest.raises(IncompleteReportError):
            read_report(whole[:end], sentinel=SENTINEL)
    assert read_report(whole[:-1], sentinel=SENTINEL).packages


def test_parts_that_came_twice_count_once() -> None:
    lines = DEBIAN.splitlines()
    twice = "\n".join([*lines[:7], *lines[4:], *lines[-3:]])
    assert read_report(twice, sentinel=SENTINEL) == read_report(DEBIAN, sentinel=SENTINEL)


def test_the_report_of_another_bake_is_none() -> None:
    with pytest.raises(IncompleteReportError, match="bake-2"):
        read_report(DEBIAN, sentinel="ami-bakery: bake-2 done")


def test_a_host_that_could_not_list_its_packages_says_so() -> None:
    text = DEBIAN.replace("packages\t10", "problem\tno database\npackages\t10")
    with pytest.raises(FailedReportError, match="no database"):
        read_report(text, sentinel=SENTINEL)


def test_a_host_without_a_package_manager_has_no_packages() -> None:
    found = read_report(f"kernel\t6.1\npackages\t0\n{SENTINEL}\n", sentinel=SENTINEL)
    assert found.packages == ()
    assert inventory.first(found) == "0 packages of an unknown system"


# --- comparing -------------------------------------------------------------------------------


def test_each_kind_of_change_is_told_apart() -> None:
    old = [deb("a", "1"), deb("b", "1"), deb("c", "2"), deb("d", "1")]
    new = [deb("a", "1"), deb("b", "2"), deb("c", "1"), deb("e", "1")]
    found = difference(old, new)
    assert [str(change) for change in found] == [
        "b 1 to 2",
        "c 2 to 1",
        "e 1 added",
        "d 1 removed",
    ]
    assert [change.downgraded for change in found.updated] == [False, True]


def test_of_a_package_in_several_versions_all_are_told() -> None:
    (change,) = difference(
        [rpm("kernel", "6.1.9-1"), rpm("kernel", "6.1.10-1")],
        [rpm("kernel", "6.1.11-1"), rpm("kernel", "6.1.10-1")],
    ).updated
    assert str(change) == "kernel 6.1.9-1, 6.1.10-1 to 6.1.10-1, 6.1.11-1"
    assert not change.downgraded


def test_architectures_of_a_package_are_two_packages() -> None:
    found = difference([deb("libc6", "1")], [deb("libc6", "1"), deb("libc6", "1", arch="i386")])
    assert [change.package.architecture for change in found.added] == ["i386"]
    assert not found.updated and not found.removed


PACKAGES = st.lists(
    st.builds(
        deb,
        name=st.sampled_from("abcde"),
        version=st.sampled_from(["1", "2", "3~rc1", "3"]),
        arch=st.sampled_from(["amd64", "all"]),
    ),
    max_size=8,
    unique=True,
)


@settings(deadline=None)
@given(old=PACKAGES, new=PACKAGES)
def test_a_difference_is_the_other_way_round_from_the_other_side(
    old: list[Package], new: list[Package]
) -> None:
    there, back = difference(old, new), difference(new, old)
    assert {(c.old, c.new) for c in there} == {(c.new, c.old) for c in back}
    assert len(there.added) == len(back.removed) and len(there.updated) == len(back.updated)
    assert not list(difference(old, reversed(old)))
    changed = {change.package.place for change in there}
    for place in {package.place for package in (*old, *new)} - changed:
        assert {p for p in old if p.place == place} == {p for p in new if p.place == place}


# --- the one line ----------------------------------------------------------------------------


def test_the_line_counts_and_names_the_most_telling_first() -> None:
    old = [deb(f"lib{n}", "1") for n in range(16)] + [deb("openssl", "3.0.13-1")]
    new = [deb(f"lib{n}", "2") for n in range(16)] + [deb("openssl", "3.0.13-2")]
    new += [deb("zip", "1"), deb("unzip", "1")]
    assert told(old, new).startswith("17 updated, 2 added; openssl 3.0.13-1 to 3.0.13-2, ")


def test_packages_of_one_source_are_named_once() -> None:
    names = ["libssl3", "openssl", "libssl-dev"]
    old = [deb(name, "1", source="openssl") for name in names]
    new = [deb(name, "2", source="openssl") for name in names]
    assert told(old, new) == "3 updated; openssl 1 to 2"


def test_a_downgrade_is_told_before_all_else() -> None:
    old = [deb("openssl", "1"), deb("zlib", "2")]
    new = [deb("openssl", "2"), deb("zlib", "1")]
    assert told(old, new) == "1 updated, 1 downgraded; zlib 2 to 1, openssl 1 to 2"


def test_another_kernel_is_told_though_it_is_no_package() -> None:
    old, new = report(deb("a", "1"), kernel="6.1.0-1"), report(deb("a", "1"), kernel="6.1.0-2")
    assert summary(kept(old), new) == ("no package of 1 has changed; kernel 6.1.0-1 to 6.1.0-2")


def test_nothing_changed_is_said_so() -> None:
    assert told([deb("a", "1")], [deb("a", "1")]) == "no package of 1 has changed"


@settings(deadline=None)
@given(
    names=st.lists(st.text(min_size=1, max_size=300), max_size=5, unique=True),
    version=st.text(min_size=1, max_size=300),
)
def test_the_line_is_never_longer_than_it_may_be(names: list[str], version: str) -> None:
    line = told([deb("z", "1")], [deb(name, version) for name in names])
    assert len(line) <= inventory.MAX_SUMMARY
    system = System(name=version)
    assert len(inventory.first(Report(system=system, packages=()))) <= inventory.MAX_SUMMARY


@pytest.mark.parametrize("hostile", TERMINAL)
def test_what_an_instance_says_of_itself_cannot_break_or_paint_the_line(hostile: str) -> None:
    assert is_plain(told([deb(hostile, "1")], [deb(hostile, hostile)]))
    assert is_plain(inventory.first(Report(system=System(name=hostile), packages=())))
    output = f"problem\t{hostile}\npackages\t0\n{SENTINEL}\n"
    with pytest.raises(FailedReportError) as failed:
        read_report(output, sentinel=SENTINEL)
    assert is_plain(str(failed.value))


# --- keeping ---------------------------------------------------------------------------------


def test_an_inventory_is_read_back_as_it_was_kept_and_kept_as_the_same_bytes() -> None:
    found = kept(read_report(DEBIAN, sentinel=SENTINEL))
    assert unpack(pack(found)) == found
    assert pack(found) == pack(unpack(pack(found)))


def test_damaged_inventories_are_known_as_such() -> None:
    whole = pack(kept(read_report(DEBIAN, sentinel=SENTINEL)))
    damaged = [b"", b"no gzip", whole[:-9], whole[:40] + b"\x00\x01\x02" + whole[43:]]
    damaged += [gzip.compress(text) for text in (b"", b"[]", b'{"format": 1}')]
    for content in damaged:
        with pytest.raises(UnreadableInventoryError):
            unpack(content)


def test_an_inventory_of_a_later_format_is_not_guessed_at() -> None:
    later = kept(report()).model_copy(update={"format": 2})
    with pytest.raises(UnreadableInventoryError, match="format is 2"):
        unpack(pack(later))


def test_what_a_later_release_adds_is_ignored() -> None:
    text = kept(report()).model_dump_json()[:-1] + ', "more": 1}'
    assert unpack(gzip.compress(text.encode())) == kept(report())


def test_inventories_of_two_images_never_share_a_key() -> None:
    keys = [
        inventory.key(recipe, image)
        for recipe, image in itertools.product(("web", "web-a"), ("ami-1", "ami-2"))
    ]
    assert len(set(keys)) == 4
    assert keys[0] == "inventories/web/ami-1.json.gz"
