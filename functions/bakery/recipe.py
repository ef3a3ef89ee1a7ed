"""The recipe: what to bake, how, when and for whom.

This is *the* model. The same classes check a file in ``recipes/`` when somebody edits it, at
synthesis, and in the Plan task; the JSON schema for editors and ``docs/recipe-reference.md`` are
generated from it. It does no I/O.
"""

import re
import zoneinfo
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Strict,
    StringConstraints,
    Tag,
    ValidationError,
    ValidationInfo,
    field_serializer,
    field_validator,
    model_validator,
)

from bakery import budgets, formats, texts
from bakery.cron import cron_problem
from bakery.documents import MAX_BYTES, size_of
from bakery.errors import InvalidRecipeError
from bakery.naming import DOCUMENT_PREFIX, image_name_problem, slug
from bakery.problems import LinesError, Problem, one_line
from bakery.wording import message, shown

MAX_RECIPE_BYTES = 200 * 1024
"""Of the whole recipe; what of it travels as state is held against its own limit by Plan."""

MAX_POINTERS, MAX_TEMPLATES = 120, 100
"""In all Regions together: what an execution's state has room for, and a bake time."""

MAX_KEY_BYTES = 1024
"""S3's limit for a key; here of the whole source."""

MAX_SCRIPT_BYTES = MAX_BYTES - 1024
"""What the lines of a step's script may take as JSON: the rest of its document is small."""

MAX_SECRETS = 20
BYTES_FOR_SECRETS = 30 * 1024
"""What a step's document needs beside the script when it has secrets: what gets them, and so many
of their names."""

# Limits of gp3 since September 2025. Source: EC2 API reference, EbsBlockDevice and CreateVolume;
# the ratio: EBS user guide, "General Purpose SSD volumes".
GP3_IOPS = (3000, 80_000)
GP3_IOPS_PER_GIB = 500

AmiId = Annotated[str, StringConstraints(pattern=formats.AMI_ID.pattern)]
Region = Annotated[str, StringConstraints(pattern=formats.REGION.pattern)]
AccountId = Annotated[str, StringConstraints(pattern=formats.ACCOUNT_ID.pattern)]
LaunchTemplateId = Annotated[str, StringConstraints(pattern=formats.LAUNCH_TEMPLATE_ID.pattern)]
InstanceType = Annotated[str, StringConstraints(pattern=formats.INSTANCE_TYPE.pattern)]
StepName = Annotated[str, StringConstraints(pattern=formats.STEP_NAME.pattern)]
OwnerId = Annotated[str, StringConstraints(pattern=formats.OWNER_ID.pattern)]
Number = Annotated[int, Strict()]
Flag = Annotated[bool, Strict()]
RecipeName = Annotated[str, StringConstraints(pattern=formats.RECIPE_NAME.pattern)]

# A text between double braces is a parameter to Systems Manager, wherever it stands in a document.
# The agent's names have letters and digits only, so `{{.State}}` of other tools is left alone; one
# of Parameter Store may have a version or label after a colon.
_SSM_PARAMETER = re.compile(r"\{\{\s*(?:ssm(?:-secure)?:[^{}]+|[A-Za-z0-9]+)\s*\}\}")

# Runs what its parameters say, from anywhere: the rights to send commands would bind nothing.
# Source: Systems Manager user guide, "Running documents from remote locations".
_RUNS_ANOTHER = "AWS-RunDocument"

# In a value of a parameter, Systems Manager resolves these when the command is sent.
_STORED_VALUE = re.compile(r"\{\{\s*ssm:[^{}]+\}\}")

# What install-application refuses on the builder, as well; tests/documents compares the two.
_OF_THE_SYSTEM = {
    f"/{name}"
    for name in (
        *("bin", "boot", "dev", "etc", "home", "lib", "lib64", "opt", "proc", "root", "run"),
        *("sbin", "srv", "sys", "tmp", "usr", "var"),
    )
}
_NO_PLACE = ("/boot/", "/dev/", "/proc/", "/run/", "/sys/", "/tmp/", "/var/tmp/")

# What Python lists besides IANA's zones, on some machines only.
_NO_PLACES = {"Factory", "localtime"}


@cache
def _zones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones() - _NO_PLACES)


