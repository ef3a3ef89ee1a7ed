"""Two instances of one image are two, or the bake says what they share."""

import pytest

from bakery.identity import (
    WINDOWS,
    WITHOUT_SYSPREP,
    Report,
    UnreadableReportError,
    compare,
    read_report,
)

SENTINEL = "ami-bakery: web-20260131T030000Z done"
FIRST = {
    "machine-id": "0" * 31 + "1",
    "ssh-host-key-ecdsa": "SHA256:ecdsa1",
    "ssh-host-key-ed25519": "SHA256:ed1",
    "cloud-init-instance-id": "i-1",
    "ssm-registration": "i-1",
    "hostname": "ip-10-0-0-1",
}
SECOND = {
    "machine-id": "0" * 31 + "2",
    "ssh-host-key-ecdsa": "SHA256:ecdsa2",
    "ssh-host-key-ed25519": "SHA256:ed2",
    "cloud-init-instance-id": "i-2",
    "ssm-registration": "i-2",
    "hostname": "ip-10-0-0-2",
}
HOST_KEYS = {"ssh-host-key-ecdsa": "", "ssh-host-key-ed25519": ""}


def first(**facts: str) -> Report:
    return Report("i-1", {**FIRST, **{name.replace("_", "-"): it for name, it in facts.items()}})


def second(**facts: str) -> Report:
    return Report("i-2", {**SECOND, **{name.replace("_", "-"): it for name, it in facts.items()}})


def printed(facts: dict[str, str]) -> str:
    lines = [f"identity\t{name}\t{value}" for name, value in facts.items()]
    return "\n".join([*lines, SENTINEL, ""])


def test_a_report_is_read_as_it_was_printed() -> None:
    assert read_report("i-1", printed(FIRST), sentinel=SENTINEL) == first()


def test_lines_that_are_no_facts_are_nobodys_business() -> None:
    noisy = "a warning of the shell\n" + printed(FIRST)
    assert read_report("i-1", noisy, sentinel=SENTINEL) == first()


@pytest.mark.parametrize(
    "stdout",
    [
        "",
        "Step skipped due to unsatisfied preconditions",
        printed(FIRST).replace(SENTINEL, ""),
        printed(FIRST).replace(SENTINEL, "ami-bakery: another-bake done"),
        printed(FIRST) + "--output truncated--",
    ],
)
def test_a_report_that_does_not_end_with_its_sentinel_is_an_error(stdout: str) -> None:
    with pytest.raises(UnreadableReportError, match="i-1 did not report its identity to the end"):
        read_report("i-1", stdout, sentinel=SENTINEL)


@pytest.mark.parametrize(
    "line", ["identity\thostname", "identity\ta\tb\tc", "identity", "identity\tmachine-id\tx"]
)
def test_a_fact_that_is_not_one_or_comes_twice_is_an_error(line: str) -> None:
    with pytest.raises(UnreadableReportError, match="means nothing"):
        read_report(
            "i-1", printed(FIRST).replace(SENTINEL, f"{line}\n{SENTINEL}"), sentinel=SENTINEL
        )


def test_instances_that_differ_in_everything_are_two() -> None:
    comparison = compare(first(), second())
    assert comparison.differ
    assert comparison.cause == ""


@pytest.mark.parametrize("name", FIRST)
def test_whatever_is_shared_is_named_with_its_value(name: str) -> None:
    comparison = compare(first(), Report("i-2", {**SECOND, name: FIRST[name]}))
    assert [finding.fact for finding in comparison.shared] == [name]
    assert not comparison.differ
    assert comparison.cause == (
        f"Instances i-1 and i-2 are not two:\n- {name}: both have {FIRST[name]}"
    )


@pytest.mark.parametrize("name", FIRST)
@pytest.mark.parametrize("how", ["empty", "absent"])
def test_whatever_one_of_them_lacks_is_named_with_the_instance(name: str, how: str) -> None:
    facts = {key: value for key, value in SECOND.items() if key != name}
    comparison = compare(first(), Report("i-2", {**facts, name: ""} if how == "empty" else facts))
    assert comparison.shared == ()
    assert [(it.fact, it.text) for it in comparison.missing] == [(name, "i-2 has none")]
    assert not comparison.differ


