"""The deployment's choices, from ``cdk.json`` or ``cdk -c key=value``: the only reader of them."""

import difflib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_network
from typing import Annotated, Any, Final, Literal

from constructs import Node
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from bakery import formats
from bakery.naming import TAGS
from bakery.recipe import InstanceType, OwnerId, validation_problems
from bakery.wording import shown

# Days to the CDK's names. Source: CloudWatch Logs API reference, PutRetentionPolicy.
RETENTION = {
    1: "ONE_DAY",
    3: "THREE_DAYS",
    5: "FIVE_DAYS",
    7: "ONE_WEEK",
    14: "TWO_WEEKS",
    30: "ONE_MONTH",
    60: "TWO_MONTHS",
    90: "THREE_MONTHS",
    120: "FOUR_MONTHS",
    150: "FIVE_MONTHS",
    180: "SIX_MONTHS",
    365: "ONE_YEAR",
    400: "THIRTEEN_MONTHS",
    545: "EIGHTEEN_MONTHS",
    731: "TWO_YEARS",
    1096: "THREE_YEARS",
    1827: "FIVE_YEARS",
    2192: "SIX_YEARS",
    2557: "SEVEN_YEARS",
    2922: "EIGHT_YEARS",
    3288: "NINE_YEARS",
    3653: "TEN_YEARS",
}


class ContextError(Exception):
    """A context value cannot be used; the message names it."""


def _listed(value: object) -> object:
    """``-c`` gives texts: a list is written as JSON or with commas."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except ValueError as error:
            remedy = f'write a,b or ["a", "b"] (is: {value})'
            raise ValueError(f"is no JSON list ({error}); {remedy}") from None
    return [part.strip() for part in value.split(",") if part.strip()]


def _mapped(value: object) -> object:
    """``-c`` gives texts: a mapping is written as JSON."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        remedy = f'write {{"CostCenter": "1234"}} (is: {value})'
        raise ValueError(f"is no JSON mapping ({error}); {remedy}") from None


MOST_TAGS: Final = 20
"""EC2 takes 50, of which the bakery needs some, and what an organization adds by itself."""
_LONGEST_KEY: Final = 128
_LONGEST_VALUE: Final = 256
MOST_TAGS_BYTES: Final = 2048
"""As JSON: a function's variables have 4 KB together."""


def _usable_tags(tags: Mapping[str, str]) -> Mapping[str, str]:
    """All that is wrong with them, each with its key. What is allowed is what every service of the
    stack takes. Source: IAM API reference, Tag, and CloudFormation API reference, Tag.
    """
    wrong = [
        f"{shown(key)} {text}" for key, value in tags.items() if (text := _tag_fault(key, value))
    ]
    alike = Counter(key.lower() for key in tags)
    wrong += [
        f"{shown(key)} is there in upper and in lower case, which IAM takes for the same"
        for key, times in alike.items()
        if times > 1
    ]
    if (size := len(json.dumps(tags))) > MOST_TAGS_BYTES:
        wrong.append(f"must have at most {MOST_TAGS_BYTES} bytes together, as JSON (have: {size})")
    if wrong:
        raise ValueError("; ".join(wrong))
    return tags


def _tag_fault(key: str, value: str) -> str | None:
    if not 1 <= len(key) <= _LONGEST_KEY:
        return f"must have 1 to {_LONGEST_KEY} characters"
    if key.lower().startswith("aws:"):
        return "begins with aws:, as only tags of AWS do"
    if key.lower().startswith(TAGS):
        return f"begins with {TAGS}, by which the bakery knows what is its own; name another"
    if key.lower() == "name":
        return "is given by the bakery, to each thing its own; leave it out"
    if not 1 <= len(value) <= _LONGEST_VALUE:
        return f"must have a value of 1 to {_LONGEST_VALUE} characters"
    strange = sorted({it for it in key + value if not (it.isalnum() or it in " _.:/=+-@")})
    if strange:
        return f"has {strange[0]!r}; tags have letters, digits, spaces and _ . : / = + - @"
    return None


def _retention_exists(days: int) -> int:
    if days not in RETENTION:
        choices = ", ".join(map(str, RETENTION))
        raise ValueError(f"CloudWatch Logs keeps logs for {choices} days (is: {days})")
    return days


def _not_of_aws(path: str) -> str:
    if path.startswith("/aws-"):
        raise ValueError(f"paths below /aws-... are AWS's own; name another (is: {path})")
    return path


def _is_destination(text: str) -> str:
    """A network in CIDR notation, a prefix list or a security group."""
    if re.fullmatch(r"(pl|sg)-([0-9a-f]{8}|[0-9a-f]{17})", text):
        return text
    try:
        return str(ip_network(text))
    except ValueError as error:
        kinds = "a network (10.0.0.0/16), a prefix list (pl-...) or a security group (sg-...)"
        raise ValueError(f"must be {kinds}: {error}") from None


_WIDEST_PREFIX: Final = {4: 20, 6: 64}


def _endpoints_only(text: str) -> str:
    """A clone of a host that reaches the internet, or the servers of a whole VPC, could act as the
    original."""
    if text.startswith("sg-"):
        return text
    name = "name the security group of the VPC's endpoints for Systems Manager (sg-...)"
    if text.startswith("pl-"):
        raise ValueError(
            "is what clones of hosts may reach, and a prefix list may hold any network, as that "
            f"of S3 does; {name} (is: {text})"
        )
    network = ip_network(text)
    if not network.is_private:
        raise ValueError(
            f"is what clones of hosts may reach, and {text} is not private: {name}, or their "
            "subnets"
        )
    if network.prefixlen < _WIDEST_PREFIX[network.version]:
        raise ValueError(
            f"is what clones of hosts may reach, and {text} is more than a subnet "
            f"(/{_WIDEST_PREFIX[network.version]} at most): {name}, or their subnets"
        )
    return text


