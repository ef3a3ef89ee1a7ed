"""What can be said about the PowerShell documents without PowerShell."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bakery.documents import parameter_problems, script_of
from bakery.recipe import PowershellStep
from infra.loading import load_recipes
from scripts.local import interpolation, powershell
from scripts.local.ssm_rules import prologue_of
from tests.documents.conftest import WINDOWS
from tests.documents.test_injection import HOSTILE, defaults
from tests.documents.windows_sources import COMPUTED, SOURCES

HEAD = "$ErrorActionPreference = 'Stop'\n"
RUN = '& "$env:ProgramFiles\\Amazon\\EC2Launch\\EC2Launch.exe" status\n'


def test_nothing_is_wrong_with_a_script(windows_script: str) -> None:
    assert powershell.findings(windows_script) == []


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("if ($true) {", "no PowerShell at"),
        ("Write-Output 'a", "no PowerShell at"),
        ("$a = $env:A ?? 1", "no PowerShell at"),
        ("$a = $env:A ? 1 : 2", "no PowerShell at"),
        ("$a = $env:A?.Length", "no PowerShell at"),
        ("Write-Output a && Write-Output b", "&& and ||"),
        ("class A { }", "classes"),
        ("enum A { B }", "enumerations"),
        ("$a = [Text.UTF8Encoding]::new($true)", "::new()"),
        ("gci C:\\", "gci is no command"),
        ("Get-Service | % { $_ }", "% is no command"),
        ("Get-Service | where { $_ }", "where is no command"),
        ("Invoke-Expression $env:A", "Invoke-Expression is no command"),
        ("iex $env:A", "iex is no command"),
        ("Get-ComputerInfo", "Get-ComputerInfo is no command"),
        ("Test-Path -Literal $env:A", "-Literal, which is not among"),
        ("& $env:A", "no program of a launch agent"),
        ("& 'C:\\Windows\\notepad.exe'", "no program of a launch agent"),
        ('& "$env:ProgramData\\Amazon\\a.ps1"', "no program of a launch agent"),
        ("Remove-Item -LiteralPath $env:ProgramData -Recurse -Force", "removes something else"),
        ('Remove-Item -LiteralPath "$env:ProgramData\\ami-bakery\\.." -Force', "removes something"),
        ("Write-Output $unset", "$unset is set nowhere"),
        ('Write-Output "a $($unset.b)"', "$unset is set nowhere"),
        ("Write-Output a 2>&1", "redirects"),
        ("Write-Output \u201ca\u201d", "not ASCII"),
        ("[IO.Directory]::Delete($env:A, $true)", "deletes outside Remove-EarlierCommand"),
        ("[IO.File]::Delete($env:A)", "deletes outside Remove-EarlierCommand"),
        ("function Clear-It { [IO.File]::Delete($env:A) }", "deletes outside"),
        ("$value = 1\nConvertFrom-Json $value", "ConvertFrom-Json is given $value"),
        ("$text = 1\n$text | ConvertFrom-Json", "ConvertFrom-Json is given $text"),
        ("$text = 1\n[xml]$text | Out-Null", "Out-Null is given $text"),
        ('$value = 1\nWrite-Output "a $value"', "Write-Output is given $value"),
        (RUN, "nobody looks at its exit code"),
        (f"{RUN}Write-Output a", "nobody looks at its exit code"),
        (f"if ($true) {{\n{RUN}}}", "nobody looks at its exit code"),
    ],
)
def test_what_is_wrong_is_found(line: str, word: str) -> None:
    found = powershell.findings(f"{HEAD}{line}\n")

    assert any(word in text for text in found), found


@pytest.mark.parametrize(
    "line",
    [
        f"{RUN}if ($LASTEXITCODE -ne 0) {{ throw 'a' }}",
        "foreach ($a in Get-Service) { Write-Output $a }",
        "function Get-It($a) { $a.Name }\nGet-It 1",
        "$a = @()\n$a += 1\nWrite-Output $a",
        'Remove-Item -LiteralPath "$env:ProgramData\\ami-bakery" -Recurse -Force',
        "function Remove-EarlierCommand { [IO.Directory]::Delete($env:A, $true) }",
        "function Get-It($a) { $a.Name }\n$value = 1\n$parsed = Get-It $value",
        "$value = 1\n$kinds = 'a' | Where-Object { [regex]::IsMatch($value, $_) }",
    ],
)
def test_what_is_right_is_let_through(line: str) -> None:
    assert powershell.findings(f"{HEAD}{line}\n") == []


def test_a_function_is_the_same_wherever_it_stands(documents: Mapping[str, Any]) -> None:
    """Documents cannot share code, so what they share is copied; but for its own name in it."""
    seen: dict[str, tuple[str, str]] = {}
    for stem in WINDOWS:
        for name, text in powershell.functions(script_of(documents[stem]["mainSteps"][0])).items():
            text = text.replace(f'"{stem}: ', '"STEM: ')
            if name == "Set-FirstBoot":
                # With Sysprep, EC2Launch v2 resets itself.
                text = re.sub(
                    r"\n  if \(\$agent -ceq 'EC2Launch v2'\).*?\n  }", "", text, flags=re.S
                )
            first, there = seen.setdefault(name, (stem, text))
            assert text == there, f"{name} in {stem} differs from that in {first}"
    assert {"Get-LaunchAgent", "Get-Setting", "Get-SettingProblem"} <= seen.keys()


def test_every_place_is_known_from_a_source(windows_script: str) -> None:
    """Nothing about Windows or an agent may be made up: paths, registry keys, programs, tasks."""
    unknown = [text for text in places_of(windows_script) if text not in SOURCES | COMPUTED]

    assert unknown == []


def test_no_source_is_of_a_place_that_nobody_uses(documents: Mapping[str, Any]) -> None:
    used = {
        text for stem in WINDOWS for text in places_of(script_of(documents[stem]["mainSteps"][0]))
    }

    assert (SOURCES | COMPUTED).keys() - used == set()


@pytest.mark.failure(27)
@pytest.mark.parametrize("agent", ["old", "pasting and exporting"])
def test_a_hostile_value_is_refused_or_is_one_text_in_quotes(
    documents: Mapping[str, dict[str, Any]], windows_stem: str, agent: str
) -> None:
    document = documents[windows_stem]
    prologue = prologue_of(script_of(document["mainSteps"][0]))
    for name in document["parameters"]:
        for hostile in [*HOSTILE, "ordinary-1.0_x", "yes", "off"]:
            values = {**defaults(document), name: hostile}
            if parameter_problems(document, {key: [value] for key, value in values.items()}):
                continue
            pasted = interpolation.replace(prologue, values)
            assert powershell.syntax_error(pasted) == ""
            assert list(powershell.literals(pasted))[-len(values) :] == list(values.values())


def places_of(script: str) -> list[str]:
    """What in the script names a place: texts with a backslash, and the arguments of lookups."""
    quoted = list(powershell.literals(script))
    texts = [
        it
        for it in quoted
        if "\\" in it
        and "\n" not in it
        and not it.startswith(("(?", "\\s", "^["))
        # What a text is escaped with.
        and it.strip('\\"')
    ]
    tables = [json.loads(text) for text in powershell.here_strings(script)]
    files = [row["file"] for table in tables for row in table]
    named = re.findall(
        r"GetValue\('(\w+)'\)|-TaskName '([^']+)'|-ClassName (\w+)|-MethodName (\w+)", script
    )
    return [*texts, *files, *("".join(found) for found in named)]


_OF_WINDOWS_ITSELF = (
    *("Get-WindowsFeature", "Import-Module", "Install-WindowsFeature", "Invoke-WebRequest"),
    *("Set-ItemProperty", "Uninstall-WindowsFeature"),
)
"""What recipes of this project use of Server 2012 R2 and newer, beside what documents may."""

SAMPLES = {
    f"{name}: {step.name}": step.script
    for name, recipe in load_recipes(Path(__file__).parents[2] / "recipes").items()
    for step in (*recipe.customize, *recipe.test.steps)
    if isinstance(step, PowershellStep)
}


@pytest.mark.parametrize("script", SAMPLES.values(), ids=SAMPLES)
def test_the_powershell_of_a_sample_recipe_keeps_the_rules_of_ours(script: str) -> None:
    known = {f"{it} is no command that our scripts may use" for it in _OF_WINDOWS_ITSELF}
    found = powershell.findings(script)
    assert [it for it in found if it.partition(": ")[2] not in known] == []
    assert script.startswith("$ErrorActionPreference = 'Stop'\n")
