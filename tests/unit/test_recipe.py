"""The recipe model: what it accepts, what it refuses, and how it says so."""

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bakery.errors import InvalidRecipeError
from bakery.formats import WORDS
from bakery.recipe import (
    MAX_RECIPE_BYTES,
    AmiBase,
    ApplicationStep,
    DocumentStep,
    InstanceBase,
    ParameterBase,
    RebootStep,
    Recipe,
    RecipeBase,
    RootVolume,
    SearchBase,
    ShellStep,
    TestStage,
    parse_recipe,
)
from tests.unit.samples import APPLICATION, DOCUMENT, REBOOT, SHA256, SHELL, content, recipe

UBUNTU = "099720109477"
ORGANIZATION = "arn:aws:organizations::111122223333:organization/o-a1b2c3d4e5"
UNIT = "arn:aws:organizations::111122223333:ou/o-a1b2c3d4e5/ou-ab12-c3d4e5f6"


def problems(fields: object, name: str = "web") -> dict[str, str]:
    """Message by path of a recipe that must be refused."""
    with pytest.raises(InvalidRecipeError) as refused:
        parse_recipe(name, fields)
    return {problem.path: problem.message for problem in refused.value.problems}


def one_problem(**fields: object) -> tuple[str, str]:
    found = problems(content(**fields))
    assert len(found) == 1, found
    return next(iter(found.items()))


def application(**changes: object) -> dict[str, Any]:
    fields = {"source": "s3://artefacts/app.tar.gz", "sha256": SHA256, "directory": "/srv/app"}
    return {"customize": [{"name": "app", "application": {**fields, **changes}}]}


def step(**changes: object) -> dict[str, Any]:
    return {"customize": [{**SHELL, **changes}]}


def named(document: str) -> dict[str, Any]:
    return {"customize": [{"name": "d", "document": document}]}


def volume(**fields: object) -> dict[str, Any]:
    return {"builder": {"root_volume": fields}}


def destination(**fields: object) -> dict[str, Any]:
    return {"distribute": [{"region": "eu-west-1", **fields}]}


def organization(arn: str) -> dict[str, Any]:
    return destination(kms_key="alias/k", organizations=[arn])


def schedule(**fields: object) -> dict[str, Any]:
    return {"schedule": {"cron": "0 3 * * ? *", **fields}}


# --- the whole ----------------------------------------------------------------------------------


def test_description_and_base_are_all_that_a_recipe_must_have() -> None:
    assert parse_recipe("web", content()) == Recipe(
        description="web tier", base=AmiBase(ami="ami-0123456789abcdef0")
    )


def test_the_design_example_with_every_field_parses() -> None:
    everything = content(
        base={"parameter": "/aws/service/canonical/ubuntu/22.04/ami-id"},
        opsworks="auto",
        lock_release=None,
        builder={
            "instance_types": ["t3.medium", "t3a.medium", "m6i.large"],
            "spot": False,
            "root_volume": {"size_gib": 16, "iops": 6000, "throughput": 500},
        },
        customize=[SHELL, DOCUMENT, REBOOT, APPLICATION],
        test={
            "steps": [{"name": "nginx answers", "shell": "curl -fsS localhost/"}],
            "instance_types": ["t3.medium", "m6i.large"],
            "identity": True,
        },
        distribute=[
            {
                "region": "eu-west-1",
                "kms_key": "alias/images",
                "accounts": ["111122223333"],
                "organizations": [],
                "launch_templates": ["lt-0123456789abcdef0"],
            }
        ],
        publish={
            "regions": "any",
            "labels": ["canary"],
            "launch_templates": ["lt-0123456789abcdef0"],
            "default_version": True,
        },
        retention={"keep": 5, "days": 90, "deprecate_after_days": 60},
        schedule={"cron": "0 3 * * ? *", "timezone": "Europe/London", "only_if_changed": True},
    )
    parsed = parse_recipe("web", everything)
    assert parse_recipe("web", parsed.model_dump(mode="json", exclude_unset=True)) == parsed


def test_the_recipe_that_synthesis_stores_parses_to_the_same_recipe() -> None:
    first = recipe(customize=[SHELL, DOCUMENT, REBOOT, APPLICATION], **schedule())
    stored = first.model_dump(mode="json")
    again = parse_recipe("web", stored)
    assert again.model_dump_json() == first.model_dump_json()


@pytest.mark.parametrize("value", [None, [], "text", 7, True])
def test_a_recipe_that_is_no_mapping_is_refused(value: object) -> None:
    text = "is not a mapping of fields; write lines such as `description: web tier`"
    assert problems(value) == {"": text}


def test_all_problems_are_reported_at_once_each_with_its_path() -> None:
    found = problems(
        content(
            description="",
            base={"ami": "ami-1", "search": {"owner": UBUNTU, "name": "ubuntu"}},
            speed="fast",
            builder={"instance_types": ["t3.medium", "huge"], "spots": True},
            customize=[SHELL, {"name": "x"}, {**REBOOT, "timeout_seconds": 1}],
            schedule={"cron": "daily", "timezone": "Mars/Olympus"},
        ),
        name="Web_1",
    )
    assert set(found) == {
        "",
        "description",
        "base",
        "speed",
        "builder.instance_types[1]",
        "builder.spots",
        "customize[1]",
        "customize[2].timeout_seconds",
        "schedule.cron",
        "schedule.timezone",
    }
    assert "'Web_1' is no name for a recipe" in found[""]