class Model(BaseModel):
    """Frozen, and refuses keys that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=False)


# --- base -------------------------------------------------------------------------------------


class _Image(Model):
    allow_deprecated: Flag = Field(
        default=False,
        description="Take the image even if its owner has deprecated it, as publishers do with "
        "those that they have replaced.",
    )


class _Named(_Image):
    owner: OwnerId | None = Field(
        default=None,
        description="Who must own the image: an account id (12 digits, in quotes), `self` or "
        "`amazon`.",
    )
    name: str | None = Field(
        default=None,
        description="What the image's name must be; `*` and `?` are wildcards.",
        min_length=3,
        max_length=128,
        pattern=formats.IMAGE_SEARCH.pattern,
    )


class ParameterBase(_Named):
    """A base image named by an SSM parameter, such as those that AWS and Canonical publish."""

    parameter: str = Field(
        description="Name of an SSM parameter whose value is an AMI id, public ones included.",
        max_length=1011,
        pattern=formats.PARAMETER.pattern,
        examples=["/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"],
    )

    @field_validator("parameter")
    @classmethod
    def _no_secret(cls, parameter: str) -> str:
        if parameter.startswith("/aws/reference/secretsmanager/"):
            raise ValueError("names a secret; an image id is none, store it as a String parameter")
        return parameter


class AmiBase(_Named):
    """A base image pinned by id: what an id stands for never changes."""

    ami: AmiId = Field(description="Id of the base image, in the Region of the stack.")


class ImageSearch(Model):
    """A search for the newest image of one owner; never by name alone."""

    owner: OwnerId = Field(
        description="Account id that owns the image (12 digits, in quotes), `self` or `amazon`. "
        "Without it anybody could publish an image of that name."
    )
    name: str = Field(
        description="Name of the image; `*` and `?` are wildcards.",
        min_length=3,
        max_length=128,
        pattern=formats.IMAGE_SEARCH.pattern,
    )
    architecture: Literal["x86_64", "arm64"] = Field(
        default="x86_64", description="Architecture of the image."
    )


class SearchBase(_Image):
    """The newest image of an owner whose name fits."""

    search: ImageSearch = Field(description="Owner and name; the newest image that fits is taken.")


class RecipeBase(Model):
    """The current image of another recipe of this bakery."""

    recipe: RecipeName = Field(description="Name of the recipe whose pointer names the base image.")
    follow: Flag = Field(
        default=True,
        description="Bake as soon as that recipe has a new image; `false`: only by its own "
        "schedule, or when somebody starts it.",
    )


class InstanceBase(Model):
    """An instance that already runs, such as one that OpsWorks once configured.

    It is imaged as it runs, and the builder is its clone; see docs/architecture.md.
    """

    instance: str = Field(
        description="Id of the instance, in the Region of the stack. It is imaged and looked at, "
        "never stopped, changed, tagged or ended.",
        pattern=formats.INSTANCE_ID.pattern,
    )
    quiesce: Literal["none", "reboot"] = Field(
        default="none",
        description="`none`: the instance is not touched, and its image is what a power cut at "
        "that moment would leave: file systems recover by their journals, a database by its log, "
        "what was in memory only is lost. `reboot`: EC2 shuts it down, takes the snapshots and "
        "starts it again, so that all is on the disk; it is away for minutes, and may not come "
        "back if it has not been restarted for long; so not with a schedule. Or stop it yourself, "
        "bake, start it: a stopped instance is imaged as it is.",
    )
    data_volumes: Literal["leave_out", "include"] = Field(
        default="leave_out",
        description="EBS volumes beside the root: not in the image, or in it with all their data. "
        "Left out, /etc/fstab must let the host boot without them (`nofail`).",
    )
    instance_store: Literal["refuse", "leave_out"] = Field(
        default="refuse",
        description="Volumes of the instance store, which no image has: refuse an instance with "
        "some, or leave them out. /etc/fstab must let the host boot without them (`nofail`).",
    )
    unmanaged: Literal["refuse", "allow"] = Field(
        default="refuse",
        description="An instance that does not report to Systems Manager: refuse it, or allow it "
        "because its agent is installed and only lacks rights, which its clone has.",
    )

    @field_validator("quiesce", mode="before")
    @classmethod
    def _nobody_stops_it(cls, quiesce: object) -> object:
        if quiesce == "stop":
            raise ValueError(
                "is 'stop', which a bake does not do: one that is cut short would leave the host "
                "stopped, and a stop gives up its public address and its instance store; stop it "
                "yourself, bake, and start it again, or write reboot"
            )
        if isinstance(quiesce, Mapping) or quiesce in ("freeze", "document"):
            raise ValueError(
                "asks for something that runs on the host, and nothing does: a bake that is cut "
                "short would leave it frozen; flush and hold it yourself until the snapshots of "
                "the clone have begun (docs/decisions/0010), stop it meanwhile, or write reboot"
            )
        return quiesce


def _one_key(kinds: tuple[str, ...], *, beside: tuple[str, ...] = ()) -> Discriminator:
    """Choose a model by the one key of ``kinds`` that is present; none or two is an error.

    Keys ``beside`` are common to all forms.
    """

    def choose(value: object) -> str | None:
        if isinstance(value, BaseModel):
            present = [kind for kind in kinds if kind in type(value).model_fields]
        else:
            present = [kind for kind in kinds if isinstance(value, Mapping) and kind in value]
        return f"{present[0]} form" if len(present) == 1 else None

    return Discriminator(
        choose,
        custom_error_type="one_of",
        custom_error_message=f"needs exactly one of: {', '.join(kinds)}",
        custom_error_context={"kinds": ",".join(kinds), "beside": ",".join(beside)},
    )


Base = Annotated[
    Annotated[ParameterBase, Tag("parameter form")]
    | Annotated[AmiBase, Tag("ami form")]
    | Annotated[SearchBase, Tag("search form")]
    | Annotated[RecipeBase, Tag("recipe form")]
    | Annotated[InstanceBase, Tag("instance form")],
    _one_key(
        ("parameter", "ami", "search", "recipe", "instance"),
        beside=(
            *("allow_deprecated", "data_volumes", "follow", "instance_store", "name", "owner"),
            *("quiesce", "unmanaged"),
        ),
    ),
]


# --- builder ----------------------------------------------------------------------------------


def iops_problem(iops: int, size_gib: int) -> str | None:
    """Why a gp3 volume of this size cannot have so many IOPS; its 3000 come with any size."""
    if iops <= max(GP3_IOPS[0], size_gib * GP3_IOPS_PER_GIB):
        return None
    needed = -(-iops // GP3_IOPS_PER_GIB)
    return (
        f"{iops} IOPS need a volume of at least {needed} GiB (gp3 allows {GP3_IOPS_PER_GIB} for "
        f"each), and this one has {size_gib}; lower iops or raise size_gib"
    )


class RootVolume(Model):
    """The builder's root volume, always encrypted gp3; the image inherits its size."""

    size_gib: Number | None = Field(
        default=None, ge=1, le=65536, description="Size in GiB; default: the base image's."
    )
    iops: Number = Field(
        default=GP3_IOPS[0],
        ge=GP3_IOPS[0],
        le=GP3_IOPS[1],
        description=f"Provisioned IOPS; above {GP3_IOPS[0]} at most {GP3_IOPS_PER_GIB} for each "
        "GiB.",
    )
    throughput: Number = Field(
        default=125,
        ge=125,
        le=2000,
        description="Throughput in MiB/s; at most a quarter of the IOPS.",
    )

    @field_validator("iops")
    @classmethod
    def _fit_the_size(cls, iops: int, info: ValidationInfo) -> int:
        size = info.data.get("size_gib")
        if size and (problem := iops_problem(iops, size)):
            raise ValueError(problem)
        return iops

    @field_validator("throughput")
    @classmethod
    def _fits_the_iops(cls, throughput: int, info: ValidationInfo) -> int:
        iops = info.data.get("iops")
        if iops and throughput * 4 > iops:
            raise ValueError(
                f"{throughput} MiB/s need at least {throughput * 4} iops "
                f"(gp3 allows 0.25 MiB/s for each), and there are {iops}"
            )
        return throughput


