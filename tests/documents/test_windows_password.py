"""How sysprep-windows gets a password from Secrets Manager, as far as its text shows it."""

import hashlib
import hmac
import re
from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch

import botocore.auth
import pytest
import yaml
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from bakery.documents import script_of
from scripts.local import powershell
from tests.documents.conftest import FOLDER
from tests.documents.windows_password_lines import known, used

SCRIPT = script_of(yaml.safe_load((FOLDER / "sysprep-windows.yaml").read_text())["mainSteps"][0])
MOMENT = datetime(2026, 11, 26, 15, 0, tzinfo=UTC)
OWN = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG", "session/token==")
VALUES = {
    "$now": "20261126T150000Z",
    "$server": "secretsmanager.eu-west-1.amazonaws.com",
    "$region": "eu-west-1",
    "$($own.Token)": "session/token==",
    "$($own.AccessKeyId)": "AKIDEXAMPLE",
    "$($now.Substring(0, 8))": "20261126",
}
BODY = b'{"SecretId":"office/admin"}'


def filled(text: str, **more: str) -> str:
    """A text in double quotes with the values of its variables."""
    known = {**VALUES, **{f"${name}": value for name, value in more.items()}}
    for name in sorted(known, key=len, reverse=True):
        text = text.replace(name, known[name])
    return text.replace("`n", "\n")


def assigned(name: str) -> str:
    """What stands right of the first assignment to a variable."""
    found = re.search(rf"^\s*\${name} = (.+)$", SCRIPT, re.MULTILINE)
    assert found is not None
    return found[1]


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def by_botocore() -> tuple[Any, AWSRequest, str]:
    """The signer, the request without its signature, and that."""
    request = AWSRequest(
        "POST",
        f"https://{VALUES['$server']}/",
        headers={
            "Content-Type": "application/x-amz-json-1.1",
            "X-Amz-Target": "secretsmanager.GetSecretValue",
        },
        data=BODY,
    )
    signer = botocore.auth.SigV4Auth(OWN, "secretsmanager", "eu-west-1")
    with patch.object(botocore.auth, "get_current_datetime", lambda: MOMENT):
        signer.add_auth(request)
    signature = request.headers["Authorization"]
    del request.headers["Authorization"]
    return signer, request, signature


def test_the_request_is_signed_as_the_sdk_signs_it() -> None:
    """The script's own lines, put together, give the SDK's signature."""
    signer, request, signature = by_botocore()
    names = assigned("names").strip("'")
    listed = re.search(r"\$lines = @\((.*?)\n\s*\)\n", SCRIPT, re.DOTALL)
    assert listed is not None
    items = re.findall(
        r"'([^']*)'|\"((?:[^\"$]|\$\([^)]*\)|\$\w+)*)\"|(\$names)|(\(Get-Digest \$body\))",
        listed[1],
    )
    lines = [
        single or filled(double) or (names if variable else digest(BODY) if hashed else "")
        for single, double, variable, hashed in items
    ]
    canonical = "\n".join(lines)
    assert canonical == signer.canonical_request(request)

    scope = filled(assigned("scope").strip('"'))
    call = '$(Get-Digest (Get-Utf8 ($lines -join "`n")))'
    signed = filled(assigned("signed")[1:-1].replace(call, digest(canonical.encode())), scope=scope)
    assert signed == signer.string_to_sign(request, canonical)

    chain = "foreach ($part in @($scope -split '/') + $signed) { $key = Get-Mac $key $part }"
    assert chain in SCRIPT
    key = b"AWS4" + OWN.secret_key.encode()
    for part in [*scope.split("/"), signed]:
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    header = re.search(r"'Authorization' = \"(.+)\"", SCRIPT)
    assert header is not None
    said = header[1].replace("$(Get-Hex $key)", key.hex())
    assert filled(said, scope=scope, names=names) == signature


RULES = [found[1] for found in re.finditer(r"\$value -cnotmatch '([^']+)'", SCRIPT)] + re.findall(
    r"\$kinds = @\((.+?) \|", SCRIPT
)