def test_the_text_of_the_error_lists_each_problem_once_on_its_own_line() -> None:
    with pytest.raises(InvalidRecipeError) as refused:
        parse_recipe("web", {"base": {}, "speed": 1})
    assert str(refused.value).splitlines() == [
        "Recipe 'web' cannot be baked:",
        "- base: needs exactly one of: parameter, ami, search, recipe, instance (has: none)",
        "- description: is missing",
        "- speed: is not a known key; remove it or correct its spelling",
    ]


def test_a_long_value_is_shortened_in_the_message() -> None:
    _, message = one_problem(lock_release="x" * 5000)
    assert message.endswith("...)")
    assert len(message) < 250


@pytest.mark.parametrize("name", ["ab", "web-1", "a" * 48])
def test_a_good_name_is_accepted(name: str) -> None:
    parse_recipe(name, content())


@pytest.mark.parametrize(
    "name", ["", "a", "Web", "1web", "-web", "web-", "web_1", "web\n", "a" * 49, "wéb", "a b"]
)
def test_a_name_that_cannot_be_in_tags_parameters_and_documents_is_refused(name: str) -> None:
    assert "is no name for a recipe" in problems(content(), name=name)[""]


def test_a_recipe_cannot_be_changed_anywhere() -> None:
    parsed = recipe(customize=[SHELL])
    for part, field in ((parsed, "base"), (parsed.builder, "spot"), (parsed.customize[0], "name")):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(part, field, None)
    assert isinstance(parsed.customize, tuple)


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"builder": {"size": 1}}, "builder.size"),
        (volume(size=1), "builder.root_volume.size"),
        ({"base": {"ami": "ami-12345678", "publisher": "self"}}, "base.publisher"),
        ({"base": {"recipe": "other", "owner": "self"}}, "base.owner"),
        ({"base": {"search": {"owner": "self", "name": "abc"}, "name": "abc"}}, "base.name"),
        (
            {"base": {"search": {"owner": UBUNTU, "name": "ubu*", "newest": True}}},
            "base.search.newest",
        ),
        (step(user="root"), "customize[0].user"),
        (application(mode="0755"), "customize[0].application.mode"),
        ({"publish": {"templates": []}}, "publish.templates"),
        ({"test": {"stepps": []}}, "test.stepps"),
        ({"test": [{**SHELL, "user": "root"}]}, "test[0].user"),
        ({"test": {"steps": [{**SHELL, "user": "root"}]}}, "test.steps[0].user"),
        ({"retention": {"count": 3}}, "retention.count"),
        (destination(key="x"), "distribute[0].key"),
        (schedule(rate="1 day"), "schedule.rate"),
    ],
)
def test_an_unknown_key_is_refused_at_every_depth(fields: dict[str, Any], path: str) -> None:
    found = one_problem(**fields)
    assert found == (path, "is not a known key; remove it or correct its spelling")


def test_a_key_that_is_no_text_gets_a_path_too() -> None:
    assert set(problems({1: 2, "description": "x", "base": {"ami": 5}})) == {"[1]", "base.ami"}


def test_a_recipe_larger_than_an_execution_can_carry_is_refused() -> None:
    steps = [{"name": f"step {n}", "shell": "x" * 45_000} for n in range(5)]
    assert problems(content(customize=steps)) == {
        "": f"is larger than {MAX_RECIPE_BYTES // 1024} KiB, more than an execution can carry; "
        "move long scripts into an application archive"
    }
    recipe(customize=steps[:4])


def test_the_size_counts_bytes_not_characters() -> None:
    steps = [{"name": f"step {n}", "shell": "é" * 25_000} for n in range(5)]
    assert list(problems(content(customize=steps))) == [""]
    recipe(customize=steps[:4])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
known_fields = st.sampled_from(sorted(Recipe.model_fields))


@given(st.dictionaries(known_fields, json_values), st.text(max_size=10))
@settings(deadline=None, max_examples=150)
def test_whatever_stands_in_the_fields_only_problems_come_out(
    fields: dict[str, object], name: str
) -> None:
    try:
        assert isinstance(parse_recipe(name, fields), Recipe)
    except InvalidRecipeError as error:
        assert error.problems
        assert all(problem.message for problem in error.problems)


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["name", "shell", "document", "parameters", "reboot", "application"]),
            json_values,
        ),
        max_size=3,
    ),
    st.dictionaries(st.sampled_from(["ami", "search", "recipe", "parameter"]), json_values),
)
@settings(deadline=None, max_examples=150)
def test_whatever_stands_in_steps_and_base_only_problems_come_out(
    steps: list[object], base: dict[str, object]
) -> None:
    try:
        assert isinstance(parse_recipe("web", content(customize=steps, base=base)), Recipe)
    except InvalidRecipeError as error:
        assert error.problems


@given(json_values)
@settings(deadline=None, max_examples=100)
def test_no_json_at_all_crashes_the_model(value: object) -> None:
    with pytest.raises(InvalidRecipeError):
        parse_recipe("web", value)


# --- base ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "kind"),
    [
        ({"parameter": "/aws/service/ami"}, ParameterBase),
        ({"ami": "ami-12345678"}, AmiBase),
        ({"search": {"owner": UBUNTU, "name": "ubuntu/*"}}, SearchBase),
        ({"recipe": "golden"}, RecipeBase),
        ({"instance": "i-0123456789abcdef0"}, InstanceBase),
    ],
)
def test_the_key_of_the_base_chooses_its_form(base: dict[str, object], kind: type) -> None:
    assert isinstance(recipe(base=base).base, kind)


