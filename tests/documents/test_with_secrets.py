"""Steps with secrets: the very document that is deployed, run by a real shell and a real Python."""

import hashlib
import importlib.util
import io
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.error import HTTPError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakery.documents import problems_of, script_of, size_of
from bakery.recipe import BYTES_FOR_SECRETS, MAX_SECRETS, ShellStep, parse_recipe
from bakery.steps import script_document
from infra.loading import load_program
from scripts.local.hosts import CheckedHost, HereHost
from scripts.local.runner import StepOutcome, run_document
from tests.canaries import SECRETS, leaks
from tests.documents.conftest import FOLDER
from tests.documents.test_static import SHELLCHECK
from tests.instance_services import InstanceServices, RefusedError, serve

PARAMETER_LIMIT = 4096
"""Bytes of a standard parameter. Source: SSM API reference, PutParameter, Value."""


class Store:
    """What Secrets Manager and Parameter Store have."""

    def __init__(self) -> None:
        self.secrets: dict[str, Mapping[str, Any]] = {}
        self.parameters: dict[str, Mapping[str, Any]] = {}

    def ask(self, instance: str, action: str, wanted: Mapping[str, Any]) -> Mapping[str, Any]:
        if action == "GetSecretValue" and wanted["SecretId"] in self.secrets:
            return self.secrets[wanted["SecretId"]]
        if action == "GetParameter" and wanted["Name"] in self.parameters:
            assert wanted["WithDecryption"] is True
            return {"Parameter": self.parameters[wanted["Name"]]}
        if "denied" in str(wanted):
            raise RefusedError("AccessDeniedException", "User: x is not authorized to perform: y")
        raise RefusedError("ResourceNotFoundException", "Secrets Manager can't find it.")


class Builder(HereHost):
    """A host that is led to the services."""

    def __init__(self, root: Path, services: InstanceServices, path: str = "") -> None:
        super().__init__(root)
        self._more = services.environment("i-1")
        if path:
            self._more["PATH"] = path

    def execute(self, argv: Any, *, environment: Mapping[str, str], **more: Any) -> Any:
        return super().execute(argv, environment={**environment, **self._more}, **more)


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def services(store: Store) -> Iterator[InstanceServices]:
    with serve(store.ask) as found:
        yield found


@pytest.fixture
def builder(services: InstanceServices, tmp_path: Path) -> Builder:
    return Builder(tmp_path / "host", services)


def step(script: str, **secrets: Mapping[str, str]) -> ShellStep:
    content = {
        "description": "with secrets",
        "base": {"ami": "ami-0123456789abcdef0"},
        "customize": [{"name": "x", "shell": script, "secrets": secrets}],
    }
    (found,) = parse_recipe("web", content).customize
    assert isinstance(found, ShellStep)
    return found


def document(script: str, **secrets: Mapping[str, str]) -> dict[str, Any]:
    found = script_document(step(script, **secrets), load_program())
    assert problems_of(found) == []
    return found


def ran(builder: HereHost, script: str, **secrets: Mapping[str, str]) -> StepOutcome:
    (outcome,) = run_document(document(script, **secrets), {}, builder)
    return outcome