class Builder(Model):
    """The temporary instance that is customized and imaged."""

    instance_types: tuple[InstanceType, ...] = Field(
        default=(),
        max_length=10,
        description="Types to try in order until one has room; default: the deployment's.",
    )
    spot: Flag = Field(
        default=False,
        description="Try every type in every subnet as spot first, then on-demand. A spot builder "
        "that AWS takes back is replaced, once, by an on-demand one.",
    )
    public_address: Flag = Field(
        default=False,
        description="Build and test also in subnets that give each instance a public address, as "
        "those of a default VPC do.",
    )
    patience_minutes: Number = Field(
        default=60,
        ge=0,
        le=12 * 60,
        description="How long to go on trying while no type has room in any subnet, in minutes.",
    )
    root_volume: RootVolume = Field(
        default_factory=RootVolume, description="The root volume of builder and image."
    )


# --- identity ---------------------------------------------------------------------------------

Past = Literal["auto", "chef-11", "chef-12", "none"]


class Opsworks(Model):
    """What OpsWorks Stacks left on the base, and what of it stays."""

    past: Past = Field(
        default="auto",
        description="The agent's Chef: found out on the host, stated, or none.",
    )
    keep: tuple[
        Literal[
            "app-secrets",
            "autofs",
            "chef",
            "deploy-keys",
            "ecs",
            "hosts",
            "logs-agent",
            "motd",
            "settings",
            "sudoers",
            "swap",
            "users",
        ],
        ...,
    ] = Field(default=(), max_length=12, description="Residues that stay; the report says so.")


def _past_alone(value: object) -> object:
    """``opsworks: chef-12`` is short for ``opsworks: {past: chef-12}``."""
    if not isinstance(value, str):
        return value
    if value not in (known := get_args(Past)):
        raise ValueError(f"must be one of {', '.join(known)}, or a mapping (is: {shown(value)})")
    return {"past": value}


OpsworksField = Annotated[
    Opsworks, BeforeValidator(_past_alone, json_schema_input_type=Past | Opsworks)
]


class Identity(Model):
    """What of the builder itself stays in the image; by default nothing."""

    keep: tuple[
        Literal[
            "authorized-keys",
            "caches",
            "histories",
            "hostname",
            "logs",
            "root-password",
            "tmp",
        ],
        ...,
    ] = Field(default=(), max_length=7, description="What stays; the report says so.")
    apt_timers: Literal["keep", "disable"] = Field(
        default="keep",
        description="Automatic apt updates on instances of the image: as the base has them, "
        "or disabled. They never run during the bake.",
    )
    allow_secrets: tuple[
        Annotated[str, StringConstraints(pattern=formats.SECRETS_PATH.pattern)], ...
    ] = Field(
        default=(),
        max_length=30,
        description="Paths below which private keys and credentials are meant to be in the image.",
    )


# --- secrets ----------------------------------------------------------------------------------


class _Encrypted(Model):
    kms_key: str | None = Field(
        default=None,
        description="ARN of the customer managed key that encrypts it, which the builder may then "
        "decrypt it with; without it the key of AWS.",
        pattern=formats.KMS_KEY_ARN.pattern,
    )


class ManagedSecret(_Encrypted):
    """A secret of Secrets Manager."""

    secret: str = Field(
        description="Its name, or its whole ARN, also of another Region or account.",
        max_length=600,
        pattern=formats.SECRET.pattern,
    )
    key: str | None = Field(
        default=None,
        description="Of a secret that is a JSON object, the key whose value is meant.",
        pattern=formats.SECRET_KEY.pattern,
    )


# --- windows ----------------------------------------------------------------------------------


class SecretPassword(ManagedSecret):
    """A password that everybody can read who can read the image: it stays in the answer file of
    Sysprep, or in the configuration of the launch agent. The builder itself gets it, by its own
    role."""


def _password(value: object) -> object:
    """``random`` stands for no password of the recipe's own."""
    if value == "random":
        return None
    if isinstance(value, str) and value.lower().replace("_", " ").startswith(("keep", "do")):
        raise ValueError(
            "must be random, or {secret: NAME}: every instance would have the builder's password, "
            "which nobody knows"
        )
    if not isinstance(value, Mapping | SecretPassword):
        # Without telling what it is: it may be the password, and the problem is printed.
        raise ValueError(
            "must be random, or a mapping {secret: NAME}; the password itself has no place in a "
            "recipe"
        )
    return value


class Windows(Model):
    """What an instance of a Windows image does at its first boot; its presence says that the base
    is Windows."""

    sysprep: Flag = Field(
        default=True,
        description="Generalize with Sysprep. Without it instances boot faster, and share the "
        "builder's machine SID.",
    )
    administrator_password: Annotated[
        SecretPassword | None,
        BeforeValidator(_password, json_schema_input_type=Literal["random"] | SecretPassword),
    ] = Field(
        default=None,
        description="`random`, the default: each instance makes its own, which EC2 encrypts with "
        "the instance's key pair. Or a secret, for images made with Sysprep: all instances have "
        "that password, and it stays readable in the image. It has 6 to 127 ASCII characters, of "
        "three of these kinds: capital letters, small letters, digits, others.",
    )
    require_en_us: Flag = Field(
        default=True,
        description="Fail when the user interface language is not English (United States), which "
        "OpsWorks Stacks asked for; `false`: it is recorded.",
    )
    computer_name: Flag = Field(
        default=False,
        description="Leave it to the base image whether its launch agent names instances; `false`: "
        "it does not, because that restarts them.",
    )

    @field_serializer("administrator_password")
    def _as_written(self, password: SecretPassword | None) -> SecretPassword | Literal["random"]:
        """What is deployed is read again, and `null` is refused there."""
        return password or "random"

    @model_validator(mode="after")
    def _password_needs_sysprep(self) -> "Windows":
        if self.administrator_password and not self.sysprep:
            raise ValueError(
                "administrator_password can be a secret only with Sysprep: without it instances "
                "have all but the password in common; write random, or sysprep: true"
            )
        return self