@pytest.mark.parametrize(
    ("base", "given"),
    [
        (None, "is: null"),
        ({}, "has: none"),
        ([], "is: []"),
        ("ami-12345678", "is: 'ami-12345678'"),
        ({"image": "x"}, "has: image"),
        ({"ami": "ami-12345678", "recipe": "golden"}, "has: ami, recipe"),
    ],
)
def test_no_base_two_bases_and_an_unknown_form_are_answered_with_the_forms(
    base: object, given: str
) -> None:
    assert one_problem(base=base) == (
        "base",
        f"needs exactly one of: parameter, ami, search, recipe, instance ({given})",
    )


def test_a_recipe_without_a_base_says_that_it_is_missing() -> None:
    assert problems({"description": "x"}) == {"base": "is missing"}


@pytest.mark.failure(12)
def test_a_search_without_an_owner_is_refused() -> None:
    assert one_problem(base={"search": {"name": "ubuntu/*"}}) == ("base.search.owner", "is missing")


@pytest.mark.parametrize(
    ("base", "path"),
    [
        ({"ami": "ami-1234567"}, "base.ami"),
        ({"ami": "ami-0123456789ABCDEF0"}, "base.ami"),
        ({"ami": "ami-12345678\n"}, "base.ami"),
        ({"parameter": "aws/service"}, "base.parameter"),
        ({"parameter": "/"}, "base.parameter"),
        ({"parameter": "/with space"}, "base.parameter"),
        ({"parameter": "/" + "x" * 1011}, "base.parameter"),
        ({"recipe": "Web"}, "base.recipe"),
        ({"instance": "i-123"}, "base.instance"),
        ({"search": {"owner": "ubuntu", "name": "ubuntu"}}, "base.search.owner"),
        ({"search": {"owner": 99720109477, "name": "ubuntu"}}, "base.search.owner"),
        ({"search": {"owner": UBUNTU, "name": "ab"}}, "base.search.name"),
        ({"search": {"owner": UBUNTU, "name": "***"}}, "base.search.name"),
        ({"search": {"owner": UBUNTU, "name": "x" * 129}}, "base.search.name"),
        (
            {"search": {"owner": UBUNTU, "name": "ubuntu", "architecture": "i386"}},
            "base.search.architecture",
        ),
    ],
)
def test_a_base_out_of_bounds_is_refused_at_its_field(base: dict[str, object], path: str) -> None:
    assert one_problem(base=base)[0] == path


@pytest.mark.parametrize("owner", ["self", "amazon", UBUNTU])
def test_the_owner_of_a_search_is_an_account_or_a_known_word(owner: str) -> None:
    recipe(base={"search": {"owner": owner, "name": "ubuntu/*"}})