@pytest.fixture
def program() -> ModuleType:
    spec = importlib.util.spec_from_file_location("with_secrets", FOLDER / "with_secrets.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- values arrive, whole, and go nowhere else -------------------------------------------------

USE = """#!/bin/sh
set -eu
printf %s "$IT" | sha256sum
printf '%s|' "$IT"
printf '%s\\n' "$IT" >&2
env | grep -a -A 3 ^IT=
printenv IT
"""


@pytest.mark.parametrize(
    ("kind", "where"),
    [
        *((kind, "secret") for kind in SECRETS),
        *(
            (kind, "parameter")
            for kind in SECRETS
            if len(SECRETS[kind].encode()) <= PARAMETER_LIMIT
        ),
    ],
)
def test_a_secret_of_any_kind_arrives_as_it_is_and_is_masked_in_the_output(
    builder: Builder, store: Store, kind: str, where: str
) -> None:
    value = SECRETS[kind]
    store.secrets["prod/it"] = {"SecretString": value}
    store.parameters["/prod/it"] = {"Type": "SecureString", "Value": value}
    source = {"secret": "prod/it"} if where == "secret" else {"parameter": "/prod/it"}
    outcome = ran(builder, USE, IT=source)
    assert (outcome.status, outcome.exit_code) == ("Success", 0), outcome.stderr
    assert outcome.stdout.startswith(hashlib.sha256(value.encode()).hexdigest())
    assert "***|" in outcome.stdout and outcome.stderr.startswith("***")
    printed = dict(zip(("stdout", "stderr"), outcome.printed, strict=True))
    assert leaks(value, printed.items()) == set()
    assert leaks(value, files(builder.root)) == set()


def files(folder: Path) -> Iterator[tuple[str, bytes]]:
    found = [path for path in folder.rglob("*") if path.is_file()]
    assert {"step", "with_secrets.py", "_script.sh"} <= {path.name for path in found}
    yield from ((str(path), path.read_bytes()) for path in found)


def test_the_test_sees_a_value_that_is_not_masked(builder: Builder, store: Store) -> None:
    """The counter-test: a script that encodes a secret prints it, and leaves it on the disk."""
    value = SECRETS["json"]
    store.secrets["prod/it"] = {"SecretString": value}
    script = f'printf %s "$IT" | base64; printf %s "$IT" >{builder.root}/left'
    outcome = ran(builder, script, IT={"secret": "prod/it"})
    assert leaks(value, [("stdout", outcome.stdout)]) == {"stdout"}
    assert leaks(value, files(builder.root)) == {str(builder.root / "left")}


def test_no_process_has_a_value_among_its_arguments(
    builder: Builder, store: Store, tmp_path: Path
) -> None:
    value = SECRETS["plain word"]
    store.secrets["prod/it"] = {"SecretString": value}
    script = f"cat /proc/[0-9]*/cmdline >{tmp_path}/arguments 2>/dev/null || :"
    assert ran(builder, script, IT={"secret": "prod/it"}).status == "Success"
    arguments = (tmp_path / "arguments").read_text()
    assert "IT=secret:prod/it" in arguments and value not in arguments


def test_a_value_of_a_json_object_is_one_of_its_keys(builder: Builder, store: Store) -> None:
    store.secrets["prod/db"] = {
        "SecretString": '{"user": "admin", "password": "p4$$", "port": 5432}'
    }
    script = 'printf %s "$A" | sha256sum; [ "$B" = 5432 ] && printf "%s %s" "$A" admin'
    of = {"secret": "prod/db"}
    outcome = ran(builder, script, A={**of, "key": "password"}, B={**of, "key": "port"})
    assert outcome.stdout == f"{hashlib.sha256(b'p4$$').hexdigest()}  -\n*** admin"


def test_a_secret_of_another_region_is_asked_for_there(
    builder: Builder, store: Store, services: InstanceServices
) -> None:
    arn = "arn:aws:secretsmanager:us-east-1:444455556666:secret:prod/it-AbCdEf"
    store.secrets[arn] = {"SecretString": "x1y2z3"}
    assert ran(builder, "test $IT = x1y2z3", IT={"secret": arn}).status == "Success"
    assert services.asked == [("i-1", "GetSecretValue", {"SecretId": arn})]


# --- the script runs as one without secrets ----------------------------------------------------


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("exit 7", ""),
        ("exit 168", ""),
        ("echo one; echo two >&2; exit 137", "one"),
        ("#!/bin/bash\necho ${BASH_VERSION:+bash}", "bash"),
        ("#!/usr/bin/env python3\nprint('{} {}'.format(1, 2))", "1 2"),
        ("cat; echo end", "end"),
        ("kill -TERM $$", ""),
        ("umask; ulimit -n", "0022"),
        ("yes | head -n 1", "y"),
        ("cat <<END-OF-STEP\nx\nEND-OF-STEP\necho y", "x\ny"),
        ("printf 'no newline'", "no newline"),
        ("echo $SSM_COMMAND_ID | wc -c; pwd", "37\n/usr/bin"),
        ("exit 1 # {{", ""),
        ("if", ""),
    ],
)
def test_a_script_runs_as_it_does_without_secrets(
    builder: Builder, store: Store, script: str, said: str
) -> None:
    store.secrets["prod/it"] = {"SecretString": "x1y2z3"}
    before, found = ran(builder, script), ran(builder, script, IT={"secret": "prod/it"})
    assert (found.status, found.exit_code) == (before.status, before.exit_code)
    assert found.stdout == before.stdout and found.stdout.startswith(said)
    assert found.stderr.replace("/step", "/_script.sh")[-60:] == before.stderr[-60:]