LogDays = Annotated[int, AfterValidator(_retention_exists)]
RolePath = Annotated[
    str, StringConstraints(pattern=formats.ROLE_PATH.pattern), AfterValidator(_not_of_aws)
]
Destination = Annotated[str, AfterValidator(_is_destination)]
Endpoint = Annotated[Destination, AfterValidator(_endpoints_only)]
Tags = Annotated[
    dict[str, str],
    Field(max_length=MOST_TAGS),
    AfterValidator(_usable_tags),
    BeforeValidator(_mapped),
]
SubnetId = Annotated[str, StringConstraints(pattern=formats.SUBNET_ID.pattern)]


class Settings(BaseModel):
    """Every context key that the product reads."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipes: str = Field(default="recipes", description="Folder with the recipes.")
    vpc_id: str | None = Field(
        default=None,
        pattern=formats.VPC_ID.pattern,
        description="Default: the default VPC.",
    )
    subnet_ids: Annotated[tuple[SubnetId, ...], BeforeValidator(_listed)] = Field(
        default=(), description="Subnets for builders, in order; default: the default VPC's."
    )
    egress: Annotated[tuple[Destination, ...], BeforeValidator(_listed)] = Field(
        default=(),
        max_length=50,
        description="What builders and test instances may reach, by HTTPS; default: everything.",
    )
    clone_egress: Annotated[tuple[Endpoint, ...], BeforeValidator(_listed)] = Field(
        default=(),
        max_length=50,
        description="What clones of running hosts may reach, by HTTPS: the VPC's endpoints for "
        "Systems Manager; default: nothing is cloned.",
    )
    instance_types: Annotated[tuple[InstanceType, ...], BeforeValidator(_listed)] = Field(
        default=("t3.medium", "t3a.medium", "m6i.large"),
        min_length=1,
        description="Types for recipes that name none, in the order to try.",
    )
    base_owners: Annotated[tuple[OwnerId, ...], BeforeValidator(_listed)] = Field(
        default=(),
        description="Whose images may be bases: account ids, self, amazon; default: anybody's.",
    )
    kms_key: str = Field(
        default="",
        pattern=formats.KMS_KEY.pattern,
        description="Key of the builders' volumes; default: the account's EBS key.",
    )
    janitor: Literal["remove", "report"] = Field(
        default="remove", description="What is done about what bakes left behind."
    )
    janitor_removes_at_most: int = Field(
        default=50, ge=1, le=1000, description="How much one run of the janitor may remove."
    )
    fleet_concurrency: int = Field(
        default=5, ge=1, le=40, description="How many bakes `bakery bake --all` has at once."
    )
    tags: Tags = Field(
        default={},
        description="Of the stack and all that it holds, and of all that bakes create in EC2.",
    )
    permissions_boundary: str | None = Field(
        default=None,
        pattern=formats.POLICY.pattern,
        description="Managed policy that bounds every role of the stack; default: none.",
    )
    role_path: RolePath | None = Field(
        default=None, description="Path of every role and instance profile; default: /."
    )
    data_key: str | None = Field(
        default=None,
        pattern=formats.KMS_KEY_ARN.pattern,
        description="Key of logs, table, topic, queue and bucket; default: keys of AWS.",
    )
    log_retention_days: LogDays = Field(default=90, description="How long logs are kept.")
    notification_email: str | None = Field(
        default=None, pattern=formats.EMAIL.pattern, description="Who is told when a bake fails."
    )

    @model_validator(mode="after")
    def _one_network(self) -> "Settings":
        """EC2 refuses a builder whose security group is in another VPC than its subnet."""
        if self.vpc_id and not self.subnet_ids:
            raise ValueError(
                f"vpc_id is {self.vpc_id}, but subnet_ids is empty: builders would run in the "
                "default VPC; name the subnets of that VPC in subnet_ids, or leave out vpc_id"
            )
        if self.subnet_ids and not self.vpc_id:
            raise ValueError(
                "subnet_ids is given without vpc_id: the builders' security group would be in the "
                "default VPC; name the VPC of these subnets in vpc_id, or leave out subnet_ids"
            )
        if self.egress and not self.vpc_id:
            # Source: CloudFormation, AWS::EC2::SecurityGroup, SecurityGroupEgress.
            raise ValueError("egress can only be limited in a VPC of yours: name it in vpc_id")
        if self.clone_egress and not self.vpc_id:
            raise ValueError(
                "clone_egress needs endpoints for Systems Manager in a VPC of yours: name it in "
                "vpc_id"
            )
        return self

    @classmethod
    def from_context(cls, node: Node) -> "Settings":
        """The settings of this synthesis; raises ContextError naming every bad key.

        A key of somebody else's is none of ours, but one that is nearly ours is a mistake.
        """
        given: dict[str, Any] = {
            name: value
            for name in cls.model_fields
            if (value := node.try_get_context(name)) is not None
        }
        wrong = list(_mistyped(node.get_all_context(), cls.model_fields))
        try:
            settings = cls.model_validate(given)
        except ValidationError as error:
            wrong += map(str, validation_problems(error))
        if wrong:
            raise ContextError(f"context (cdk.json or -c): {'; '.join(wrong)}")
        return settings


def _mistyped(given: Iterable[str], known: Iterable[str]) -> Iterator[str]:
    settings = list(known)
    for key in given:
        close = difflib.get_close_matches(key.lower().replace("-", "_"), settings, n=1, cutoff=0.8)
        if close and key not in settings:
            yield f"{key}: is not a known key; did you mean '{close[0]}'?"