# --- bounds -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"description": "x" * 255},
        {"lock_release": "2018.03"},
        {"lock_release": "2023.6.20250115"},
        {"image_name": "x" * 128},
        {"opsworks": "chef-11"},
        {"opsworks": "chef-12"},
        {"opsworks": "none"},
        {"builder": {"instance_types": ["m6i.large"] * 10}},
        {"builder": {"instance_types": ["u-6tb1.56xlarge", "mac2-m2pro.metal"]}},
        volume(size_gib=1),
        volume(size_gib=65536),
        named("AWS-RunPatchBaseline"),
        named("arn:aws:ssm:eu-west-1::document/AWS-RunPatchBaseline"),
        named("arn:aws-us-gov:ssm:us-gov-west-1:444455556666:document/Shared"),
        named("AmiBakeryTeam-harden"),
        named("Ours-AmiBakery-x"),
        named("AWS-RunDocuments"),
        volume(iops=3000, throughput=125),
        volume(iops=80000, throughput=2000),
        volume(iops=3000, size_gib=1),
        volume(iops=8000, size_gib=16),
        step(timeout_seconds=30),
        step(timeout_seconds=43200),
        step(name="x" * 60),
        step(shell="x" * 48_000),
        application(source="https://host.example:8443/a/b.zip"),
        application(source="s3://abc/k"),
        application(source="s3://abc/a b+c%20&d=é.zip"),
        destination(region="us-gov-west-1"),
        destination(kms_key="alias/images"),
        destination(kms_key="mrk-" + "0" * 32),
        destination(kms_key="01234567-89ab-cdef-0123-456789abcdef"),
        destination(kms_key="arn:aws:kms:eu-west-1:111122223333:key/mrk-1"),
        destination(kms_key="alias/k", organizations=[ORGANIZATION, UNIT]),
        destination(kms_key="alias/k", organizations=[ORGANIZATION.replace("aws", "aws-cn", 1)]),
        destination(launch_templates=["lt-12345678"] * 20),
        {"publish": {"launch_templates": ["lt-12345678"] * 20}},
        {"publish": {"labels": ["ca", "x" * 32, "blue-2"]}},
        {"publish": {"regions": "any"}},
        {"publish": {"default_version": True}},
        {"test": []},
        {"test": {}},
        {"test": {"instance_types": ["m6i.large"] * 5}},
        {"retention": {"keep": 2, "days": 1, "deprecate_after_days": 1}},
        {"retention": {"keep": 1000, "days": 3650, "deprecate_after_days": 3650}},
        schedule(flexible_minutes=0),
        schedule(flexible_minutes=1440),
        schedule(timezone="America/Argentina/Buenos_Aires"),
        schedule(timezone="UTC"),
    ],
    ids=str,
)
def test_a_value_at_its_bound_is_accepted(fields: dict[str, Any]) -> None:
    recipe(**fields)


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("description", {"description": ""}),
        ("description", {"description": "x" * 256}),
        ("description", {"description": 2026}),
        ("lock_release", {"lock_release": "latest"}),
        ("lock_release", {"lock_release": 2018.03}),
        ("lock_release", {"lock_release": "2018.03; reboot"}),
        ("opsworks", {"opsworks": "chef-13"}),
        ("image_name", {"image_name": "x" * 129}),
        ("image_name", {"image_name": "web {time}"}),
        ("builder.instance_types", {"builder": {"instance_types": ["m6i.large"] * 11}}),
        ("builder.instance_types", {"builder": {"instance_types": "m6i.large"}}),
        ("builder.instance_types[0]", {"builder": {"instance_types": ["M6I.large"]}}),
        ("builder.instance_types[0]", {"builder": {"instance_types": ["m6i"]}}),
        ("builder.root_volume.size_gib", volume(size_gib=0)),
        ("builder.root_volume.size_gib", volume(size_gib=8.5)),
        ("builder.root_volume.iops", volume(iops=2999)),
        ("builder.root_volume.iops", volume(iops=80001)),
        ("builder.root_volume.iops", volume(iops=8001, size_gib=16)),
        ("builder.root_volume.size_gib", volume(size_gib=65537)),
        ("builder.root_volume.throughput", volume(iops=3000, throughput=751)),
        ("builder.root_volume.throughput", volume(iops=16000, throughput=124)),
        ("builder.root_volume.throughput", volume(iops=16000, throughput=2001)),
        ("customize", {"customize": {"name": "x"}}),
        ("customize", {"customize": [{**SHELL, "name": f"n{n}"} for n in range(101)]}),
        ("customize[0].timeout_seconds", step(timeout_seconds=29)),
        ("customize[0].timeout_seconds", step(timeout_seconds=43201)),
        ("customize[0].name", step(name="")),
        ("customize[0].name", step(name="x" * 61)),
        ("customize[0].name", step(name="-dash first")),
        ("customize[0].name", step(name="a'; rm -rf /")),
        ("customize[0].shell", step(shell="")),
        ("customize[0].shell", step(shell="x" * 48_001)),
        ("customize[0].shell", step(shell=["a", "b"])),
        ("customize[0].document", {"customize": [{"name": "d", "document": "a b"}]}),
        ("customize[0].document", named("ab")),
        ("customize[0].document", named("a" * 129)),
        ("customize[0].document", named("folder/document")),
        ("customize[0].document", named("arn:aws:ssm:eu-west-1:12:document/Shared")),
        ("customize[0].document", named("arn:aws:s3:::bucket/Shared")),
        ("customize[0].document", named("AmiBakery-convert-instance-store")),
        ("customize[0].document", named("AWS-RunDocument")),
        ("customize[0].reboot", {"customize": [{"name": "r", "reboot": False}]}),
        ("customize[0].application.source", application(source="http://plain.example/a.tgz")),
        ("customize[0].application.source", application(source="s3://UPPER/a.tgz")),
        ("customize[0].application.source", application(source="s3://bucket/a$(id).tgz")),
        ("customize[0].application.source", application(source="https://h/a.tgz?token=secret")),
        ("customize[0].application.source", application(source="s3://bucket/folder/")),
        ("customize[0].application.source", application(source="s3://bucket/*.tgz")),
        # A policy could name it only by a pattern, which other keys fit.
        ("customize[0].application.source", application(source="s3://bucket/木.tgz")),
        ("customize[0].application.source", application(source="s3://bucket/a\nb.tgz")),
        ("customize[0].application.source", application(source=f"s3://bucket/{'é' * 510}")),
        ("customize[0].application.source", application(source="https://me:pw@h/a.tgz")),
        ("customize[0].application.sha256", application(sha256=SHA256[1:])),
        ("customize[0].application.sha256", application(sha256=SHA256.upper())),
        ("customize[0].application.directory", application(directory="srv/app")),
        ("customize[0].application.directory", application(directory="/")),
        ("customize[0].application.directory", application(directory="/srv/../etc")),
        ("customize[0].application.directory", application(directory="/./srv")),
        ("customize[0].application.directory", application(directory="/srv/a b")),
        ("test", {"test": [{**SHELL, "name": f"n{n}"} for n in range(51)]}),
        ("test[0].reboot", {"test": [{**SHELL, "reboot": True}]}),
        ("test.steps", {"test": {"steps": [{**SHELL, "name": f"n{n}"} for n in range(51)]}}),
        ("test.steps[0].reboot", {"test": {"steps": [{**SHELL, "reboot": True}]}}),
        ("test.instance_types", {"test": {"instance_types": ["m6i.large"] * 6}}),
        ("test.instance_types[0]", {"test": {"instance_types": ["big one"]}}),
        ("test.identity", {"test": {"identity": "yes"}}),
        ("test", {"test": None}),
        ("test", {"test": "curl localhost"}),
        ("distribute", {"distribute": [{"region": f"eu-west-{n % 10}"} for n in range(41)]}),
        ("distribute[0].organizations[0]", organization("o-a1b2c3d4e5")),
        ("distribute[0].organizations[0]", organization(ORGANIZATION + "/")),
        ("distribute[0].organizations[0]", organization(UNIT.replace("/ou-", "/"))),
        ("distribute[0].organizations[0]", organization(ORGANIZATION.replace("3333", ""))),
        ("distribute[0].organizations[0]", organization("*")),
        ("distribute[0].launch_templates[0]", destination(launch_templates=["lt-1"])),
        ("distribute[0].region", destination(region="Europe")),
        ("distribute[0].region", destination(region="eu-west-1a")),
        ("distribute[0].accounts[0]", destination(kms_key="alias/k", accounts=["1111"])),
        ("distribute[0].accounts[0]", destination(kms_key="alias/k", accounts=[111122223333])),
        ("distribute[0].kms_key", destination(kms_key="images")),
        ("publish", {"publish": None}),
        ("publish.launch_templates[0]", {"publish": {"launch_templates": ["my-template"]}}),
        ("publish.launch_templates", {"publish": {"launch_templates": ["lt-12345678"] * 21}}),
        ("publish.regions", {"publish": {"regions": "some"}}),
        ("publish.labels[0]", {"publish": {"labels": ["Canary"]}}),
        ("publish.labels[0]", {"publish": {"labels": ["x"]}}),
        ("publish.labels[0]", {"publish": {"labels": ["x" * 33]}}),
        ("publish.labels[0]", {"publish": {"labels": ["a/b"]}}),
        ("publish.labels[0]", {"publish": {"labels": ["canary-"]}}),
        ("publish.labels", {"publish": {"labels": ["ab"] * 11}}),
        ("publish.default_version", {"publish": {"default_version": "yes"}}),
        ("retention.keep", {"retention": {"keep": 1}}),
        ("retention.keep", {"retention": {"keep": 1001}}),
        ("retention.days", {"retention": {"days": 0}}),
        ("retention.days", {"retention": {"days": 3651}}),
        ("retention.deprecate_after_days", {"retention": {"deprecate_after_days": 0}}),
        ("retention.deprecate_after_days", {"retention": {"deprecate_after_days": 3651}}),
        ("schedule.cron", {"schedule": {"timezone": "UTC"}}),
        ("schedule.flexible_minutes", schedule(flexible_minutes=-1)),
        ("schedule.flexible_minutes", schedule(flexible_minutes=1441)),
    ],
    ids=str,
)
def test_a_value_out_of_bounds_is_refused_at_its_path(path: str, fields: dict[str, Any]) -> None:
    assert one_problem(**fields)[0] == path