def test_no_dump_of_a_process_that_has_a_value_is_written(builder: Builder, store: Store) -> None:
    """Neither into a file, for which a byte is too little, nor by a program that takes dumps: that
    is started at any other limit, and none could be set up here."""
    store.secrets["prod/it"] = {"SecretString": "x1y2z3"}
    script = "sed -n 's/^Max core file size *//p' /proc/self/limits"
    assert ran(builder, script, IT={"secret": "prod/it"}).stdout.split() == ["1", "1", "bytes"]


def test_a_step_that_reboots_gets_its_secrets_anew(
    builder: Builder, store: Store, services: InstanceServices, tmp_path: Path
) -> None:
    store.secrets["prod/it"] = {"SecretString": "x1y2z3"}
    script = (
        f'test "$IT" = x1y2z3 || exit 1\n[ -e {tmp_path}/x ] && exit 0\n: >{tmp_path}/x; exit 194'
    )
    assert ran(builder, script, IT={"secret": "prod/it"}).status == "Success"
    assert (builder.reboots, len(services.asked)) == (1, 2)


@pytest.mark.parametrize(
    "name",
    ["python2.7", "python3.6", "python3.7", "python3.8", "python3.9", "python3.12", "python3.13"],
)
def test_the_program_runs_with_the_python_of_old_and_new_systems(
    store: Store, services: InstanceServices, tmp_path: Path, name: str
) -> None:
    found = shutil.which(name)
    if not found or subprocess.run([found, "-c", ""], capture_output=True).returncode:
        pytest.skip(f"{name} is not installed; this machine's own Python runs all other tests")
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "python3").symlink_to(found)
    builder = Builder(tmp_path / "host", services, f"{tools}:/usr/bin:/bin")
    kinds = ("unicode", "key in pem", "another's beginning", "another's beginning and more")
    names = dict(zip("ABCD", ("prod/a", "prod/b", "prod/c", "prod/d"), strict=True))
    for it, kind in zip(names.values(), kinds, strict=True):
        store.secrets[it] = {"SecretString": SECRETS[kind]}
    store.parameters["/denied"] = {"Type": "String", "Value": "x"}
    script = """
printf "%s|%s|%s|%s" "$A" "$B" "$C" "$D"
for it in "$A" "$B" "$C" "$D"; do printf %s "$it" | sha256sum; done
"""
    outcome = ran(builder, script, **{key: {"secret": name} for key, name in names.items()})
    hashes = [
        hashlib.sha256(str(store.secrets[name]["SecretString"]).encode()).hexdigest()
        for _, name in sorted(names.items())
    ]
    assert (outcome.stderr, outcome.status) == ("", "Success")
    assert outcome.stdout.startswith("***|***|***|***")
    assert re.findall("[0-9a-f]{64}", outcome.stdout) == hashes
    refused = ran(builder, "true", A={"parameter": "/denied"})
    assert "A (parameter /denied): the parameter is a String" in refused.stderr


def test_the_program_says_nothing_that_only_a_new_python_understands() -> None:
    import ast

    tree = ast.parse(load_program(), feature_version=(3, 4))
    new = (ast.JoinedStr, ast.AnnAssign, ast.NamedExpr, ast.AsyncFunctionDef, ast.Nonlocal)
    assert [type(node) for node in ast.walk(tree) if isinstance(node, new)] == []
    arguments = [node for node in ast.walk(tree) if isinstance(node, ast.arg)]
    assert [it.arg for it in arguments if it.annotation] == []


def test_a_host_without_python_fails_the_step_and_says_so(
    store: Store, services: InstanceServices, tmp_path: Path
) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("cat", "chmod", "dirname", "sh"):
        (tools / tool).symlink_to(str(shutil.which(tool)))
    outcome = ran(Builder(tmp_path / "host", services, str(tools)), "true", IT={"secret": "x"})
    assert outcome.exit_code == 1 and "this host has no Python" in outcome.stderr


