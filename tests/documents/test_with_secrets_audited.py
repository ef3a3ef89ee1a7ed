"""Where a step's secrets go, by all that the program does: Python says it itself.

No place is searched for a value, for it may be any. What counts is that the program opens nothing
for writing, wherever, starts nothing but the step's script, and talks to nobody but AWS.
"""

import json
import os
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from bakery.steps import script_document
from infra.loading import load_program
from scripts.local.runner import StepOutcome, run_document
from tests.canaries import SECRETS, leaks
from tests.documents.test_with_secrets import Builder, Store, services, step, store
from tests.instance_services import InstanceServices

__all__ = ["services", "store"]

AUDITED = Path(__file__).with_name("audited.py")
VALUE = SECRETS["json"]
GOT = "    return run(arguments[0], values)\n"
"""The place of the program where it has the values."""
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
HARMLESS = re.compile(
    r"import|compile|exec|marshal\.loads?|(code|function)\.__new__|object\.__\w+attr__"
    r"|sys\._getframe(modulename)?|builtins\.id"
    r"|os\.(listdir|scandir)|time\.sleep"
    r"|_thread\.start(_new|_joinable)_thread"
    # The limit of dumps.
    r"|resource\.setrlimit"
    # Of requests: the connection is judged.
    r"|urllib\.Request|http\.client\.(connect|send)|socket\.(__new__|getaddrinfo|gethostbyname)"
)
"""Events of what changes nothing outside the process."""

Event = tuple[str, Sequence[Any]]


class Audited:
    """A builder whose Python tells what it does."""

    def __init__(self, folder: Path, services: InstanceServices) -> None:
        tools = folder / "bin"
        tools.mkdir()
        self.report = folder / "report"
        python = tools / "python3"
        command = shlex.join([sys.executable, "-E", "-s", str(AUDITED), str(self.report)])
        python.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        python.chmod(0o700)
        self.builder = Builder(folder / "host", services, f"{tools}:/usr/bin:/bin")
        self.address = urlsplit(services.url)

    def ran(self, script: str, program: str, **secrets: Mapping[str, str]) -> StepOutcome:
        """The document that is deployed, with this program in it."""
        document = script_document(step(script, **secrets), program)
        (outcome,) = run_document(document, {}, self.builder)
        return outcome

    def events(self) -> list[Event]:
        lines = self.report.read_text().splitlines()
        return [(name, values) for name, values in map(json.loads, lines)]

    def strange(self) -> list[Event]:
        """What the program has done beside what it is for."""
        return [it for it in self.events() if not self._is_meant(*it)]

    def _is_meant(self, name: str, values: Sequence[Any]) -> bool:
        if name == "open":
            return not values[2] & WRITING
        if name == "subprocess.Popen":
            return self._is_the_step(values[1])
        if name == "socket.connect":
            return list(values[1]) == [self.address.hostname, self.address.port]
        return HARMLESS.fullmatch(name) is not None

    def _is_the_step(self, argv: Sequence[str]) -> bool:
        here = re.escape(str(self.builder.root))
        return re.fullmatch(rf"sh -c {here}/[\w./-]+/step", " ".join(argv)) is not None


@pytest.fixture
def audited(tmp_path: Path, services: InstanceServices, store: Store) -> Audited:
    store.secrets["prod/it"] = {"SecretString": VALUE}
    store.parameters["/prod/it"] = {"Type": "SecureString", "Value": VALUE}
    store.parameters["/denied"] = {"Type": "String", "Value": VALUE}
    return Audited(tmp_path, services)


@pytest.mark.parametrize(
    ("script", "source", "code"),
    [
        ('printf %s "$IT"', {"secret": "prod/it"}, 0),
        ('printf %s "$IT" >&2', {"secret": "prod/it", "key": "password"}, 0),
        ('printf %s "$IT"; exit 7', {"parameter": "/prod/it"}, 7),
        ("kill -TERM $$", {"secret": "prod/it"}, 143),
        ("true", {"parameter": "/denied"}, 1),
        ("true", {"secret": "not-there"}, 1),
    ],
)
def test_the_program_opens_nothing_for_writing_and_starts_nothing_but_the_step(
    audited: Audited, script: str, source: Mapping[str, str], code: int
) -> None:
    outcome = audited.ran(script, load_program(), IT=source)
    assert outcome.exit_code == code, outcome.stderr
    assert audited.strange() == []
    # The report is of the program, to its end.
    names = [name for name, _ in audited.events()]
    assert names.count("socket.connect") > 4
    began = "cannot resolve" not in outcome.stderr
    assert names.count("subprocess.Popen") == began
    assert leaks(VALUE, [("report", audited.report.read_bytes())]) == set()


@pytest.mark.parametrize(
    ("leak", "event"),
    [
        ("open(PLACE, 'a').write(repr(values))", "open"),
        ("open(PLACE, 'r+')", "open"),
        ("os.write(os.open(PLACE, os.O_WRONLY), repr(values).encode())", "open"),
        ("open(os.devnull, 'wb').write(repr(values).encode())", "open"),
        ("open(arguments[0] + '.env', 'w').write(repr(values))", "open"),
        ("__import__('pathlib').Path(PLACE).write_text(repr(values))", "open"),
        ("__import__('tempfile').mkstemp(dir=os.path.dirname(PLACE))", "open"),
        ("__import__('tempfile').TemporaryFile(dir=os.path.dirname(PLACE))", "open"),
        ("__import__('shelve').open(PLACE + '.shelf')", "open|dbm.*|sqlite3.connect"),
        ("os.mkdir(PLACE + '.folder')", "os.mkdir"),
        ("os.symlink('text', PLACE + '.link')", "os.symlink"),
        ("os.rename(PLACE, PLACE + '.moved')", "os.rename"),
        ("os.environ.update(IT='x')", "os.putenv"),
        ("os.system(':')", "os.system"),
        ("subprocess.call(['sh', '-c', 'env >' + PLACE])", "subprocess.Popen"),
        ("subprocess.call(['sh', '-c', arguments[0], 'text'])", "subprocess.Popen"),
        ("os.popen(':').close()", "subprocess.Popen"),
        ("s = __import__('socket').socket(type=2); s.sendto(b'', ('127.0.0.1', 9))", "socket.send"),
        ("s = __import__('socket').socket(type=2); s.connect(('127.0.0.1', 9))", "socket.connect"),
    ],
)
def test_a_value_that_is_put_elsewhere_is_noticed(
    audited: Audited, tmp_path: Path, leak: str, event: str
) -> None:
    place = tmp_path / "place"
    place.touch()
    program = load_program()
    assert program.count(GOT) == 1
    leaking = program.replace(GOT, f"    PLACE = {str(place)!r}\n    {leak}\n{GOT}")
    outcome = audited.ran("true", leaking, IT={"secret": "prod/it"})
    assert outcome.status == "Success", outcome.stderr
    names = {name for name, _ in audited.strange()}
    assert any(re.match(event, name) for name in names), names


def test_a_value_that_is_sent_to_aws_is_noticed(audited: Audited) -> None:
    """What is meant to happen is in the report with its arguments, and `leaks` reads them."""
    sent = "call(Instance(), 'ssm', 'eu-west-1', 'PutParameter', {'Value': repr(values)})"
    leaking = load_program().replace(GOT, f"    {sent}\n{GOT}")
    audited.ran("true", leaking, IT={"secret": "prod/it"})
    assert leaks(VALUE, [("report", audited.report.read_bytes())]) == {"report"}