@pytest.mark.failure(43)
@pytest.mark.parametrize("everybody", ["all", "*", "public"])
def test_nobody_can_share_an_image_with_everybody(everybody: str) -> None:
    fields = destination(kms_key="alias/k", accounts=[everybody])
    assert one_problem(**fields)[0] == "distribute[0].accounts[0]"


def test_a_problem_shows_the_value_that_was_given() -> None:
    assert one_problem(**volume(size_gib=0)) == (
        "builder.root_volume.size_gib",
        "must be at least 1 (is: 0)",
    )


def steps(count: int, seconds: int) -> dict[str, Any]:
    each = [{"name": f"s{n}", "reboot": True, "timeout_seconds": seconds} for n in range(count)]
    return {"customize": each}


def test_a_hundred_steps_fit_with_their_default_time_outs_and_more_with_shorter_ones() -> None:
    recipe(**steps(100, 3600))
    recipe(**steps(200, 1200))


def test_steps_that_may_take_longer_than_a_bake_has_are_refused_with_both_times() -> None:
    recipe(**steps(9, 43_200))
    assert one_problem(**steps(10, 43_200)) == (
        "customize",
        "the time budgets of the steps, with 720 seconds for the delivery of each, come to 122 "
        "hours; a bake has 120 for them: lower timeout_seconds",
    )


# --- tests, Regions, labels ----------------------------------------------------------------------


def test_a_list_of_tests_is_short_for_their_steps() -> None:
    short, long = recipe(test=[SHELL]), recipe(test={"steps": [SHELL]})
    assert short == long
    assert short.test.identity is True and short.test.instance_types == ()


def test_what_synthesis_stores_of_a_list_of_tests_is_the_same_recipe() -> None:
    first = recipe(test=[SHELL])
    assert parse_recipe("web", first.model_dump(mode="json")) == first


def test_without_a_word_on_tests_the_image_is_booted_twice_and_compared() -> None:
    assert recipe().test == TestStage()
    assert recipe().test.identity is True and recipe().test.steps == ()


TIMELESS: dict[str, Any] = {"name": "x", "shell": "true", "timeout_seconds": 1}
LONG = [{"name": f"t{n}", "shell": "true", "timeout_seconds": 7200} for n in range(6)]


@pytest.mark.parametrize(
    ("steps", "below"),
    [
        ([TIMELESS], "[0].timeout_seconds"),
        ([SHELL, "curl localhost"], "[1]"),
        ([{**SHELL, "shell": "{{ x }}"}], "[0].shell"),
        ([SHELL, SHELL], ""),
        (LONG, ""),
    ],
    ids=["field", "no step", "script", "names", "time"],
)
def test_a_problem_of_a_test_has_the_path_that_stands_in_the_recipe(
    steps: list[Any], below: str
) -> None:
    assert one_problem(test=steps)[0] == f"test{below}"
    assert one_problem(test={"steps": steps})[0] == f"test.steps{below}"


def test_tests_have_a_time_budget_of_their_own() -> None:
    recipe(test=LONG[:5])
    recipe(test=[{"name": f"t{n}", "shell": "true", "timeout_seconds": 120} for n in range(50)])
    assert one_problem(test=LONG) == (
        "test",
        "the time budgets of the steps, with 720 seconds for the delivery of each, come to 13.2 "
        "hours; a bake has 12 for them: lower timeout_seconds",
    )


def test_a_test_and_a_step_may_have_the_same_name() -> None:
    recipe(customize=[SHELL], test=[SHELL])