# --- what cannot be resolved -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"secret": "none"}, "IT (secret none): ResourceNotFoundException: Secrets Manager can't"),
        ({"secret": "denied"}, "IT (secret denied): AccessDeniedException: User: x is not auth"),
        ({"parameter": "/denied"}, "IT (parameter /denied): AccessDeniedException: "),
        ({"secret": "binary"}, "IT (secret binary): the secret is binary; store it as text"),
        ({"parameter": "/plain"}, "IT (parameter /plain): the parameter is a String, no Secure"),
        ({"secret": "text", "key": "a"}, "IT (secret text#a): the secret is no JSON object"),
        ({"secret": "list", "key": "a"}, "IT (secret list#a): the secret is no JSON object"),
        ({"secret": "object", "key": "b"}, "IT (secret object#b): the secret has no key b"),
        ({"secret": "nul"}, "IT (secret nul): the value has a NUL character"),
    ],
)
def test_what_cannot_be_resolved_fails_the_step_by_name_before_its_script_begins(
    builder: Builder, store: Store, tmp_path: Path, source: Mapping[str, str], words: str
) -> None:
    value = SECRETS["plain word"]
    store.secrets |= {
        "binary": {"SecretBinary": "AAAA"},
        "text": {"SecretString": value},
        "list": {"SecretString": f'["{value}"]'},
        "object": {"SecretString": f'{{"a": "{value}"}}'},
        "nul": {"SecretString": f"{value}\0{value}"},
    }
    store.parameters["/plain"] = {"Type": "String", "Value": value}
    outcome = ran(builder, f": >{tmp_path}/began", IT=source)
    assert (outcome.status, outcome.exit_code) == ("Failed", 1)
    assert outcome.stderr.startswith("ami-bakery: cannot resolve a secret of this step: " + words)
    assert value not in outcome.stderr + outcome.stdout
    assert not (tmp_path / "began").exists()