def refused(value: str) -> str:
    """What Get-SpecifiedPassword says of a value; empty if it takes it."""
    whole, kinds = RULES
    if not re.search(whole.replace(r"\z", r"\Z"), value):
        return "no password"
    if sum(bool(re.search(kind, value)) for kind in re.findall(r"'([^']+)'", kinds)) < 3:
        return "too simple"
    name = re.search(r"IsMatch\(\$value, '(\(\?i\)administrator)'\)", SCRIPT)
    assert name is not None
    return "name" if re.search(name[1], value) else ""


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("Passw0rd", ""),
        ("pass word 1!", ""),
        ("Tr0ub4dor&3 $1`n<>", ""),
        ("A1b2c", "no password"),
        ("Passw0rd\n", "no password"),
        ("Passw0rd\r", "no password"),
        ("P\u00e4ssw0rd", "no password"),
        ("P\u00c3\u00a4ssw0rd", "no password"),
        ("x" * 128, "no password"),
        ("password1", "too simple"),
        ("PASSWORD1", "too simple"),
        ("correct horse", "too simple"),
        ("myAdministrator1", "name"),
    ],
)
def test_a_password_is_one_that_every_agent_sets(value: str, why: str) -> None:
    assert refused(value) == why
    # What each refusal begins with in the script.
    assert all(f'throw "secret $id is {it}' in SCRIPT for it in ("no password", "too simple"))


# --- where it goes ------------------------------------------------------------------------------


def test_what_may_hold_a_password_is_in_no_line_that_nobody_has_looked_at() -> None:
    """Whoever adds or changes such a line reads it, and says in the list why it tells nobody."""
    found, allowed = used(SCRIPT), known()
    assert sorted((found - allowed).elements()) == []
    assert sorted((allowed - found).elements()) == []


@pytest.mark.parametrize(
    ("before", "line"),
    [
        ("  return $value\n", '[Console]::Out.WriteLine("password: $value")'),
        ("  return $value\n", '[Console]::Out.WriteLine("password: ${Value}")'),
        ("  return $value\n", "$script:kept = $value"),
        ("  return $value\n", "[IO.File]::WriteAllText('C:\\kept', $local:value)"),
        ("  return $value\n", "$value"),
        ("  return $value\n", "return $value"),
        ("  if ($kinds -lt 3) {", "$kept = Get-Item -LiteralPath 'variable:value'"),
        ("  return $answer.SecretString\n", "[Console]::Out.WriteLine($answer)"),
        ("  return $text.Replace('$', '$$')\n", "Write-Problem $text"),
        ("    Assert-Readable $path\n", "[Console]::Out.WriteLine($after)"),
        ("    Assert-Readable $path\n", "[Console]::Out.WriteLine([IO.File]::ReadAllText($path))"),
        ("  Set-AgentSetting $agent\n", "[Console]::Out.WriteLine((Get-SpecifiedPassword))"),
        ("  Set-AgentSetting $agent\n", "[Console]::Out.WriteLine((Get-SecretText $env:A))"),
        ("  Set-AgentSetting $agent\n", "[Console]::Out.WriteLine($settings[0].replace)"),
        ("  Set-AgentSetting $agent\n", "Get-Setting $agent"),
    ],
)
def test_a_line_that_tells_the_password_is_noticed(before: str, line: str) -> None:
    assert SCRIPT.count(before) == 1
    changed = SCRIPT.replace(before, f"  {line}\n{before}")
    assert powershell.syntax_error(changed) == ""
    assert [it for _, it in (used(changed) - known()).elements()] == [line]


@pytest.mark.parametrize(
    ("line", "instead"),
    [
        (
            'catch { throw "secret $id is no JSON object, so it has no key $key" }',
            "catch { throw }",
        ),
        ('throw "secret $id has no key $key"', 'throw "secret $id is $object"'),
        ("$value = ''\n", ""),
    ],
)
def test_a_line_that_says_more_than_before_or_is_gone_is_noticed(line: str, instead: str) -> None:
    assert SCRIPT.count(line) == 1
    changed = SCRIPT.replace(line, instead)
    assert powershell.syntax_error(changed) == ""
    assert used(changed) != known()