def test_a_region_that_is_named_twice_is_refused_with_both_places() -> None:
    places = [{"region": name} for name in ("eu-west-1", "us-east-1", "eu-west-1")]
    assert one_problem(distribute=places) == (
        "distribute",
        "distribute[0] and distribute[2] are both eu-west-1; make them one",
    )


def in_regions(count: int, templates: int = 0) -> list[dict[str, Any]]:
    named = [f"lt-{number:08x}" for number in range(templates)]
    names = [f"eu-{side}-{n}" for side in ("west", "north", "south", "east") for n in range(10)]
    return [{"region": name, "launch_templates": named} for name in names[:count]]


def test_labels_in_many_regions_are_together_no_more_than_a_bake_moves() -> None:
    labels = ["canary", "stable"]
    recipe(distribute=in_regions(39), publish={"labels": labels})  # 3 in each of 40
    assert one_problem(distribute=in_regions(40), publish={"labels": labels}) == (
        "publish.labels",
        "with the pointer itself they are 3 parameters in each of 41 Regions, and a bake moves at "
        "most 120; name fewer labels or Regions",
    )


def test_launch_templates_of_all_regions_are_together_no_more_than_a_bake_updates() -> None:
    few = {"launch_templates": ["lt-12345678"] * 20}
    recipe(distribute=in_regions(4, templates=20), publish=few)
    path, message = one_problem(distribute=in_regions(5, templates=20), publish=few)
    assert path == "publish.launch_templates"
    assert message.startswith("with those of all Regions they are 120, and a bake updates at most")


def test_an_image_is_published_everywhere_or_nowhere_unless_the_recipe_says_otherwise() -> None:
    assert recipe().publish.regions == "all"
    assert recipe().publish.default_version is False


def test_an_arn_that_is_no_organization_is_answered_with_what_is_one() -> None:
    message = one_problem(**organization("o-a1b2c3d4e5"))[1]
    assert message.startswith("must be the ARN of an organization or of a unit of one")


def test_iops_beyond_what_gp3_gives_for_the_size_are_refused_with_the_size_needed() -> None:
    path, message = one_problem(**volume(size_gib=16, iops=8001))
    assert path == "builder.root_volume.iops"
    assert message.startswith("8001 IOPS need a volume of at least 17 GiB")
    assert "lower iops or raise size_gib" in message


def test_throughput_beyond_what_gp3_gives_for_its_iops_is_refused_with_the_iops_needed() -> None:
    path, message = one_problem(**volume(iops=3000, throughput=751))
    assert path == "builder.root_volume.throughput"
    assert message.startswith("751 MiB/s need at least 3004 iops")
    RootVolume(iops=3000, throughput=750)


# --- steps --------------------------------------------------------------------------------------


def test_the_key_of_a_step_chooses_its_form() -> None:
    kinds = [type(s) for s in recipe(customize=[SHELL, DOCUMENT, REBOOT, APPLICATION]).customize]
    assert kinds == [ShellStep, DocumentStep, RebootStep, ApplicationStep]


@pytest.mark.parametrize(
    ("bad", "given"),
    [
        (None, "is: null"),
        ("apt-get", "is: 'apt-get'"),
        ({"name": "x", "timeout_seconds": 60}, "has: none"),
        ({"name": "x", "shel": "ls"}, "has: shel; did you mean 'shell'?"),
        ({"name": "x", "run": "ls"}, "has: run"),
        ({**SHELL, "reboot": True}, "has: shell, reboot"),
    ],
)
def test_a_step_that_is_nothing_or_two_things_is_refused_at_its_index(
    bad: object, given: str
) -> None:
    assert one_problem(customize=[REBOOT, bad]) == (
        "customize[1]",
        f"needs exactly one of: shell, powershell, document, reboot, application ({given})",
    )


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        (volume(size_gib="20"), "must be a whole number, without quotes (is: '20')"),
        (volume(size_gib=True), "must be a whole number, without quotes (is: true)"),
        (volume(size_gib=20.5), "must be a whole number, without quotes (is: 20.5)"),
        (volume(iops=100_000), "must be at most 80000 (is: 100000)"),
        ({"builder": {"spot": "yes"}}, "must be true or false, without quotes (is: 'yes')"),
        ({"builder": []}, "must be a mapping of keys to values (is: [])"),
        ({"builder": {"instance_types": "t3.medium"}}, "must be a list: [a, b], or a line with"),
        ({"customize": [REBOOT] * 201}, "must have at most 200 entries"),
        ({"customize": [{"name": "r", "reboot": "yes"}]}, "must be true (is: 'yes')"),
        (step(shell=""), "must not be empty (is: '')"),
        (step(shell=["a"]), "must be a text (is: ['a'])"),
        ({"description": None}, "must be a text (is: null)"),
        ({"description": "x" * 256}, "must have at most 255 characters (is: 'xxx"),
        ({"description": "a \u2014 b"}, "must be one line of plain ASCII, which is all that EC2"),
        ({"description": "a\nb"}, "must be one line of plain ASCII"),
        ({"tmp_exec": True}, "must be 'persist', 'bake' or 'keep' (is: true)"),
        ({"base": {"ami": "AMI-1"}}, "must be an image id: ami- and 8 or 17 hexadecimal digits"),
        ({"base": {"parameter": "/a//b"}}, "must be a parameter's full name: at most 15 parts"),
        ({"base": {"parameter": "/a/"}}, "must be a parameter's full name"),
        ({"base": {"parameter": "/a" * 16}}, "must be a parameter's full name"),
        ({"base": {"parameter": "/aws/reference/secretsmanager/x"}}, "names a secret"),
        (schedule(cron="rate(1 day)"), "takes the six fields alone"),
        (application(directory="/etc"), "/etc belongs to the system; name a directory below it"),
        (application(directory="/tmp/app"), "/tmp/app is no place for an application"),
    ],
)
def test_what_is_wrong_is_told_in_plain_words(fields: dict[str, Any], says: str) -> None:
    assert one_problem(**fields)[1].startswith(says)