def test_an_answer_that_is_lost_is_asked_for_again(
    program: ModuleType, services: InstanceServices, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[int] = []
    monkeypatch.setattr(program.time, "sleep", waits.append)
    for name, value in services.environment("i-1").items():
        monkeypatch.setenv(name, value)
    store.secrets["it"] = {"SecretString": "x1y2z3"}
    throttled = b'{"__type": "ThrottlingException", "message": "Rate exceeded"}'
    services.failing = [(500, b""), (400, throttled), (503, b"<html>")]
    assert program.resolved(["IT=secret:it"]) == {b"IT": b"x1y2z3"}
    assert waits == [1, 2, 4]
    services.failing = [(500, b"")] * 5
    with pytest.raises(program.CannotResolve, match=r"IT \(secret it\): HTTP 500"):
        program.resolved(["IT=secret:it"])


def test_a_refusal_is_final(
    program: ModuleType, services: InstanceServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[int] = []
    monkeypatch.setattr(program.time, "sleep", waits.append)
    for name, value in services.environment("i-1").items():
        monkeypatch.setenv(name, value)
    with pytest.raises(program.CannotResolve, match="AccessDenied"):
        program.resolved(["IT=secret:denied"])
    assert waits == []


def test_without_a_metadata_service_the_step_says_so(
    program: ModuleType, services: InstanceServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program.time, "sleep", lambda _: None)

    def gone(*_: object, **__: object) -> bytes:
        raise HTTPError("http://169.254.169.254", 404, "Not Found", {}, io.BytesIO(b""))  # type: ignore[arg-type]

    monkeypatch.setattr(program, "opened", gone)
    with pytest.raises(program.CannotResolve, match="the instance's metadata service: .*404"):
        program.resolved(["IT=secret:it"])


# --- masks -------------------------------------------------------------------------------------


def masked(program: ModuleType, texts: list[bytes], pieces: list[bytes]) -> bytes:
    read, write = os.pipe()
    with os.fdopen(read, "rb") as result:
        stream = program.Masked(program.masked_texts(texts), write)
        for piece in pieces:
            stream.feed(piece)
        stream.end()
        os.close(write)
        return result.read()


@given(
    secrets=st.lists(st.binary(min_size=1, max_size=6).filter(bytes.strip), max_size=4),
    pieces=st.lists(st.binary(max_size=5), max_size=6),
    planted=st.lists(st.integers(0, 5), max_size=4),
    cut=st.integers(1, 5),
)
def test_a_mask_does_not_depend_on_how_the_output_comes_in_pieces(
    secrets: list[bytes], pieces: list[bytes], planted: list[int], cut: int
) -> None:
    spec = importlib.util.spec_from_file_location("with_secrets", FOLDER / "with_secrets.py")
    assert spec and spec.loader
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    for place in planted:
        if secrets and place < len(pieces):
            pieces[place] += secrets[place % len(secrets)]
    whole = b"".join(pieces)
    small = [whole[at : at + cut] for at in range(0, len(whole), cut)]
    found = masked(program, secrets, small)
    assert found == masked(program, secrets, [whole])
    texts = program.masked_texts(secrets)
    if not any(text in b"***" or b"*" in text for text in texts):
        parts = found.split(b"***")
        assert not any(text in part for text in texts for part in parts)


@pytest.mark.parametrize(
    ("secrets", "pieces", "said"),
    [
        (["abc"], ["xa", "bcx"], "x***x"),
        (["abc"], ["xab", "d"], "xabd"),
        (["abc", "abcdef"], ["abc", "def|abc", "d"], "***|***d"),
        (["aab"], ["aaa", "b"], "a***"),
        (["ab", "bc"], ["a", "b", "c"], "***c"),
        (["line one long\nline two long\n"], ["> line two long <"], "> *** <"),
        (["{\n  pass\n}\n"], ["{", "}"], "{}"),
        ([" padded "], ["padded"], "***"),
        ([" \n "], ["a \n b"], "a \n b"),
        ([], ["as it is"], "as it is"),
    ],
)
def test_what_is_masked(
    program: ModuleType, secrets: list[str], pieces: list[str], said: str
) -> None:
    texts, data = [it.encode() for it in secrets], [it.encode() for it in pieces]
    assert masked(program, texts, data) == said.encode()


def test_a_short_secret_in_much_output_does_not_take_for_ever(program: ModuleType) -> None:
    """What is passed on grows with the output, not with its square."""
    read, write = os.pipe()
    stream = program.Masked(program.masked_texts([b"a", b"ab" * 30_000]), write)
    written: list[int] = []
    stream.write = lambda data: written.append(len(data))
    for _ in range(20):
        stream.feed(b"a " * 30_000)
    os.close(read)
    os.close(write)
    assert sum(written) >= 20 * 30_000 * 4 - 8


# --- the document ------------------------------------------------------------------------------


def test_the_largest_step_with_the_most_secrets_fits_a_document() -> None:
    longest = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:" + "x" * 512 + "-AbCdEf"
    secrets = {f"X{n:063}": {"secret": longest, "key": "k" * 128} for n in range(MAX_SECRETS)}
    found = document("x" * (64 * 1024 - BYTES_FOR_SECRETS - 100), **secrets)
    assert size_of(found) < 64 * 1024
    assert BYTES_FOR_SECRETS - size_of(document("x", **secrets)) > 500


def test_the_script_that_starts_a_step_is_one_that_any_shell_reads(tmp_path: Path) -> None:
    script = script_of(document("echo 'it is \"$X\"'", X={"secret": "a/_+=.@-b"})["mainSteps"][0])
    for shell in ("sh", "bash", "dash"):
        if shutil.which(shell):
            parsed = subprocess.run([shell, "-n"], input=script, text=True, capture_output=True)
            assert (parsed.returncode, parsed.stderr) == (0, ""), shell
    file = tmp_path / "script.sh"
    file.write_text(script)
    checked = subprocess.run([SHELLCHECK, "--shell=sh", str(file)], text=True, capture_output=True)
    assert checked.stdout == ""


def test_the_document_has_names_of_secrets_and_no_parameters() -> None:
    found = document("true", X={"secret": "prod/db", "key": "password"}, Y={"parameter": "/a/b"})
    assert "parameters" not in found
    script = script_of(found["mainSteps"][0])
    assert "'X=secret:prod/db#password' \\\n  Y=parameter:/a/b\n" in script


@pytest.mark.parametrize(
    ("script", "status"),
    [
        ("if true; then\necho x", "Failed"),
        ("echo 'x'", "Success"),
        ("#!/usr/bin/perl\n(", "Success"),
    ],
)
def test_the_local_aws_checks_the_step_within_its_document(script: str, status: str) -> None:
    found = document(script, X={"secret": "it"})
    (outcome,) = run_document(found, {}, CheckedHost("i-1"))
    assert outcome.status == status


def test_a_step_without_secrets_is_run_by_nothing_but_the_agent() -> None:
    assert script_of(document("true")["mainSteps"][0]) == "true\n"
