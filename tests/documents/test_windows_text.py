"""What the PowerShell documents make of a text, by their own expressions; and what comes first."""

import re
from collections.abc import Mapping
from typing import Any

import pytest

from bakery.documents import script_of

Documents = Mapping[str, dict[str, Any]]


def script(documents: Documents, stem: str) -> str:
    return script_of(documents[stem]["mainSteps"][0])


def expression(text: str, before: str) -> str:
    """The expression in single quotes, or in double ones, that follows."""
    found = re.search(re.escape(before) + r"""(?:'((?:[^']|'')+)'|"([^"]+)")""", text)
    assert found is not None, before
    return found[1] or found[2]


def verdict(documents: Documents, log: str) -> list[str]:
    """What of an agent.log makes test-image-windows fail, where the status is 1."""
    text = script(documents, "test-image-windows")
    errors = re.findall(expression(text, "ReadAllText($log), "), log)
    harmless = re.compile(expression(text, "$_ -notmatch "), re.IGNORECASE)
    return [it for it in errors if not harmless.search(it)]


@pytest.mark.parametrize(
    ("line", "fails"),
    [
        ("2025-12-17 21:41:05 Error: Script produced error output.", True),
        ("2025-12-17 21:08:30 Error: Error initializing agent-config.yml", True),
        ("2025-12-17 21:41:05 Error: failed to get meta-data/public-keys/0/openssh-key", False),
        ("2025-12-17 21:41:05 Error: unable to encrypt the password", False),
        ("2025-12-17 21:41:05 Info: Error: no error", False),
        ("2025-12-17 21:40:15 Console: EC2LaunchTelemetry: AgentCommandErrorCode=1", False),
    ],
)
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_ec2launch_v2_may_fail_for_want_of_a_key_pair_and_for_nothing_else(
    documents: Documents, line: str, fails: bool, ending: str
) -> None:
    log = ending.join(["2025-12-17 21:40:15 Info: Getting user data", line, ""])
    assert (verdict(documents, log) != []) == fails


@pytest.mark.parametrize(
    ("steps", "left"),
    [
        ("generalize-windows-without-sysprep", False),
        ("sysprep-windows", False),
        ("verify-windows", False),
        ("", False),
        ("run", True),
        ("PatchWindows", True),
        ("sysprep-windows run", True),
    ],
)
def test_only_the_last_documents_may_be_left_with_the_ssm_agent(
    documents: Documents, steps: str, left: bool
) -> None:
    may = expression(script(documents, "verify-windows"), "($steps -join ' ') -notmatch ")
    assert (re.search(may, steps) is None) == left


def test_the_version_of_ec2launch_v1_is_read_from_its_module(documents: Documents) -> None:
    read = expression(script(documents, "prepare-windows"), 'Ec2Launch.psd1"), ')
    manifest = "@{\r\n  # ModuleVersion = '0.1'\r\n  ModuleVersion = '1.3.2003498'\r\n}"
    assert re.findall(read, manifest) == ["1.3.2003498"]


@pytest.mark.parametrize(
    ("document_of", "first", "then"),
    [
        # A restart while Windows is being set up breaks it.
        ("prepare-windows", "(Get-ImageState) -cne 'IMAGE_STATE_COMPLETE'", "exit 3010"),
        ("prepare-windows", "status --block", "exit 3010"),
        ("prepare-windows", "(Test-Initializing)", "exit 3010"),
        # A file is judged, and the password asked for, before anything is written or deleted.
        ("sysprep-windows", "$value = Get-SpecifiedPassword", "Set-AgentSetting $agent\n"),
        ("sysprep-windows", "\n  Set-AgentSetting $agent\n", "\n  Remove-EarlierCommand\n"),
        ("sysprep-windows", "Set-FirstBoot $agent\n", "-MethodName Create"),
        ("sysprep-windows", "-MethodName Create", '"ami-bakery: $env:SSM_Bake sysprep"'),
    ],
)
def test_this_comes_first(documents: Documents, document_of: str, first: str, then: str) -> None:
    text = script(documents, document_of)
    assert 0 <= text.find(first) < text.find(then)


@pytest.mark.parametrize(
    "document_of", ["generalize-windows-without-sysprep", "sysprep-windows", "verify-windows"]
)
def test_an_agents_file_is_read_and_written_in_its_own_encoding(
    documents: Documents, document_of: str
) -> None:
    text = script(documents, document_of)
    judged = re.findall(r"Get-SettingProblem \$setting (\S+)", text)
    assert set(judged) <= {"$after", "(Read-Text"} and judged
    assert all("(Get-FileEncoding $path))" in it for it in re.findall(r".*WriteAllText.*", text))
    assert "$text = Read-Text $path" in text
    if document_of != "verify-windows":
        assert "$before = Read-Text $path" in text
        assert re.findall(r".*WriteAllText.*", text)


def test_a_member_of_a_domain_is_refused_only_without_sysprep(documents: Documents) -> None:
    text = script(documents, "verify-windows")
    found = re.search(r"if \(\$system\.PartOfDomain\) \{(.+?)\n\}", text, re.DOTALL)
    assert found is not None
    sysprep, without = found[1].split("else {")
    assert "$env:SSM_Sysprep -ceq 'yes'" in sysprep and "$residues" not in sysprep
    assert "$residues += " in without