def test_every_pattern_of_the_model_has_words() -> None:
    schema = json.dumps(Recipe.model_json_schema())
    patterns = {
        json.loads(found) for found in re.findall(r'"pattern": ("(?:[^"\\]|\\.)*")', schema)
    }
    assert len(patterns) > 15
    assert patterns <= WORDS.keys()


def test_blanks_around_a_description_are_not_its_content() -> None:
    assert recipe(description=" nginx \n").description == "nginx"


@pytest.mark.parametrize("field", ["customize", "test"])
def test_a_duplicate_step_name_is_refused_with_both_names(field: str) -> None:
    steps = [SHELL, {**SHELL, "name": "Install (1)"}, {**SHELL, "name": "install 1"}]
    assert one_problem(**{field: steps}) == (
        field,
        f"{field}[1] 'Install (1)' and {field}[2] 'install 1' are named alike; rename one of them",
    )


@pytest.mark.parametrize(
    "script",
    ["echo {{ Name }}", "x={{ssm:/my/secret}}", "{{ ssm-secure:pw:2 }}".replace(":2", ""), "{{a}}"],
)
def test_a_script_that_systems_manager_would_rewrite_is_refused(script: str) -> None:
    path, message = one_problem(**step(shell=f"true\n{script}\n"))
    assert path == "customize[0].shell"
    assert message.startswith("{{")
    assert "would be replaced by Systems Manager" in message


@pytest.mark.parametrize("script", ["echo ${HOME}", "a() { { true; } }", "x={ {a}}", "{{ a b }}"])
def test_other_braces_in_a_script_are_left_in_peace(script: str) -> None:
    recipe(**step(shell=script))


@pytest.mark.parametrize("script", ["é" * 40_000, "\n" * 30_000, '"' * 40_000])
def test_a_script_that_is_too_large_as_a_document_is_refused_before_deployment(script: str) -> None:
    path, message = one_problem(**step(shell=script))
    assert path == "customize[0].shell"
    assert "application archive" in message


@pytest.mark.parametrize("where", ["", "arn:aws:ssm:eu-west-1:444455556666:document/"])
@pytest.mark.parametrize(
    ("name", "says", "instead"),
    [
        ("AmiBakery-bundle-instance-store", "belongs to the bakery", "another name"),
        ("AmiBakery-convert-instance-store", "belongs to the bakery", "shell, reboot or applic"),
        ("AmiBakery.web.packages", "'AmiBakery.web.packages' belongs to the bakery", "shell"),
        ("amibakery-Convert-Instance-Store", "belongs to the bakery", "another name"),
        ("AMIBAKERY.web.packages", "belongs to the bakery", "shell"),
        ("AmiBakery.web.test.answers", "belongs to the bakery", "write the step with shell"),
        ("AWS-RunDocument", "deployed or not", "name that document itself"),
    ],
)
def test_a_document_of_the_bakery_or_one_that_runs_any_other_is_no_step(
    where: str, name: str, says: str, instead: str
) -> None:
    with pytest.raises(InvalidRecipeError) as refused:
        recipe(**named(where + name))
    (problem,) = refused.value.problems
    assert problem.path == "customize[0].document"
    assert says in problem.message and instead in problem.message


def test_a_parameter_of_a_document_is_a_text_or_a_list_of_texts() -> None:
    given_ = {"Operation": "Scan", "Commands": ["a", "b"], "Empty": []}
    step_ = recipe(customize=[{"name": "d", "document": "AWS-X", "parameters": given_}]).customize[
        0
    ]
    assert isinstance(step_, DocumentStep)
    assert step_.parameters == {"Operation": "Scan", "Commands": ("a", "b"), "Empty": ()}


@pytest.mark.parametrize("value", [3, True, None, ["a", 3], {"a": "b"}])
def test_a_parameter_that_is_no_text_is_one_problem_at_the_parameter(value: object) -> None:
    steps = [{"name": "d", "document": "AWS-X", "parameters": {"Count": value}}]
    path, message = one_problem(customize=steps)
    assert path == "customize[0].parameters.Count"
    assert message.startswith("must be a text or a list of texts, in quotes")


# --- sharing and schedule -----------------------------------------------------------------------


@pytest.mark.failure(40)
@pytest.mark.parametrize(
    "key", [None, "alias/aws/ebs", "arn:aws:kms:eu-west-1:111122223333:alias/aws/ebs"]
)
@pytest.mark.parametrize(
    "shared",
    [
        {"accounts": ["111122223333"]},
        {"organizations": [ORGANIZATION]},
    ],
)
def test_sharing_an_image_encrypted_with_the_default_key_is_refused(
    key: str | None, shared: dict[str, object]
) -> None:
    path, message = one_problem(**destination(kms_key=key, **shared))
    assert path == "distribute[0]"
    assert "customer managed key" in message


def test_the_default_key_is_fine_for_a_copy_that_is_not_shared() -> None:
    recipe(**destination(kms_key="alias/aws/ebs"))


