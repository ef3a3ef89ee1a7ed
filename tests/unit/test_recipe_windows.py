"""What a recipe says about Windows, and what it must not say beside it."""

from typing import Any

import pytest

from bakery.documents import problems_of
from bakery.errors import InvalidRecipeError
from bakery.fingerprint import fingerprint
from bakery.recipe import PowershellStep, SecretPassword, Windows, parse_recipe
from bakery.steps import (
    document_of,
    has_own_profile,
    has_sentinel,
    parameters_of,
    script_document,
    secrets,
)
from tests.unit.samples import APPLICATION, DOCUMENT, REBOOT, SHELL, content, recipe

POWERSHELL = {"name": "tools", "powershell": "Install-WindowsFeature Telnet-Client"}
KEY = "arn:aws:kms:eu-west-1:111122223333:key/01234567-89ab-cdef-0123-456789abcdef"
BASE = "/aws/service/ami-windows-latest/Windows_Server-2022-English-Full-Base"


def windows(**fields: Any) -> dict[str, Any]:
    base = {"description": "a Windows image", "base": {"parameter": BASE}, "windows": {}}
    return {**base, **fields}


def problems(fields: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(InvalidRecipeError) as refused:
        parse_recipe("web", fields)
    return {problem.path: problem.message for problem in refused.value.problems}


def test_windows_without_more_has_the_guides_defaults() -> None:
    found = parse_recipe("web", windows()).windows

    assert found is not None
    assert found == Windows()
    assert (found.sysprep, found.require_en_us, found.computer_name) == (True, True, False)
    assert found.administrator_password is None


@pytest.mark.parametrize(
    ("password", "means"),
    [
        ("random", None),
        ({"secret": "windows/admin"}, SecretPassword(secret="windows/admin")),
        (
            {"secret": "arn:aws:secretsmanager:eu-west-1:111122223333:secret:admin-AbCdEf"},
            SecretPassword(
                secret="arn:aws:secretsmanager:eu-west-1:111122223333:secret:admin-AbCdEf"
            ),
        ),
    ],
)
def test_the_password_is_random_or_a_secret(password: object, means: object) -> None:
    found = parse_recipe("web", windows(windows={"administrator_password": password})).windows

    assert found is not None
    assert found.administrator_password == means


@pytest.mark.parametrize(
    ("password", "path", "word"),
    [
        ("keep", "windows.administrator_password", "which nobody knows"),
        ("Keep existing", "windows.administrator_password", "which nobody knows"),
        ("doNothing", "windows.administrator_password", "which nobody knows"),
        ("s3cr3t", "windows.administrator_password", "must be random, or a mapping"),
        (None, "windows.administrator_password", "must be random, or a mapping"),
        (5, "windows.administrator_password", "must be random, or a mapping"),
        ({}, "windows.administrator_password.secret", "is missing"),
        ({"secret": "a b"}, "windows.administrator_password.secret", "must be a secret's name"),
        ({"value": "x"}, "windows.administrator_password.value", "is not a known key"),
        (
            {"secret": "a", "key": "b c"},
            "windows.administrator_password.key",
            "a key of the secret",
        ),
    ],
)
def test_another_password_is_refused(password: object, path: str, word: str) -> None:
    found = problems(windows(windows={"administrator_password": password}))

    assert word in found[path], found


@pytest.mark.parametrize("field", ["sysprep", "require_en_us", "computer_name"])
def test_a_switch_is_true_or_false(field: str) -> None:
    path, word = f"windows.{field}", "must be true or false, without quotes"
    assert problems(windows(windows={field: "yes"}))[path].startswith(word)


@pytest.mark.parametrize(
    "choices",
    [
        {},
        {"administrator_password": "random"},
        {"administrator_password": {"secret": "windows/admin"}, "sysprep": True},
    ],
)
def test_what_is_deployed_is_read_as_it_was_written(choices: dict[str, Any]) -> None:
    written = parse_recipe("web", windows(windows=choices))
    deployed = written.model_dump(mode="json", exclude_unset=True)
    assert parse_recipe("web", deployed) == written
    assert deployed["windows"] == choices


@pytest.mark.parametrize(
    ("fields", "path", "word"),
    [
        ({"opsworks": "chef-12"}, "opsworks", "is for Linux"),
        ({"opsworks": "auto"}, "opsworks", "is for Linux"),
        ({"identity": {"keep": ["logs"]}}, "identity", "is for Linux"),
        ({"tmp_exec": "keep"}, "tmp_exec", "is for Linux"),
        ({"lock_release": "2018.03"}, "lock_release", "is for Linux"),
        ({"customize": [SHELL]}, "customize[0].shell", "write it as powershell"),
        ({"customize": [POWERSHELL, APPLICATION]}, "customize[1].application", "on Linux only"),
        ({"test": [SHELL]}, "test[0].shell", "write it as powershell"),
        ({"test": {"steps": [SHELL]}}, "test.steps[0].shell", "write it as powershell"),
    ],
)
def test_what_is_for_linux_is_refused_beside_windows(
    fields: dict[str, Any], path: str, word: str
) -> None:
    found = problems(windows(**fields))

    assert list(found) == [path]
    assert word in found[path]


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"customize": [SHELL, POWERSHELL]}, "customize[1].powershell"),
        ({"test": [POWERSHELL]}, "test[0].powershell"),
        ({"test": {"steps": [SHELL, POWERSHELL]}}, "test.steps[1].powershell"),
    ],
)
def test_powershell_is_refused_without_windows(fields: dict[str, Any], path: str) -> None:
    found = problems(content(**fields))

    assert list(found) == [path]
    assert "add `windows: {}`" in found[path]