# --- customize --------------------------------------------------------------------------------


class _Step(Model):
    name: StepName = Field(
        description="What the step does; unique in the recipe, shown as it runs."
    )
    timeout_seconds: Number = Field(
        default=3600,
        ge=30,
        le=budgets.MAX_STEP_SECONDS,
        description="Time budget of the step on the builder.",
    )


_StepT = TypeVar("_StepT", bound=_Step)


class SecureParameter(_Encrypted):
    """A SecureString of Parameter Store."""

    parameter: str = Field(
        description="Its name.", max_length=1011, pattern=formats.PARAMETER.pattern
    )

    @field_validator("parameter")
    @classmethod
    def _no_reference(cls, parameter: str) -> str:
        prefix = "/aws/reference/secretsmanager/"
        if parameter.startswith(prefix):
            name = parameter.removeprefix(prefix)
            raise ValueError(f"names a secret of Secrets Manager; write secret: {name}")
        return parameter


def _a_name(secret: object) -> object:
    """Without telling what it is: it may be a value, and the problem is printed."""
    if not isinstance(secret, Mapping | BaseModel):
        raise ValueError(
            "must be {secret: NAME} or {parameter: NAME}; the value of a secret has no place in a "
            "recipe, put it into Secrets Manager or Parameter Store"
        )
    return secret


Secret = Annotated[
    Annotated[
        Annotated[ManagedSecret, Tag("secret form")]
        | Annotated[SecureParameter, Tag("parameter form")],
        _one_key(("secret", "parameter"), beside=("key", "kms_key")),
    ],
    BeforeValidator(_a_name),
]
EnvironmentName = Annotated[str, StringConstraints(pattern=formats.ENVIRONMENT_NAME.pattern)]


def _no_parameters(script: str) -> str:
    tokens = {
        number: found
        for number, line in enumerate(script.split("\n"), start=1)
        if (found := _SSM_PARAMETER.findall(line))
    }
    if tokens:
        raise LinesError({number: _replaced(found) for number, found in tokens.items()})
    return script


def _fits_a_document(script: str) -> str:
    if (size := size_of(script.split("\n"))) > MAX_SCRIPT_BYTES:
        raise ValueError(
            f"has {size} bytes as a document of Systems Manager, which takes "
            f"{MAX_SCRIPT_BYTES}; move a part of it into an application archive"
        )
    return script


class ScriptStep(_Step):
    """A script of the recipe's own, in one of its languages."""

    @property
    @abstractmethod
    def script(self) -> str:
        """Its text."""


class ShellStep(ScriptStep):
    """A shell script, run as root by `sh`, or by the interpreter of its `#!` line."""

    shell: str = Field(
        description="The script. It fails the bake when it ends with another code than 0.",
        min_length=1,
        max_length=48_000,
    )
    secrets: dict[EnvironmentName, Secret] = Field(
        default_factory=dict,
        max_length=MAX_SECRETS,
        description="Environment variables of the script whose values are secrets. The builder "
        "itself gets them, by its own role, when the step runs; in the step's output they are "
        "masked. Not for tests.",
    )

    @field_validator("secrets")
    @classmethod
    def _leave_room(
        cls, secrets: dict[EnvironmentName, Secret], info: ValidationInfo
    ) -> dict[EnvironmentName, Secret]:
        size = size_of(info.data.get("shell", "").split("\n"))
        if secrets and size > (most := MAX_BYTES - BYTES_FOR_SECRETS):
            raise ValueError(
                f"leave no room for a script of {size} bytes in a document of Systems Manager, but "
                f"for {most}; move a part of it into another step"
            )
        return secrets

    _pasted = field_validator("shell")(_no_parameters)
    _too_long = field_validator("shell")(_fits_a_document)

    @property
    def script(self) -> str:
        return self.shell


class PowershellStep(ScriptStep):
    """A PowerShell script, run as SYSTEM, of a Windows recipe."""

    powershell: str = Field(
        description="The script. It fails the bake when it ends with another code than 0; with "
        "3010 the builder is restarted and the script run again. An error that it does not catch "
        "may still end it with 0: begin with `$ErrorActionPreference = 'Stop'`. What a program in "
        "it ends with counts only if the script says so, by `exit $LASTEXITCODE`.",
        min_length=1,
        max_length=48_000,
    )

    _pasted = field_validator("powershell")(_no_parameters)
    _too_long = field_validator("powershell")(_fits_a_document)

    @property
    def script(self) -> str:
        return self.powershell


def _replaced(tokens: Sequence[str]) -> str:
    broken_up = tokens[0].replace("{{", '{""{', 1)
    return (
        f"{', '.join(dict.fromkeys(tokens))} would be replaced by Systems Manager before the "
        "script runs; read values on the builder instead, or break up the braces for the shell to "
        f'put together: "{broken_up}"'
    )


def _text_or_texts(value: object) -> object:
    """One problem at the parameter itself, where the union would report one for each kind."""
    given = value if isinstance(value, list | tuple) else (value,)
    if not all(isinstance(text, str) for text in given):
        raise ValueError(f"must be a text or a list of texts, in quotes (is: {shown(value)})")
    if found := _STORED_VALUE.search(" ".join(given)):
        raise ValueError(
            f"Systems Manager would resolve {one_line(found.group())} when the command is sent, "
            "and a bake may not read parameters; write the value itself, or read it on the builder"
        )
    return value


ParameterValue = Annotated[str | tuple[str, ...], BeforeValidator(_text_or_texts)]


