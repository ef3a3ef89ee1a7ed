"""Bad input to an execution: what, where and what to do, and nothing is made.

What the recipe model itself refuses (two bases, no base, a bad cron, a duplicate key, tabs, ...)
is never deployed and cannot be an execution's input; the command line's tests try those.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from scripts.bakery_cli.synthesis import synthesize
from scripts.local import LocalAws, moto_seam
from scripts.local.calls import Call
from tests.functional.conftest import Ended, World

BAD_RECIPES = Path(__file__).parent / "bad_recipes"

_TELLING = {
    ("MachineBakeRole", "Invoke"),
    ("FailBake", "SendTaskFailure"),
    ("AnnounceBake", "PutItem"),
    ("AnnounceBake", "PutEvents"),
}
"""How a failure is told: by whom, and with which call."""
_LIMIT = 262_144

# name of the recipe: path of each problem and what the cause says about it
RECIPES: dict[str, dict[str, tuple[str, ...]]] = {
    "missing-parameter": {
        "base.parameter": (
            "there is no SSM parameter /aws/service/canonical/ubuntu/server/12.04/",
            "correct the name",
        )
    },
    "text-parameter": {
        "base.parameter": (
            "parameter /images/text (String) holds a text of ",
            " characters instead of one image id",
            "name another parameter",
        )
    },
    "list-parameter": {
        "base.parameter": (
            "/images/list (StringList) holds a text of 43 characters instead",
            "put one such as ami-0123456789abcdef0 into it",
        )
    },
    "secret-parameter": {
        "base.parameter": ("/images/secret is a SecureString", "store it as a String")
    },
    "spoilt-pointer": {
        "": ("the recipe's pointer is spoilt: parameter /ami-bakery/spoilt-pointer/image (String)",)
    },
    "spoilt-base": {
        "base.recipe": ("/ami-bakery/spoilt-pointer/image (String) holds a text of 8 char",)
    },
    "missing-image": {
        "base.ami": ("no image ami-0123456789abcdef0", "image ids belong to one Region")
    },
    "disabled-image": {
        "base": ("ami-0bad00000000000f5 (awkward-disabled) is disabled", "choose another")
    },
    "deprecated-image": {
        "base": (
            "ami-0a201803000000064 (amzn-ami-hvm-2018.03.0.20231218.0-x86_64-gp2) is deprecated "
            "since 2025-12-19",
            "write allow_deprecated: true",
        )
    },
    "other-origin": {
        "base.owner": ("is self, but image ami-0a120230000000064", "is owned by 137112412989"),
        "base.name": ("is 'hardened-*', but image ami-0a120230000000064 is named 'al2023-",),
    },
    "moved-pointer": {
        "base.recipe": (
            "the pointer of recipe windows holds image ami-0a120230000000064",
            "find out who has moved it",
        )
    },
    "nothing-found": {
        "base.search": ("099720109477", "ubuntu/images/*/ubuntu-warty-*", "correct the name")
    },
    "other-owner": {"base.search": ("owner self", "correct the name or the owner")},
    "no-image-yet": {
        "base.recipe": ("/ami-bakery/good/image", "bake that recipe first"),
    },
    "no-host": {
        "base.instance": (
            "there is no instance i-0123456789abcdef0 in this Region and account",
            "an image of it may be",
        )
    },
    "arm64-on-x86": {
        "builder.instance_types[1]": (
            "t3.small runs x86_64, but image ami-0a1202300000000a4 is arm64",
            "choose types or an image of one architecture",
        )
    },
    "x86-on-arm64": {
        "builder.instance_types[0]": ("t4g.small runs arm64", "is x86_64", "of one architecture")
    },
    "bits-32": {
        "base": ("awkward-i386", "is i386, not 64-bit", "choose its x86_64 or arm64 edition"),
        "builder.instance_types[0]": ("t3.small",),
    },
    "paravirtual": {
        "builder.instance_types[0]": (
            "m5.large runs hvm images, but ami-0bad00000000000f1 is paravirtual",
            "choose an hvm image or an older type",
        ),
    },
    "instance-store": {
        "base": ("instance-store root", "choose an EBS-backed edition"),
        "builder.instance_types[0]": ("t2.small does not boot from instance-store",),
    },
    "uefi-only": {
        "builder.instance_types[0]": ("t2.small boots by legacy-bios", "needs uefi"),
        "builder.instance_types[1]": (
            "m4.large boots by legacy-bios",
            "choose a type that lists this boot mode",
        ),
    },
    "no-ena": {
        "builder.instance_types[0]": ("t3.small requires ENA", "choose an image with ENA support")
    },
    "windows": {"base": ("is Windows, and the recipe does not have", "choose a Linux image")},
    "windows-on-linux": {"base": ("is no Windows (Linux/UNIX)", "choose a Windows image")},
    "unknown-type": {
        "builder.instance_types[1]": (
            "'t9.enormous' is no instance type of this Region",
            "correct or remove it",
        )
    },
    "small-volume": {
        "builder.root_volume.size_gib": ("4 GiB is smaller than the base image's 8 GiB",)
    },
    "greedy-volume": {
        "builder.root_volume.iops": ("16000 IOPS need a volume of at least 32 GiB", "raise size")
    },
    "wrong-places": {
        "test.instance_types[0]": ("t4g.small runs arm64", "of one architecture"),
        "distribute[0].region": ("eu-nowhere-1 is no Region that is enabled", "enable it first"),
        "distribute[1].kms_key": ("there is no key alias/nobodys in eu-central-1",),
        "distribute[2].kms_key": ("alias/gone in us-east-1 is PendingDeletion, not Enabled",),
        "distribute[3].kms_key": ("is managed by AWS", "name a customer managed key"),
        "distribute[4].kms_key": ("alias/signing is not symmetric",),
        "distribute[4].launch_templates[0]": (
            "there is no launch template lt-0123456789abcdeff in us-west-2",
        ),
        "publish.launch_templates[0]": (
            "there is no launch template lt-0123456789abcdefe in eu-west-1",
        ),
    },
    "wrong-fast-launch": {
        "distribute[0].fast_launch.launch_template": (
            "there is no launch template lt-0123456789abcdeff in eu-central-1",
        ),
        "distribute[1].fast_launch.version": (
            "lt-0123456789abcdefa in us-east-1 has no version 7; its latest is 1",
        ),
    },
    "missing-document": {
        "customize[1].document": (
            "there is no document 'No-SuchDocument' in this account and Region",
            "correct its name, or deploy the stack",
        )
    },
    "wrong-documents": {
        "customize[0].document": (
            "'AWS-RestartEC2Instance' is of type Automation, and only those of type Command run",
            "name another",
        ),
        "customize[1].document": ("'AWS-ConfigureWindowsUpdate' is for Windows, not for Linux",),
    },
    "wrong-parameters": {
        "customize[0].parameters": ("Operation: 'Repair' is not one of Scan, Install",),
        "customize[1].parameters": (
            "Operatoin: the document has no such parameter",
            "RebootOption",
        ),
        "customize[2].parameters": ("Operation: a value is required",),
        "customize[3].parameters": ("Operation: takes exactly one value, not 2",),
    },
    "taken-name": {
        "image_name": (
            "'awkward-disabled' is the name of image ami-0bad00000000000f5 already",
            "put {time} or {bake} into the template",
        )
    },
    "short-name": {"image_name": ("yields 'ab'", "3 to 128 characters")},
    "long-name": {"image_name": ("yields 'long-name-long-name-", "3 to 128 characters")},
    "many-problems": {
        "base": ("is i386",),
        "builder.instance_types[0]": ("'t9.enormous'",),
        "builder.instance_types[1]": ("t3.small",),
        "builder.root_volume.size_gib": ("4 GiB",),
        "customize[0].document": ("No-SuchDocument",),
        "customize[1].parameters": ("'Repair'",),
        "image_name": ("'ab'",),
    },
}

# What somebody put into Parameter Store: name to type and value
PARAMETERS = {
    "/images/text": ("String", json.dumps({"image_id": "ami-0a120230000000064", "os": "x" * 99})),
    "/images/list": ("StringList", "ami-0a120230000000064,ami-0a1202300000000a4"),
    "/images/secret": ("SecureString", "ami-0a120230000000064"),
    "/ami-bakery/spoilt-pointer/image": ("String", "none yet"),
    "/ami-bakery/windows/image": ("String", "ami-0a120230000000064"),
}

_A_BASE_NAME = 'Write {"recipe": NAME}. Deployed recipes: arm64-on-x86, '

# what is given: path of each problem and what the cause says about it
INPUTS: dict[str, tuple[object, dict[str, str]]] = {
    "nothing": ({}, {"recipe": "is missing"}),
    "a list": ([], {"": "must be a mapping of keys to values (is: "}),
    "a text": ("text", {"": "must be a mapping of keys to values (is: "}),
    "a number": (7, {"": "must be a mapping of keys to values (is: "}),
    "null": (None, {"": "must be a mapping of keys to values (is: "}),
    "an unknown key": (
        {"recipe": "good", "froce": True},
        {"froce": "is not a known key; remove it or correct its spelling"},
    ),
    "force in quotes": (
        {"recipe": "good", "force": "yes"},
        {"force": "must be true or false, without quotes"},
    ),
    "force as a number": ({"recipe": "good", "force": 1}, {"force": "must be true or false"}),
    "force as null": ({"recipe": "good", "force": None}, {"force": "must be true or false"}),
    "a recipe that is a number": ({"recipe": 7}, {"recipe": "must be a text (is: 7)"}),
    "a recipe that is null": ({"recipe": None}, {"recipe": "must be a text (is: null)"}),
    "two recipes": ({"recipe": ["good", "windows"]}, {"recipe": "must be a text"}),
    "a recipe in capitals": (
        {"recipe": "Good"},
        {"recipe": "must be a recipe's name: 2 to 48 lower-case letters"},
    ),
    "a path": ({"recipe": "../good"}, {"recipe": "(is: '../good')"}),
    "a slot that is a number": ({"recipe": "good", "slot": 7}, {"slot": "must be a text (is: 7)"}),
    "a slot that is no moment": (
        {"recipe": "good", "slot": "tonight"},
        {"slot": "'tonight' is no moment such as 2026-01-31T03:00:00Z"},
    ),
    "a slot without a time zone": (
        {"recipe": "good", "slot": "2026-01-31T03:00:00"},
        {"slot": "is no moment such as 2026-01-31T03:00:00Z"},
    ),
    "a slot that is too long": (
        {"recipe": "good", "slot": "2" * 41},
        {"slot": "must have at most 40 characters"},
    ),
    "a slot that is to come": (
        {"recipe": "good", "slot": "2199-01-31T03:00:00Z"},
        {"slot": "'2199-01-31T03:00:00Z' is "},
    ),
    "a slot beyond the calendar": (
        {"recipe": "good", "slot": "9999-12-31T23:59:59-05:00"},
        {"slot": "'9999-12-31T23:59:59-05:00' is no moment such as"},
    ),
    "a way to be busy that there is not": (
        {"recipe": "good", "when_busy": "wait"},
        {"when_busy": "must be 'queue', 'join' or 'refuse' (is: 'wait')"},
    ),
    "a turn that nobody had": (
        {"recipe": "good", "await_turn": {"entered": "2026-01-31T03:00:00Z"}, "plan": {}},
        {"await_turn": "is not a known key", "plan": "is not a known key"},
    ),
    "everything at once": (
        {"recipe": 7, "force": "yes", "slot": 7, "instance": "t3.small"},
        {"recipe": "(is: 7)", "force": "must be", "slot": "(is: 7)", "instance": "not a known key"},
    ),
}


@pytest.fixture(scope="module")
def bad_assembly() -> Path:
    """The cloud assembly of the stack with recipes that cannot be baked."""
    return synthesize(BAD_RECIPES, lambda _: None)


@pytest.fixture(scope="module")
def bad_world(bad_assembly: Path) -> Iterator[World]:
    with LocalAws.start(bad_assembly, region="eu-west-1", scale=120.0) as aws:
        world = World(aws, aws.deploy())
        for name, (type_, value) in PARAMETERS.items():
            aws.client("ssm").put_parameter(Name=name, Type=type_, Value=value)
        _make_keys(aws)
        aws.ec2.launch_template("lt-0123456789abcdefa", "us-east-1", InstanceType="t3.xlarge")
        yield world


def _make_keys(aws: LocalAws) -> None:
    """Keys that cannot encrypt an image, or none that others may use."""
    for region, name, more in (
        ("us-east-1", "gone", {}),
        ("us-east-2", "managed", {}),
        ("us-west-2", "signing", {"KeySpec": "RSA_2048", "KeyUsage": "SIGN_VERIFY"}),
    ):
        kms = aws.client("kms", region)
        key = kms.create_key(**more)["KeyMetadata"]["KeyId"]
        kms.create_alias(AliasName=f"alias/{name}", TargetKeyId=key)
        if name == "gone":
            kms.schedule_key_deletion(KeyId=key)
        if name == "managed":
            moto_seam.backend("kms", region).keys[key].key_manager = "AWS"


@pytest.fixture
def refusing(bad_world: World) -> Iterator[World]:
    """The world, in which nothing may have been made at the end of the test."""
    before = made(bad_world)
    bad_world.aws.calls.clear()
    yield bad_world
    # The operator (start_execution) and AWS's own services have no role.
    calls = [call for call in bad_world.aws.calls if call.principal.role]
    assert calls
    assert [call for call in calls if not call.reads and not tells_a_failure(call)] == []
    assert made(bad_world) == before


def tells_a_failure(call: Call) -> bool:
    return any(role in call.principal.role and call.operation == what for role, what in _TELLING)


def made(world: World) -> list[str]:
    """Ids of everything in the account that a bake could make, and of all that carries its tags."""
    ec2 = world.aws.ec2
    kinds = {
        "instances": "InstanceId",
        "volumes": "VolumeId",
        "images": "ImageId",
        "snapshots": "SnapshotId",
    }
    ids = [record[key] for kind, key in kinds.items() for record in ec2.all(kind)]
    tagged = world.aws.client("ec2").describe_tags(
        Filters=[{"Name": "key", "Values": ["ami-bakery:*"]}]
    )["Tags"]
    return sorted([*ids, *(tag["ResourceId"] for tag in tagged)])


def refused(world: World, content: object, *, name: str | None = None) -> Ended:
    ended = world.ended(world.start(content, name=name))
    assert ended.status == "FAILED"
    assert ended.output == {}
    return ended


def problems(ended: Ended) -> dict[str, str]:
    """Path and message of each line of the cause that tells a problem."""
    lines = [line[2:] for line in ended.cause.splitlines() if line.startswith("- ")]
    found = [re.fullmatch(r"(?:([\w.\[\]]+): )?(.*)", line) for line in lines]
    return {match[1] or "": match[2] for match in found if match}


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_that_cannot_be_baked_tells_every_problem_with_its_path(
    refusing: World, recipe: str
) -> None:
    ended = refused(refusing, {"recipe": recipe})
    assert ended.error == "InvalidRecipeError"
    assert ended.cause.startswith(f"Recipe '{recipe}' cannot be baked:\n")
    found, expected = problems(ended), RECIPES[recipe]
    assert set(found) == set(expected), ended.cause
    for path, words in expected.items():
        assert all(word in found[path] for word in words), found[path]


def test_the_table_has_every_recipe_of_its_folder() -> None:
    assert {path.stem for path in BAD_RECIPES.glob("*.yaml")} == set(RECIPES) | {"good"}


@pytest.mark.parametrize("case", INPUTS)
def test_an_input_that_is_no_bakes_tells_every_problem_and_how_to_write_it(
    refusing: World, case: str
) -> None:
    content, expected = INPUTS[case]
    ended = refused(refusing, content)
    assert ended.error == "InvalidInputError"
    assert ended.cause.startswith("The execution input is not valid:\n")
    assert _A_BASE_NAME in ended.cause
    assert ", good, " in ended.cause
    found = problems(ended)
    assert set(found) == set(expected), ended.cause
    for path, words in expected.items():
        assert words in found[path]


def test_an_unknown_recipe_is_answered_with_those_that_exist(refusing: World) -> None:
    ended = refused(refusing, {"recipe": "god"})
    assert ended.error == "UnknownRecipeError"
    assert ended.cause == (
        "There is no recipe 'god'. Deployed recipes: "
        f"{', '.join(sorted(path.stem for path in BAD_RECIPES.glob('*.yaml')))}."
    )


@pytest.mark.parametrize("name", ["bake(1)", "bake'1", "bäke", "a+b", "a@b=c!"])
def test_an_execution_name_that_cannot_be_a_tag_is_refused_with_what_it_may_have(
    refusing: World, name: str
) -> None:
    """Names that StartExecution lets through; they would be a parameter of documents."""
    ended = refused(refusing, {"recipe": "good"}, name=name)
    assert ended.error == "InvalidInputError"
    assert f"The execution name '{name}' cannot be used." in ended.cause
    assert "letters, digits, '-', '_' and '.' only" in ended.cause


@pytest.mark.parametrize("name", ["bake 1", "bake#1", "bake/1", "bake*", "b" * 81])
def test_step_functions_itself_refuses_other_names(bad_world: World, name: str) -> None:
    bad_world.aws.calls.clear()
    with pytest.raises(ClientError) as failed:
        bad_world.start({"recipe": "good"}, name=name)
    assert failed.value.response["Error"]["Code"] in ("InvalidName", "ValidationException")
    assert bad_world.aws.calls.of(role="Plan") == []


def test_step_functions_itself_refuses_an_input_beyond_its_limit(bad_world: World) -> None:
    bad_world.aws.calls.clear()
    content = {"recipe": "good", "note": ""}
    content["note"] = "x" * (_LIMIT + 1 - len(json.dumps(content)))
    with pytest.raises(ClientError) as failed:
        bad_world.start(content)
    assert failed.value.response["Error"]["Code"] == "ValidationException"
    assert str(_LIMIT) in str(failed.value)
    assert bad_world.aws.calls.of(role="Plan") == []


@pytest.mark.parametrize(
    "content",
    [
        {"recipe": "good", "x" * 250_000: 1},
        {"recipe": "good", "note": "x" * 250_000},
        {"recipe": "x" * 250_000},
        {"recipe": "good", **{f"key-{number}": 1 for number in range(15_000)}},
        ["x"] * 50_000,
    ],
    ids=["a long key", "a long value", "a long name", "many keys", "a long list"],
)
def test_an_input_within_the_limit_is_answered_briefly(refusing: World, content: object) -> None:
    """A cause has 32,768 characters, and the state that carries it 256 KiB."""
    assert len(json.dumps(content)) <= _LIMIT
    ended = refused(refusing, content)
    assert ended.error == "InvalidInputError"
    assert len(ended.cause) < 32_768
    assert _A_BASE_NAME in ended.cause