def test_all_of_it_is_told_at_once() -> None:
    fields = {"tmp_exec": "keep", "customize": [SHELL, APPLICATION], "test": [SHELL]}

    assert set(problems(windows(**fields))) == {
        "tmp_exec",
        "customize[0].shell",
        "customize[1].application",
        "test[0].shell",
    }


def test_a_windows_recipe_may_have_all_other_steps() -> None:
    steps = [POWERSHELL, DOCUMENT, REBOOT]
    found = parse_recipe("web", windows(customize=steps, test=[POWERSHELL]))

    assert isinstance(found.customize[0], PowershellStep)
    assert isinstance(found.test.steps[0], PowershellStep)


def test_a_step_has_one_language() -> None:
    both = {**SHELL, "powershell": "exit 0"}
    assert "exactly one of" in problems(windows(customize=[both]))["customize[0]"]
    assert "exactly one of" in problems(windows(test=[both]))["test[0]"]


@pytest.mark.parametrize(
    ("script", "word"),
    [
        ("Write-Output {{ Bake }}", "would be replaced by Systems Manager"),
        ("", "must not be empty"),
        ("x" * 48_001, "at most 48000 characters"),
        ('"' * 40_000, "as a document of Systems Manager"),
    ],
)
def test_a_powershell_script_is_held_to_what_a_shell_script_is(script: str, word: str) -> None:
    found = problems(windows(customize=[{**POWERSHELL, "powershell": script}]))

    assert word in found["customize[0].powershell"]


def test_a_powershell_step_becomes_a_document_for_windows() -> None:
    step = PowershellStep(name="x", powershell="$a = 1\r\nexit 0\n", timeout_seconds=90)
    document = script_document(step)

    assert problems_of(document) == []
    assert document["mainSteps"] == [
        {
            "action": "aws:runPowerShellScript",
            "name": "run",
            "precondition": {"StringEquals": ["platformType", "Windows"]},
            "inputs": {"timeoutSeconds": "90", "runCommand": ["$a = 1", "exit 0"]},
        }
    ]
    assert document_of("web", step) == "AmiBakery.web.x"
    assert parameters_of(step, bake="b", region="eu-west-1") == {}
    assert not has_sentinel(step)