class DocumentStep(_Step):
    """A Command document of Systems Manager: AWS's, or one of your own."""

    document: str = Field(
        description="Name of the document; the whole ARN of one that another account shares. Not "
        f"{DOCUMENT_PREFIX}-… or {DOCUMENT_PREFIX}.…, which are the bakery's own, and not "
        f"{_RUNS_ANOTHER}.",
        max_length=128,
        pattern=formats.DOCUMENT.pattern,
    )
    parameters: dict[str, ParameterValue] = Field(
        default_factory=dict,
        description="Values of the document's parameters. Never secrets: they are in events, and "
        "whoever may look at commands sees them. A step with `shell` can have secrets.",
    )

    @field_validator("document")
    @classmethod
    def _nothing_of_the_bakery(cls, document: str) -> str:
        name = document.rpartition("/")[2]
        # In whatever case: Systems Manager does not say that names differ by it.
        if name.lower().startswith(tuple(f"{DOCUMENT_PREFIX}{it}".lower() for it in "-.")):
            raise ValueError(
                f"'{name}' belongs to the bakery, which runs its own documents when a bake needs "
                "them; write the step with shell, reboot or application, or give a document of "
                "your own another name"
            )
        if name.lower() == _RUNS_ANOTHER.lower():
            raise ValueError(
                f"{_RUNS_ANOTHER} runs whatever document its parameters point to, deployed or not; "
                "name that document itself, or write its script with shell"
            )
        return document


class RebootStep(_Step):
    """A restart of the builder; the bake goes on when it is back."""

    reboot: Literal[True] = Field(description="Always `true`.")


class Application(Model):
    """An archive that becomes part of the image."""

    source: str = Field(
        description="Where the archive (.tar.gz, .tgz, .tar, .zip) is: `s3://bucket/key` or `https://…`.",
        pattern=formats.SOURCE.pattern,
    )
    sha256: str = Field(
        description="SHA-256 of the archive, 64 hexadecimal digits.", pattern=formats.SHA256.pattern
    )
    directory: str = Field(
        description="Absolute directory that the archive is unpacked into; made if absent.",
        pattern=formats.DIRECTORY.pattern,
    )

    @field_validator("source")
    @classmethod
    def _no_longer_than_a_key(cls, source: str) -> str:
        if len(source.encode()) > MAX_KEY_BYTES:
            raise ValueError(f"has {len(source.encode())} bytes; at most {MAX_KEY_BYTES} are taken")
        return source

    @field_validator("directory")
    @classmethod
    def _no_climbing(cls, directory: str) -> str:
        if {".", ".."} & set(directory.split("/")):
            raise ValueError("must not contain '.' or '..' as a part")
        if directory in _OF_THE_SYSTEM:
            raise ValueError(f"{directory} belongs to the system; name a directory below it")
        if directory.startswith(_NO_PLACE):
            raise ValueError(
                f"{directory} is no place for an application: the image would not keep it, or not "
                "boot; name another, such as /srv/app"
            )
        return directory


class ApplicationStep(_Step):
    """An application to install from an archive, checked by its hash."""

    application: Application = Field(description="What to install, and where.")


CustomizeStep = Annotated[
    Annotated[ShellStep, Tag("shell form")]
    | Annotated[PowershellStep, Tag("powershell form")]
    | Annotated[DocumentStep, Tag("document form")]
    | Annotated[RebootStep, Tag("reboot form")]
    | Annotated[ApplicationStep, Tag("application form")],
    _one_key(
        ("shell", "powershell", "document", "reboot", "application"),
        beside=tuple(_Step.model_fields),
    ),
]


# --- after the image --------------------------------------------------------------------------


TestStep = Annotated[
    Annotated[ShellStep, Tag("shell form")] | Annotated[PowershellStep, Tag("powershell form")],
    _one_key(("shell", "powershell"), beside=tuple(_Step.model_fields)),
]


class TestStage(Model):
    """What an image must pass before anybody is pointed to it."""

    __test__ = False  # no test of pytest's

    steps: tuple[TestStep, ...] = Field(
        default=(),
        max_length=50,
        description="Scripts that must pass on each test instance, in order.",
    )
    instance_types: tuple[InstanceType, ...] = Field(
        default=(),
        max_length=5,
        description="Types that the image must run on: a test instance of each. Default: one "
        "instance, of the first of the builder's types that has room.",
    )
    identity: Flag = Field(
        default=True,
        description="Boot the image twice and compare the two: machine-id, host keys, instance-id "
        "of cloud-init, registration with Systems Manager and host name must differ.",
    )

    @field_validator("steps")
    @classmethod
    def _without_secrets(cls, steps: tuple[ScriptStep, ...]) -> tuple[ScriptStep, ...]:
        for step in steps:
            if isinstance(step, ShellStep) and step.secrets:
                raise ValueError(
                    f"'{step.name}' has secrets, and a test instance can read none: its role may "
                    "do nothing but be managed; remove them from the test"
                )
        return steps

    @field_validator("steps")
    @classmethod
    def _fit_into_a_bake(cls, steps: tuple[ScriptStep, ...]) -> tuple[ScriptStep, ...]:
        return _named_apart("test", _fitting(steps, budgets.TESTS))


def _steps_alone(value: object) -> object:
    """``test: [...]`` is short for ``test: {steps: [...]}``."""
    return {"steps": value} if isinstance(value, list | tuple) else value


TestField = Annotated[
    TestStage,
    BeforeValidator(_steps_alone, json_schema_input_type=tuple[TestStep, ...] | TestStage),
]


