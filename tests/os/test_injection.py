"""Hostile values on a real host, with a new agent and with an old one."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from bakery.documents import parameter_problems
from scripts.local.interpolation import by_environment
from scripts.local.runner import run_document
from scripts.local.sandbox import Sandbox

pytestmark = [pytest.mark.os, pytest.mark.timeout(900)]

HOSTILE = (
    "$(touch /canary)`touch /canary`",
    "'; touch /canary; '",
    '"\ntouch /canary\n"',
    "{{ Bake }}",
)
ORDINARY = {
    "Bake": "bake-1",
    "SourceType": "S3",
    "SourceInfo": '{"path": "https://s3.eu-west-1.amazonaws.com/b/k"}',
    "Sha256": "0" * 64,
    "Directory": "/srv/app",
}


@pytest.mark.failure(27)
@pytest.mark.parametrize("new_agent", [True, False])
def test_no_value_becomes_a_command(
    new_agent: bool, documents: Mapping[str, Any], boot: Callable[..., Sandbox]
) -> None:
    """What SendCommand would refuse is not sent; a new agent has to bear even that."""
    host = boot(new_agent=new_agent)
    for stem, document in documents.items():
        last = {**document, "mainSteps": document["mainSteps"][-1:]}
        for values in attacks(document):
            sent = {name: [value] for name, value in values.items()}
            refused = {text.partition(":")[0] for text in parameter_problems(document, sent)}
            exported = by_environment(document) if new_agent else set()
            if refused - exported:
                continue
            run_document(last, sent, host)
            assert host.sh("test -e /canary").exit_code == 1, (stem, values)


def attacks(document: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Each parameter hostile in every way at once, then all of them in one way each."""
    names = by_environment(document)
    ordinary = {name: ORDINARY[name] for name in document["parameters"] if name in ORDINARY}
    everything = "".join(HOSTILE)
    for name in document["parameters"]:
        yield {**ordinary, name: everything}
    if document["mainSteps"][-1]["name"] == "reboot-linux":
        return
    for hostile in HOSTILE:
        yield {**ordinary, **dict.fromkeys(names, hostile)}