def test_a_powershell_step_is_told_of_like_a_shell_step_when_it_changes() -> None:
    def parts(script: str) -> Any:
        step = {**POWERSHELL, "powershell": script}
        made = parse_recipe("web", windows(customize=[step], test=[step]))
        documents = {"AmiBakery.web.tools": script, "AmiBakery.web.test.tools": script}
        return fingerprint("web", made, documents=documents, version="1").parts

    assert parts("a")["steps"] != parts("b")["steps"]
    assert parts("a")["tests"] != parts("b")["tests"]
    assert parts("a")["documents"] == parts("b")["documents"] == {}


def test_a_linux_recipe_is_what_it_was_before_there_was_windows() -> None:
    """Or the next night would bake every image anew."""
    assert "windows" not in fingerprint("web", recipe(), documents={}, version="1").parts["recipe"]


FAST = {"launch_template": "lt-0123456789abcdef0", "version": 3}


def fast(**fields: Any) -> dict[str, Any]:
    place = {"region": "eu-west-1", "fast_launch": FAST}
    return windows(**{"distribute": [place], "retention": {"keep": 5}, **fields})


def test_fast_launch_has_the_least_that_ec2_takes() -> None:
    found = parse_recipe("web", fast()).distribute[0].fast_launch

    assert found is not None
    assert (found.launch_template, found.version) == ("lt-0123456789abcdef0", 3)
    assert (found.snapshots, found.parallel_launches) == (5, 6)


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"windows": None}, "is for Windows only"),
        ({"windows": {"sysprep": False}}, "images made with Sysprep only"),
        ({"retention": None}, "asks for a retention"),
    ],
)
def test_fast_launch_is_refused_where_it_would_not_work(fields: dict[str, Any], word: str) -> None:
    found = problems(fast(**fields))

    assert list(found) == ["distribute[0].fast_launch"]
    assert word in found["distribute[0].fast_launch"]


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"version": "$Latest"}, "version"),
        ({"version": 0}, "version"),
        ({"parallel_launches": 5}, "parallel_launches"),
        ({"parallel_launches": 41}, "parallel_launches"),
        ({"snapshots": 0}, "snapshots"),
        ({"launch_template": "mine"}, "launch_template"),
        ({"launch_template": None}, "launch_template"),
    ],
)
def test_fast_launch_takes_a_version_that_nobody_can_change(
    changes: dict[str, Any], key: str
) -> None:
    place = {"region": "eu-west-1", "fast_launch": {**FAST, **changes}}

    assert list(problems(fast(distribute=[place]))) == [f"distribute[0].fast_launch.{key}"]


def test_fast_launch_makes_no_other_image() -> None:
    prints = {
        fingerprint("web", parse_recipe("web", it), documents={}, version="1").to_tag()
        for it in (fast(), fast(distribute=[{"region": "eu-west-1"}]))
    }

    assert len(prints) == 1


@pytest.mark.parametrize("password", ["S3cr3t-one", "keepS3cr3t-one", "do-S3cr3t-one"])
def test_a_password_in_place_of_its_secret_is_refused_without_telling_it(password: str) -> None:
    found = problems(windows(windows={"administrator_password": password}))

    assert list(found) == ["windows.administrator_password"]
    assert "S3cr3t" not in str(found)


def test_without_sysprep_each_instance_makes_its_own() -> None:
    choices = {"sysprep": False, "administrator_password": {"secret": "windows/admin"}}
    found = problems(windows(windows=choices))

    assert list(found) == ["windows"]
    assert "only with Sysprep" in found["windows"]


def test_the_builder_may_read_the_password_and_has_a_profile_of_its_own_for_it() -> None:
    secret = {"secret": "windows/admin", "key": "password", "kms_key": KEY}
    made = parse_recipe("web", windows(windows={"administrator_password": secret}))

    assert secrets(made) == (SecretPassword(**secret),)
    assert has_own_profile(made)
    assert not has_own_profile(parse_recipe("web", windows()))
