"""Hostile values on a real host, with a new agent and with an old one."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from bakery.documents import parameter_problems
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


@pytest.mark.parametrize("new_agent", [True, False])
def test_no_value_becomes_a_command(
    new_agent: bool, documents: Mapping[str, Any], boot: Callable[..., Sandbox]
) -> None:
    """What SendCommand would refuse is not sent; a new agent has to bear even that."""
    host = boot(new_agent=new_agent)
    for stem, document in documents.items():
        last = {**document, "mainSteps": document["mainSteps"][-1:]}
        for name, definition in document["parameters"].items():
            by_environment = definition.get("interpolationType") == "ENV_VAR"
            for hostile in HOSTILE[:1] if stem == "reboot-linux" else HOSTILE:
                ordinary = {it: ORDINARY[it] for it in document["parameters"] if it in ORDINARY}
                sent = {it: [value] for it, value in {**ordinary, name: hostile}.items()}
                if parameter_problems(document, sent) and not (new_agent and by_environment):
                    continue
                run_document(last, sent, host)
                assert host.sh("test -e /canary").exit_code == 1, (stem, name, hostile)