class FastLaunch(Model):
    """Instances of a Windows image boot in minutes: EC2 has gone through their first boot before.

    It does so on instances of its own and keeps a snapshot of each, which a launch uses up. They
    cost what instances and snapshots cost; `bakery plan` estimates it.
    """

    launch_template: LaunchTemplateId = Field(
        description="Launch template of that Region for these instances: subnet, security group "
        "(neither needs to let anything in or out), type (`t3.xlarge`) and IMDSv2; no image, no "
        "user data, no instance profile."
    )
    version: Number = Field(
        ge=1,
        description="Its version: a number, so that whoever may change the template does not "
        "change what EC2 launches.",
    )
    snapshots: Number = Field(
        default=5,
        ge=1,
        le=100,
        description="How many are kept in reserve; further launches boot as without it.",
    )
    parallel_launches: Number = Field(
        default=6,
        ge=6,
        le=40,
        description="How many EC2 prepares at once, of 40 in a Region for all images together.",
    )


class Destination(Model):
    """A Region that gets the image, and who may use it there."""

    region: Region = Field(
        description="The Region. That of the stack has the image anyway; name it to share it there."
    )
    kms_key: str | None = Field(
        default=None,
        description="Key that encrypts the image there: an alias, key id or ARN of that Region. "
        "Default: the account's default key for EBS.",
        pattern=formats.KMS_KEY.pattern,
    )
    accounts: tuple[AccountId, ...] = Field(
        default=(),
        max_length=1000,
        description="Accounts that may launch it (12 digits, in quotes).",
    )
    organizations: tuple[
        Annotated[str, StringConstraints(pattern=formats.ORGANIZATION.pattern)], ...
    ] = Field(
        default=(), max_length=100, description="ARNs of organizations or units that may launch it."
    )
    launch_templates: tuple[LaunchTemplateId, ...] = Field(
        default=(),
        max_length=20,
        description="Launch templates of that Region that get a new version with the image.",
    )
    fast_launch: FastLaunch | None = Field(
        default=None,
        description="Of a Windows image made with Sysprep: have instances there boot in minutes.",
    )

    @property
    def shared(self) -> bool:
        return bool(self.accounts or self.organizations)

    @model_validator(mode="after")
    def _shareable(self) -> "Destination":
        if self.shared and (self.kms_key is None or self.kms_key.endswith("alias/aws/ebs")):
            raise ValueError(
                "an image encrypted with the account's default key (aws/ebs) cannot be shared; "
                "name a customer managed key in kms_key, or leave accounts and organizations empty"
            )
        return self


class Publish(Model):
    """What moves to the new image besides the pointer, and when."""

    regions: Literal["all", "any"] = Field(
        default="all",
        description="`all`: nothing is published anywhere unless every Region has its copy. `any`: "
        "a Region whose copy fails is left out, with the old image, and the bake's output says so.",
    )
    labels: tuple[Annotated[str, StringConstraints(pattern=formats.LABEL.pattern)], ...] = Field(
        default=(),
        max_length=10,
        description="Labels such as `canary` that move to each new image; `bakery promote` moves "
        "others to where one of them is.",
    )
    launch_templates: tuple[LaunchTemplateId, ...] = Field(
        default=(),
        max_length=20,
        description="Launch templates, in the Region of the stack, that get a new version with the "
        "image.",
    )
    default_version: Flag = Field(
        default=False,
        description="Whether that version becomes the default of each launch template. Then it is "
        "like the default before, else like the latest.",
    )


class Retention(Model):
    """Which old images go, in every Region of the recipe, and how.

    An image goes in steps: EC2 calls it deprecated, then nobody can launch it any more (it is
    disabled, which can be undone), then it is deregistered with its snapshots. One that is in use,
    or of which nobody can tell, stays.
    """

    keep: Number = Field(default=5, ge=2, le=1000, description="Newest images that always stay.")
    days: Number | None = Field(
        default=None,
        ge=1,
        le=3650,
        description="Age at which older ones are disabled; without it as soon as `keep` newer ones "
        "are there.",
    )
    deprecate_after_days: Number | None = Field(
        default=None,
        ge=1,
        le=3650,
        description="Age at which EC2 calls an image deprecated: it can be launched, but is not "
        "listed for others. The current one, too, if nothing newer was baked by then: see "
        "`schedule.max_age_days`.",
    )
    grace_days: Number = Field(
        default=14,
        ge=1,
        le=365,
        description="How long a disabled image stays before it is deregistered for good.",
    )
    unused_days: Number = Field(
        default=30,
        ge=0,
        le=3650,
        description="An image that was launched within so many days stays.",
    )
    protect: Flag = Field(
        default=False,
        description="EC2 protects images against deregistration until their time has come. One "
        "that somebody else protects always stays.",
    )
    at_most: Number = Field(
        default=10, ge=1, le=100, description="How many images one run may act on, in each Region."
    )

    @model_validator(mode="after")
    def _in_order(self) -> "Retention":
        if self.days and self.deprecate_after_days and self.deprecate_after_days > self.days:
            raise ValueError(
                "an image cannot be deprecated after it is disabled; make deprecate_after_days at "
                "most days"
            )
        return self


class Schedule(Model):
    """When the recipe bakes by itself."""

    cron: str = Field(
        description="Six fields: minutes hours day-of-month month day-of-week year. "
        "A time that clocks jump over (01:30 in London, one night in March) is skipped that night, "
        "one that comes twice is used once; `bakery check` warns.",
        examples=["0 3 * * ? *"],
    )
    timezone: str = Field(default="UTC", description="IANA time zone, e.g. `Europe/London`.")
    only_if_changed: Flag = Field(
        default=True, description="End as `unchanged` when nothing differs from the current image."
    )
    max_age_days: Number | None = Field(
        default=None,
        ge=1,
        le=3650,
        description="Bake anew when the current image is so many days old (to the nearest day), "
        "for updates of its packages; default: only when something differs.",
    )
    flexible_minutes: Number = Field(
        default=15, ge=0, le=1440, description="AWS starts the bake within this window; 0: at once."
    )

    @field_validator("cron")
    @classmethod
    def _valid_cron(cls, cron: str) -> str:
        if problem := cron_problem(cron):
            raise ValueError(problem)
        return " ".join(cron.split())

    @field_validator("timezone")
    @classmethod
    def _known_timezone(cls, timezone: str) -> str:
        if timezone not in _zones():
            raise ValueError(
                f"'{one_line(timezone)}' is no IANA time zone; write one such as 'Europe/London' "
                "or 'UTC'"
            )
        return timezone