@pytest.mark.parametrize(
    "timezone", ["", "Mars/Olympus", "localtime", "Factory", "../UTC", "europe/london", "GMT+25"]
)
def test_a_time_zone_that_scheduler_does_not_know_is_refused(timezone: str) -> None:
    path, message = one_problem(**schedule(timezone=timezone))
    assert path == "schedule.timezone"
    assert message.startswith(f"'{timezone}' is no IANA time zone; write one such as")


def test_a_bad_cron_expression_is_refused_at_its_path() -> None:
    path, message = one_problem(schedule={"cron": "0 3 * * *"})
    assert path == "schedule.cron"
    assert "has 5 fields" in message


def test_blanks_around_and_inside_a_cron_expression_never_reach_scheduler() -> None:
    parsed = recipe(schedule={"cron": " 0  3 *\t* ? *\n"})
    assert parsed.schedule is not None
    assert parsed.schedule.cron == "0 3 * * ? *"


# --- secrets ----------------------------------------------------------------------------------

SECRET_ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/db-AbCdEf"
KEY_ARN = "arn:aws:kms:eu-west-1:123456789012:key/01234567-89ab-cdef-0123-456789abcdef"


@pytest.mark.parametrize(
    "secrets",
    [
        {"A": {"secret": "prod/db"}},
        {"_a1": {"secret": SECRET_ARN, "key": "password", "kms_key": KEY_ARN}},
        {"A": {"parameter": "/prod/token", "kms_key": KEY_ARN}, "B": {"secret": "a/_+=.@-b"}},
    ],
)
def test_a_step_may_name_secrets(secrets: dict[str, object]) -> None:
    step = recipe(customize=[{"name": "x", "shell": "true", "secrets": secrets}]).customize[0]
    assert step.model_dump(exclude_none=True)["secrets"] == secrets


@pytest.mark.parametrize(
    ("secrets", "problem"),
    [
        ({"1A": {"secret": "x"}}, "customize[0].secrets.1A: must be the name of an environment va"),
        ({"A-B": {"secret": "x"}}, "customize[0].secrets.A-B: must be the name of an environment "),
        ({"A;id": {"secret": "x"}}, "customize[0].secrets.A;id: must be the name of an environme"),
        ({"A": {}}, "customize[0].secrets.A: needs exactly one of: secret, parameter"),
        ({"A": {"secret": "x", "parameter": "/x"}}, "customize[0].secrets.A: needs exactly one"),
        ({"A": "hunter2"}, "customize[0].secrets.A: must be {secret: NAME} or {parameter: NAME}"),
        ({"A": ["hunter2"]}, "customize[0].secrets.A: must be {secret: NAME} or {parameter: NAM"),
        ({"A": {"value": "hunter2"}}, "customize[0].secrets.A: needs exactly one of: secret, par"),
        ({"A": {"secret": "it's"}}, "customize[0].secrets.A.secret: must be a secret's name"),
        ({"A": {"secret": "$(id)"}}, "customize[0].secrets.A.secret: must be a secret's name"),
        ({"A": {"secret": "a\nb"}}, "customize[0].secrets.A.secret: must be a secret's name"),
        ({"A": {"secret": "prod*"}}, "customize[0].secrets.A.secret: must be a secret's name"),
        ({"A": {"secret": SECRET_ARN[:-7]}}, "customize[0].secrets.A.secret: must be a secret's"),
        ({"A": {"secret": "x", "key": "a b"}}, "customize[0].secrets.A.key: must be a key of the"),
        ({"A": {"secret": "x", "kms_key": "alias/x"}}, "customize[0].secrets.A.kms_key: must be"),
        ({"A": {"parameter": "x"}}, "customize[0].secrets.A.parameter: must be a parameter's full"),
        ({"A": {"parameter": "/x", "key": "a"}}, "customize[0].secrets.A.key: is not a known key"),
        (
            {"A": {"parameter": "/aws/reference/secretsmanager/prod/db"}},
            "customize[0].secrets.A.parameter: names a secret of Secrets Manager; write secret: p",
        ),
        (
            {f"A{n}": {"secret": "x"} for n in range(21)},
            "customize[0].secrets: must have at most 20 entries",
        ),
    ],
)
def test_a_secret_that_is_none_is_refused_with_its_path(
    secrets: dict[str, object], problem: str
) -> None:
    steps = [{"name": "x", "shell": "true", "secrets": secrets}]
    with pytest.raises(InvalidRecipeError) as caught:
        recipe(customize=steps)
    assert [str(it).startswith(problem) for it in caught.value.problems] == [True], caught.value
    assert "hunter2" not in str(caught.value)


def test_secrets_leave_less_room_for_the_script() -> None:
    steps = [{"name": "x", "shell": "x" * 40_000, "secrets": {"A": {"secret": "x"}}}]
    with pytest.raises(InvalidRecipeError, match="secrets: leave no room for a script of 40004"):
        recipe(customize=steps)
    assert recipe(customize=[{**steps[0], "secrets": {}}]).customize


def test_a_test_has_no_secrets() -> None:
    steps = [{"name": "answers", "shell": "true", "secrets": {"A": {"secret": "x"}}}]
    with pytest.raises(InvalidRecipeError, match="test: 'answers' has secrets, and a test inst"):
        recipe(test=steps)


@pytest.mark.parametrize("kind", [{"reboot": True}, {"document": "AWS-RunPatchBaseline"}])
def test_only_a_script_has_secrets(kind: dict[str, object]) -> None:
    steps = [{"name": "x", **kind, "secrets": {"A": {"secret": "x"}}}]
    with pytest.raises(InvalidRecipeError, match=r"customize\[0\].secrets: is not a known key"):
        recipe(customize=steps)
