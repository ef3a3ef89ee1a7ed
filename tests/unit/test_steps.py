"""What a recipe's steps become on Systems Manager."""

import json
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from bakery import steps
from bakery.documents import parameter_problems, problems_of, script_of
from bakery.naming import fixed_document
from bakery.recipe import ApplicationStep, CustomizeStep, ShellStep
from infra.loading import load_document
from tests.unit.samples import APPLICATION, DOCUMENT, REBOOT, SHA256, SHELL, recipe

DOCUMENTS = Path(__file__).resolve().parents[2] / "documents"


def step(fields: Mapping[str, object]) -> CustomizeStep:
    return recipe(customize=[fields]).customize[0]


def application(source: str) -> CustomizeStep:
    parts = {"source": source, "sha256": SHA256, "directory": "/srv/a"}
    return step({"name": "app", "application": parts})


def parameters(of: CustomizeStep) -> steps.Parameters:
    return steps.parameters_of(of, bake="bake-1", region="eu-west-1")


def script(text: str) -> str:
    document = steps.script_document(ShellStep(name="x", shell=text))
    return script_of(document["mainSteps"][0])


def test_a_script_becomes_a_valid_document_without_parameters() -> None:
    document = steps.script_document(ShellStep(name="x", shell="true", timeout_seconds=90))
    assert problems_of(document) == []
    assert "parameters" not in document
    (only,) = document["mainSteps"]
    assert only["action"] == "aws:runShellScript"
    assert only["inputs"]["timeoutSeconds"] == "90"
    # The agent adds a sentence of its own to the stderr of a step with this input.
    assert "onFailure" not in only["inputs"]
    assert only["precondition"] == {"StringEquals": ["platformType", "Linux"]}


@pytest.mark.parametrize(
    ("text", "ran"),
    [
        ("one\ntwo", "one\ntwo\n"),
        ("one\n\ntwo\n", "one\n\ntwo\n"),
        ("#!/bin/bash\r\nset -eu\r\n", "#!/bin/bash\nset -eu\n"),
        ("cat <<END\n\x0c\x1d\x85\u2028\nEND", "cat <<END\n\x0c\x1d\x85\u2028\nEND\n"),
        ("\n", "\n"),
    ],
)
def test_a_script_runs_as_it_was_written(text: str, ran: str) -> None:
    assert script(text) == ran


@pytest.mark.parametrize("text", ["x" * 48_000, "\n" * 21_000, "é" * 30_000])
def test_the_largest_script_that_the_model_takes_fits_a_document(text: str) -> None:
    shell = step({"name": "x" * 60, "shell": text})
    assert isinstance(shell, ShellStep)
    assert problems_of(steps.script_document(shell)) == []


def test_each_kind_of_step_runs_its_document() -> None:
    names = [steps.document_of("web", step(s)) for s in (SHELL, DOCUMENT, APPLICATION, REBOOT)]
    assert names == [
        "AmiBakery.web.packages",
        "AWS-RunPatchBaseline",
        "AmiBakery-install-application",
        "AmiBakery-reboot-linux",
    ]


def test_only_our_fixed_documents_promise_a_last_line() -> None:
    assert [steps.has_sentinel(step(s)) for s in (SHELL, DOCUMENT, APPLICATION, REBOOT)] == [
        False,
        False,
        True,
        True,
    ]


def test_a_script_is_sent_without_parameters_and_a_reboot_with_the_bake() -> None:
    assert parameters(step(SHELL)) == {}
    assert parameters(step(REBOOT)) == {"Bake": ("bake-1",)}


def test_parameters_of_a_document_are_sent_as_lists() -> None:
    several = {"name": "d", "document": "AWS-X", "parameters": {"A": "x", "B": ["y", "z"], "C": []}}
    assert parameters(step(several)) == {"A": ("x",), "B": ("y", "z"), "C": ()}


def test_an_archive_in_s3_is_fetched_by_its_url() -> None:
    sent = parameters(application("s3://artefacts/a/b.tar.gz"))
    assert sent["SourceType"] == ("S3",)
    assert json.loads(sent["SourceInfo"][0]) == {
        "path": "https://s3.eu-west-1.amazonaws.com/artefacts/a/b.tar.gz"
    }
    assert sent["Sha256"] == (SHA256,)
    assert sent["Directory"] == ("/srv/a",)
    assert sent["Bake"] == ("bake-1",)


KEYS = [
    "a b.zip",
    "a+b.zip",
    "100%/a.zip",
    "a&b='c\"\\{d}.zip",
    "häuser/ñ.zip",
    "a/../b.zip",
    "ß" * 499,
]


@pytest.mark.parametrize("key", KEYS)
def test_a_key_comes_back_whole_from_the_url_that_the_agent_reads(key: str) -> None:
    source = f"s3://artefacts/{key}"
    (info,) = parameters(application(source))["SourceInfo"]
    # The agent: a plus sign for a space, then the path is unquoted.
    path = unquote(urlsplit(json.loads(info)["path"].replace("+", "%20")).path)
    assert path == f"/artefacts/{key}"
    document = load_document(DOCUMENTS / "install-application.yaml")
    sent = {name: list(values) for name, values in parameters(application(source)).items()}
    assert parameter_problems(document, sent) == []


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("cn-north-1", "s3.cn-north-1.amazonaws.com.cn"),
        ("us-gov-west-1", "s3.us-gov-west-1.amazonaws.com"),
    ],
)
def test_an_archive_is_fetched_from_the_partitions_own_domain(region: str, host: str) -> None:
    sent = steps.parameters_of(step(APPLICATION), bake="bake-1", region=region)
    assert urlsplit(json.loads(sent["SourceInfo"][0])["path"]).netloc == host


def test_an_archive_on_the_web_is_fetched_from_where_it_is() -> None:
    sent = parameters(application("https://host.example/a.zip"))
    assert sent["SourceType"] == ("HTTP",)
    assert json.loads(sent["SourceInfo"][0]) == {"url": "https://host.example/a.zip"}


@pytest.mark.parametrize(
    ("source", "bucket_and_key"),
    [
        ("s3://artefacts/a/b.tar.gz", ("artefacts", "a/b.tar.gz")),
        ("https://s3.example/a.zip", None),
    ],
)
def test_only_an_archive_in_s3_needs_a_permission(
    source: str, bucket_and_key: tuple[str, str] | None
) -> None:
    found = application(source)
    assert isinstance(found, ApplicationStep)
    assert steps.artefact(found.application) == bucket_and_key


@pytest.mark.parametrize(
    "of",
    [step(REBOOT), step(APPLICATION), application("https://host.example/a,b%20~c@1.zip")],
    ids=["reboot", "archive in S3", "archive on the web"],
)
def test_our_documents_accept_what_their_steps_send(of: CustomizeStep) -> None:
    stem = steps.document_of("web", of).removeprefix(fixed_document(""))
    document = load_document(DOCUMENTS / f"{stem}.yaml")
    sent = {name: list(values) for name, values in parameters(of).items()}
    assert parameter_problems(document, sent) == []