# --- the recipe -------------------------------------------------------------------------------


OnFailure = Literal["clean", "keep"]
WhenBusy = Literal["queue", "join", "refuse"]


class Recipe(Model):
    """One golden image."""

    description: Annotated[str, StringConstraints(strip_whitespace=True)] = Field(
        description="What the image is for; becomes its description.",
        min_length=1,
        max_length=255,
        pattern=formats.DESCRIPTION.pattern,
    )
    base: Base = Field(description="Where the builder starts from: exactly one of the forms.")
    image_name: str = Field(
        default="{recipe}-{time}",
        description="Name of each image. `{recipe}`, `{time}` (20260131T030000Z), `{date}` "
        "(2026-01-31), `{bake}` (execution name) and `{base}` (base image id) are replaced.",
        max_length=128,
    )
    opsworks: OpsworksField = Field(
        default_factory=Opsworks,
        description="Which OpsWorks past the base has, and what of it stays.",
    )
    identity: Identity = Field(
        default_factory=Identity, description="What of the builder itself stays in the image."
    )
    windows: Windows | None = Field(
        default=None, description="Of a Windows base: how it becomes an image; `{}` for defaults."
    )
    tmp_exec: Literal["persist", "bake", "keep"] = Field(
        default="persist",
        description="Lifts `noexec` from `/tmp`: in the image too, for the bake, or not at all.",
    )
    lock_release: str | None = Field(
        default=None,
        description="Release that the operating system is locked to, e.g. '2018.03' (Amazon Linux) "
        "or '2023.6.20250115' (Amazon Linux 2023).",
        pattern=formats.RELEASE.pattern,
    )
    builder: Builder = Field(default_factory=Builder, description="The temporary instance.")
    customize: tuple[CustomizeStep, ...] = Field(
        default=(), max_length=200, description="Steps that make the image what it is, in order."
    )
    test: TestField = Field(
        default_factory=TestStage,
        description="What the image must pass, booted, before it is published; a list is short for "
        "`steps`. That it boots, reports to Systems Manager and has finished cloud-init without an "
        "error is tested in any case.",
    )
    distribute: tuple[Destination, ...] = Field(
        default=(), max_length=40, description="Regions that get a copy, and who may use it there."
    )
    publish: Publish = Field(default_factory=Publish, description="What moves besides the pointer.")
    retention: Retention | None = Field(
        default=None,
        description="Which old images go; without it all stay for ever.",
    )
    schedule: Schedule | None = Field(default=None, description="When it bakes by itself.")
    when_busy: WhenBusy = Field(
        default="queue",
        description="What a bake does that starts while another one bakes this recipe: `queue` "
        "waits for its end and then plans anew, `join` waits and ends with the image that the "
        "other has made, `refuse` fails at once.",
    )
    on_failure: OnFailure = Field(
        default="clean",
        description="What becomes of the builder of a bake that failed: `clean` removes it, `keep` "
        "leaves it for a look at it or for `bakery retry`.",
    )
    keep_hours: Number = Field(
        default=4, ge=1, le=72, description="How long a builder that is kept stays, in hours."
    )

    @field_validator("image_name")
    @classmethod
    def _valid_image_name(cls, template: str) -> str:
        if problem := image_name_problem(template):
            raise ValueError(problem)
        return template

    @field_validator("customize")
    @classmethod
    def _fit_into_a_bake(cls, steps: tuple[_Step, ...]) -> tuple[_Step, ...]:
        return _fitting(steps, budgets.STEPS)

    @field_validator("customize")
    @classmethod
    def _unique_names(cls, steps: tuple[_Step, ...]) -> tuple[_Step, ...]:
        return _named_apart("customize", steps)

    @field_validator("distribute")
    @classmethod
    def _one_of_each_region(cls, places: tuple[Destination, ...]) -> tuple[Destination, ...]:
        seen: dict[str, int] = {}
        for index, place in enumerate(places):
            if place.region in seen:
                raise ValueError(
                    f"distribute[{seen[place.region]}] and distribute[{index}] are both "
                    f"{place.region}; make them one"
                )
            seen[place.region] = index
        return places


def _fitting(steps: tuple[_StepT, ...], budget: timedelta) -> tuple[_StepT, ...]:
    needed = budgets.of_steps(step.timeout_seconds for step in steps)
    if needed > budget:
        raise ValueError(
            f"the time budgets of the steps, with {budgets.of_command(0).seconds} seconds for "
            f"the delivery of each, come to {_hours(needed)} hours; a bake has "
            f"{_hours(budget)} for them: lower timeout_seconds"
        )
    return steps


def _named_apart(field: str, steps: tuple[_StepT, ...]) -> tuple[_StepT, ...]:
    seen: dict[str, str] = {}
    for index, step in enumerate(steps):
        # Documents are named after the step, so names that differ in punctuation only collide.
        place = f"{field}[{index}] '{step.name}'"
        if earlier := seen.get(slug(step.name)):
            raise ValueError(f"{earlier} and {place} are named alike; rename one of them")
        seen[slug(step.name)] = place
    return steps


def _hours(duration: timedelta) -> str:
    return f"{duration / timedelta(hours=1):.1f}".removesuffix(".0")


def parse_recipe(name: str, content: object) -> Recipe:
    """The recipe ``name`` from plain data (what YAML or JSON gave).

    Raises InvalidRecipeError with every problem at once, each with its path.
    """
    problems = [] if re.fullmatch(formats.RECIPE_NAME.pattern, name) else [_name_problem(name)]
    problems += texts.problems(content)
    if not isinstance(content, Mapping):
        text = "is not a mapping of fields; write lines such as `description: web tier`"
        raise InvalidRecipeError(name, [*problems, Problem("", text)])
    try:
        recipe = Recipe.model_validate(content)
    except ValidationError as error:
        found = [_as_written(it, content) for it in validation_problems(error)]
        raise InvalidRecipeError(name, _once(problems, found)) from None
    if problems:
        raise InvalidRecipeError(name, problems)
    if len(recipe.model_dump_json().encode()) > MAX_RECIPE_BYTES:
        problems.append(
            Problem(
                "",
                f"is larger than {MAX_RECIPE_BYTES // 1024} KiB, more than an execution can carry; "
                "move long scripts into an application archive",
            )
        )
    problems.extend(_crowds(recipe))
    problems.extend(_fast_launch_problems(recipe))
    problems.extend(_restarts_on_its_own(recipe))
    problems.extend(_as_written(it, content) for it in _of_the_other_platform(recipe))
    if problems:
        raise InvalidRecipeError(name, problems)
    return recipe