def test_what_both_lack_is_missing_and_not_shared() -> None:
    comparison = compare(first(machine_id=""), second(machine_id=""))
    assert comparison.shared == ()
    assert [it.text for it in comparison.missing] == ["i-1 has none", "i-2 has none"]


def test_instances_without_any_host_key_fail() -> None:
    bare = [
        Report(name, {key: value for key, value in facts.items() if key not in HOST_KEYS})
        for name, facts in (("i-1", FIRST), ("i-2", SECOND))
    ]
    comparison = compare(*bare)
    assert {it.fact for it in comparison.missing} == {"ssh-host-key"}
    assert not comparison.differ


def test_everything_comes_at_once() -> None:
    comparison = compare(first(), Report("i-2", {**FIRST, "hostname": ""}))
    assert {it.fact for it in comparison.shared} == FIRST.keys() - {"hostname"}
    assert len(comparison.cause.splitlines()) == 1 + len(FIRST)


def test_a_machine_id_that_nothing_uses_is_neither_shared_nor_missing() -> None:
    assert compare(first(machine_id="unused"), second(machine_id="unused")).differ


def test_a_hostname_that_the_recipe_keeps_may_be_the_same() -> None:
    named = (first(hostname="web"), second(hostname="web"))
    assert not compare(*named).differ
    assert compare(*named, kept=["hostname"]).differ


def test_what_is_kept_must_be_there_all_the_same() -> None:
    assert not compare(first(hostname=""), second(), kept=["hostname"]).differ


def test_no_instances_have_nothing_in_common() -> None:
    assert not compare(Report("i-1", {}), Report("i-2", {})).differ


WINDOWS_FIRST = {
    "machine-sid": "S-1-5-21-1-2-3",
    "machine-guid": "8a6f0e0c-0000-4000-8000-000000000001",
    "computer-name": "EC2AMAZ-0000001",
    "rdp-certificate": "F1",
    "ssm-registration": "i-1",
}
WINDOWS_SECOND = {
    "machine-sid": "S-1-5-21-4-5-6",
    "machine-guid": "8a6f0e0c-0000-4000-8000-000000000002",
    "computer-name": "EC2AMAZ-0000002",
    "rdp-certificate": "F2",
    "ssm-registration": "i-2",
}


def test_two_windows_instances_need_no_linux_facts() -> None:
    one, other = Report("i-1", WINDOWS_FIRST), Report("i-2", WINDOWS_SECOND)
    assert compare(one, other, required=WINDOWS).differ


@pytest.mark.parametrize("fact", list(WINDOWS_FIRST))
def test_after_sysprep_two_windows_instances_share_nothing_and_lack_nothing(fact: str) -> None:
    one = Report("i-1", WINDOWS_FIRST)
    same = Report("i-2", {**WINDOWS_SECOND, fact: WINDOWS_FIRST[fact]})
    without = Report("i-2", {name: it for name, it in WINDOWS_SECOND.items() if name != fact})
    assert [it.fact for it in compare(one, same, required=WINDOWS).shared] == [fact]
    assert [it.fact for it in compare(one, without, required=WINDOWS).missing] == [fact]


def test_without_sysprep_what_they_share_is_told_and_no_failure() -> None:
    shared = {name: WINDOWS_FIRST[name] for name in WITHOUT_SYSPREP}
    one, other = Report("i-1", WINDOWS_FIRST), Report("i-2", {**WINDOWS_SECOND, **shared})
    found = compare(one, other, kept=WITHOUT_SYSPREP, required=WINDOWS)
    assert found.differ
    assert sorted(it.fact for it in found.kept) == sorted(WITHOUT_SYSPREP)
    again = Report("i-2", {**WINDOWS_FIRST, "computer-name": "EC2AMAZ-0000002"})
    found = compare(one, again, kept=WITHOUT_SYSPREP, required=WINDOWS)
    assert [it.fact for it in found.shared] == ["ssm-registration"]
