"""All that is tested of the PowerShell documents' settings with Python, with .NET instead.

The documents edit the agents' files with .NET's regular expressions. Here the tests of
`tests/documents` run once more, with these in place of Python's; and both are compared on files
that nobody wrote.
"""

import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bakery.documents import script_of
from tests.documents import test_windows_settings as python
from tests.documents.conftest import FOLDER
from tests.documents.test_windows_settings import *  # noqa: F403
from tests.dotnet import net

pytestmark = pytest.mark.dotnet


def edit(text: str, rows: list[python.Row], password: str = "") -> str:
    """Set-AgentSetting, by .NET."""
    for row in rows:
        replacement = net.replacement_of(row, python.quoted(password, row["file"]))
        text = net.replace(text, row["find"], replacement)
        if wrong := judge(row, text):
            raise ValueError(wrong)
    return text


def judge(row: python.Row, text: str) -> str:
    """Get-SettingProblem, by .NET."""
    if row["must"] and not net.is_match(text, row["must"]):
        return f"{row['about']}: not as it must be"
    if row["never"] and net.is_match(text, row["never"]):
        return f"{row['about']}: as it must never be"
    return ""


@pytest.fixture(autouse=True, scope="module")
def by_net() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(python, "edited", edit)
        patch.setattr(python, "problem_of", judge)
        yield


def test_it_is_net_that_judges() -> None:
    """Not Python's: of a subtraction in a class, only .NET knows."""
    assert net.is_match("b", "^[a-z-[aeiou]]$")
    assert not re.search("^[a-z-[aeiou]]$", "b")
    assert python.edited is edit


TEXTS = {
    "Config.xml": python.config_xml(python.PLUGINS),
    "BundleConfig.xml": "<Name>SetPasswordAfterSysprep</Name>\n <Value>No</Value>",
    "sysprep2008.xml": python.UNATTEND,
    "LaunchConfig.json": json.dumps({**python.LAUNCH_CONFIG, "adminPassword": "a\\b"}, indent=2),
    "agent-config.yml": python.AGENT_CONFIG,
}


@st.composite
def mangled(draw: st.DrawFn) -> tuple[str, str]:
    """A file of an agent, and its text: lines doubled, lost, moved or changed."""
    file = draw(st.sampled_from(sorted(TEXTS)))
    lines = TEXTS[file].split("\n")
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, max(0, len(lines) - 1)))
        line = lines[at] if lines else ""
        lines[at : at + 1] = draw(
            st.sampled_from(
                [
                    *([line, line], [], ["", line], [line.upper()], [f"{line} # x"]),
                    *([f"  {line}"], [line.strip()], ["<!--", line, "-->"], [f"{line}\u00a0"]),
                    *([line.replace("random", "static"), "            data: x"],),
                ]
            )
        )
    return file, draw(st.sampled_from(["\n", "\r\n", "\r"])).join(lines)


@settings(deadline=None, max_examples=500)
@given(mangled())
def test_net_and_python_are_of_one_mind(given_file: tuple[str, str]) -> None:
    file, text = given_file
    for row in (it for it in python.TABLE if it["file"].endswith(f"\\{file}")):
        replacement = net.replacement_of(row, python.quoted("s3cr3t $1", row["file"]))
        after = re.sub(row["find"], partial(python.expanded, replacement), text)
        assert net.replace(text, row["find"], replacement) == after
        for pattern in (row["must"], row["never"]):
            for seen in (text, after):
                assert net.is_match(seen, pattern) == bool(re.search(pattern, seen))


@pytest.mark.parametrize("password", python.PASSWORDS)
def test_net_escapes_a_password_for_xml_as_the_tests_do(password: str) -> None:
    escaped = net.of("System.Security").SecurityElement.Escape(password)
    assert escaped == python.quoted(password, "sysprep2008.xml").replace("$$", "$")


@pytest.mark.parametrize(
    ("content", "marked"),
    [
        (b"<a/>\r\n", False),
        ("\ufeff<a/>".encode(), True),
        ("p\u00e4ss".encode(), False),
        (b"\xff\xfe" + "<a/>\r\n".encode("utf-16-le"), True),
    ],
)
def test_a_file_is_written_as_it_was_read(tmp_path: Path, content: bytes, marked: bool) -> None:
    """What Get-FileEncoding and Read-Text build on."""
    file = tmp_path / "file"
    file.write_bytes(content)
    text, io = net.of("System.Text"), net.of("System.IO").File
    wide = content.startswith(b"\xff\xfe")
    how = text.UnicodeEncoding(False, True, True) if wide else text.UTF8Encoding(marked, True)

    read = io.ReadAllText(str(file), how)
    io.WriteAllText(str(file), read, how)

    assert not read.startswith("\ufeff")
    assert file.read_bytes() == content


def test_a_file_in_another_encoding_is_not_damaged_but_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"<a>p\xe4ss</a>")
    how = net.of("System.Text").UTF8Encoding(False, True)

    with pytest.raises(net.of("System").Exception, match="byte"):
        net.of("System.IO").File.ReadAllText(str(file), how)


def patterns() -> dict[str, Any]:
    """Every regular expression that stands in a PowerShell document by itself, by itself."""
    found: dict[str, Any] = {}
    for path in sorted(FOLDER.glob("*windows*.yaml")):
        script = script_of(yaml.safe_load(path.read_text())["mainSteps"][0])
        for match in re.finditer(
            r"(?:-c?(?:not)?match |::(?:IsMatch|Match|Matches)\([^,]+, )'((?:[^']|'')+)'", script
        ):
            found[match[1]] = path.stem
    return found


@pytest.mark.parametrize("pattern", patterns())
def test_every_other_expression_is_one_of_net(pattern: str) -> None:
    net.is_match("", pattern)