def _crowds(recipe: Recipe) -> Iterator[Problem]:
    """What is too much in all Regions together, though it is not in each of them."""
    regions, names = len(recipe.distribute) + 1, len(recipe.publish.labels) + 1
    if regions * names > MAX_POINTERS:
        yield Problem(
            "publish.labels",
            f"with the pointer itself they are {names} parameters in each of {regions} Regions, "
            f"and a bake moves at most {MAX_POINTERS}; name fewer labels or Regions",
        )
    away = sum(len(place.launch_templates) for place in recipe.distribute)
    templates = len(recipe.publish.launch_templates) + away
    if templates > MAX_TEMPLATES:
        yield Problem(
            "publish.launch_templates",
            f"with those of all Regions they are {templates}, and a bake updates at most "
            f"{MAX_TEMPLATES}; launch the others from the pointer: resolve:ssm:PARAMETER",
        )


def _fast_launch_problems(recipe: Recipe) -> Iterator[Problem]:
    """EC2 would take such a request, and fail or cost later."""
    for index, place in enumerate(recipe.distribute):
        if place.fast_launch is None:
            continue
        path = f"distribute[{index}].fast_launch"
        if recipe.windows is None:
            yield Problem(path, "is for Windows only; remove it")
        elif not recipe.windows.sysprep:
            yield Problem(
                path,
                "is for images made with Sysprep only: EC2 prepares what such an image does at its "
                "first boot; remove it, or write windows: {sysprep: true}",
            )
        if recipe.retention is None:
            yield Problem(
                path,
                "asks for a retention: what takes old images away also gives fast launch to the "
                "new one and takes it from those before; write e.g. retention: {keep: 5}",
            )


def _restarts_on_its_own(recipe: Recipe) -> Iterator[Problem]:
    base = recipe.base
    if isinstance(base, InstanceBase) and base.quiesce == "reboot" and recipe.schedule:
        yield Problem(
            "base.quiesce",
            f"is reboot beside a schedule, which would restart {base.instance} at every slot; "
            "remove the schedule, and bake when the host may be away, or write none",
        )


_ONLY_LINUX = ("opsworks", "identity", "tmp_exec", "lock_release")


def _of_the_other_platform(recipe: Recipe) -> Iterator[Problem]:
    """What makes no sense on the platform that the recipe is for: it would be ignored."""
    windows = recipe.windows is not None
    for field in _ONLY_LINUX:
        if windows and field in recipe.model_fields_set:
            yield Problem(field, "is for Linux, and the recipe has windows; remove one of them")
    if windows and isinstance(recipe.base, InstanceBase):
        yield Problem(
            "base.instance",
            "is a running host, of which only Linux is cloned, and the recipe has windows; make an "
            "image of the host yourself, and name it as base.ami",
        )
    steps = {"customize": recipe.customize, "test.steps": recipe.test.steps}
    for place, each in steps.items():
        for index, step in enumerate(each):
            path = f"{place}[{index}]"
            match step:
                case ShellStep() if windows:
                    text = "is for Linux, and the recipe has windows; write it as powershell"
                    yield Problem(f"{path}.shell", text)
                case ApplicationStep() if windows:
                    text = (
                        "is installed on Linux only, and the recipe has windows; fetch and unpack "
                        "it in a powershell step"
                    )
                    yield Problem(f"{path}.application", text)
                case PowershellStep() if not windows:
                    text = (
                        "is for Windows; write it as shell, or add `windows: {}` to the recipe if "
                        "its base is Windows"
                    )
                    yield Problem(f"{path}.powershell", text)


def _as_written(problem: Problem, content: Mapping[str, Any]) -> Problem:
    """The same problem with its path in a recipe whose tests are a list."""
    if not isinstance(content.get("test"), list | tuple):
        return problem
    return replace(problem, path=problem.path.replace("test.steps", "test", 1))


def _name_problem(name: str) -> Problem:
    return Problem(
        "",
        f"'{name}' is no name for a recipe: 2 to 48 lower-case letters, digits and hyphens, "
        "a letter first; rename the file",
    )


def input_problems(content: object, error: ValidationError) -> list[Problem]:
    """What is wrong with an execution's input that Pydantic has refused."""
    return _once(list(texts.problems(content)), validation_problems(error))


def _once(hidden: list[Problem], found: list[Problem]) -> list[Problem]:
    """Of a text with a hidden character that tells enough, whatever Pydantic makes of it."""
    told = {it.path for it in hidden}
    return [*hidden, *(it for it in found if it.path not in told and (it.path or not told))]


def validation_problems(error: ValidationError) -> list[Problem]:
    """Pydantic's findings as problems with paths that a reader of the YAML recognizes."""
    return [
        problem for detail in error.errors(include_url=False) for problem in _problems(dict(detail))
    ]


def _problems(detail: Mapping[str, Any]) -> Iterator[Problem]:
    path, reason = _path(detail["loc"]), detail.get("ctx", {}).get("error")
    if isinstance(reason, LinesError):
        yield from (Problem(path, text, line) for line, text in reason.messages.items())
    else:
        yield Problem(path, message(detail))


def _path(location: tuple[int | str, ...]) -> str:
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part != "[key]" and not part.endswith(" form"):  # said of a key, or a tag of ours
            path += f".{part}" if path else part
    return path
