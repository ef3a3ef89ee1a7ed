"""``docs/rights.md``: what every role of the stack may do, from the synthesized policies.

A right that is added by mistake is used by nothing, so no test misses it: it is seen here, in the
change of a page that whoever reviews the change reads.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import infra.synthesize
from bakery.recipe import parse_recipe

_HEAD = """\
<!-- Made by `make generate` from the synthesized template. Change infra/, not this. -->

# What each role may do

All policies of the stack, for one recipe that copies its image to `eu-central-1`, moves a launch
template and lets old images go. What other recipes add (hosts that are cloned, secrets,
applications, documents of others) is in `infra/permissions.py`. Left out: that a function may write
to its own log and to X-Ray.

`…` stands for this Region and account; another Region is named. What stops an attack, and what does
not: [security.md](security.md).
"""
_RECIPE = {
    "description": "example",
    "base": {"ami": "ami-00000000000000000"},
    "distribute": [{"region": "eu-central-1"}],
    "publish": {"launch_templates": ["lt-00000000000000000"]},
    "retention": {"keep": 5},
    "schedule": {"cron": "0 3 * * ? *"},
}
_HASH = re.compile(
    r"(?<=CurrentVersion)[0-9A-F]{8}[0-9a-f]{32}$|(?<=RoleForTarget)[0-9a-f]{6}.*$|[0-9A-F]{8}$"
)
_EVERY_FUNCTION = ("xray:", "logs:CreateLogStream", "logs:PutLogEvents")

Resource = Mapping[str, Any]


def text() -> str:
    """The page for today's template."""
    template = infra.synthesize.template({"example": parse_recipe("example", _RECIPE)})
    return "\n".join([_HEAD, *_roles(template["Resources"])])


def _roles(resources: Mapping[str, Resource]) -> Iterator[str]:
    statements: dict[str, list[Resource]] = defaultdict(list)
    for resource in resources.values():
        if resource["Type"] in ("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy"):
            for role in resource["Properties"]["Roles"]:
                statements[role["Ref"]] += resource["Properties"]["PolicyDocument"]["Statement"]
    roles = {id_: it for id_, it in resources.items() if it["Type"] == "AWS::IAM::Role"}
    parts = []
    for id_, role in roles.items():
        own = [
            statement
            for policy in role["Properties"].get("Policies", [])
            for statement in policy["PolicyDocument"]["Statement"]
        ]
        parts.append("\n".join(_role(id_, role, [*own, *statements[id_]])))
    yield from sorted(parts)


def _role(id_: str, role: Resource, statements: list[Resource]) -> Iterator[str]:
    trusted = ", ".join(
        _plain(it["Principal"]["Service"])
        for it in role["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    )
    managed = [_plain(it) for it in role["Properties"].get("ManagedPolicyArns", [])]
    common = _EVERY_FUNCTION if trusted == "lambda.amazonaws.com" else ()
    rows = [row for it in statements if (row := _row(it, common))]
    yield f"## {_short(id_)}\n\nFor {trusted}." + (f" Managed: {managed}." if managed else "")
    if rows:
        yield "\n| it may | on | if |\n| --- | --- | --- |"
        yield from rows
    yield ""


def _row(statement: Resource, common: tuple[str, ...]) -> str:
    actions = [it for it in _listed(statement["Action"]) if not it.startswith(common)]
    if not actions:
        return ""
    may = "" if statement["Effect"] == "Allow" else "**not** "
    conditions = [
        f"{operator} {key}: {', '.join(map(_plain, _listed(wanted)))}"
        for operator, keys in sorted(statement.get("Condition", {}).items())
        for key, wanted in sorted(keys.items())
    ]
    cells = actions, map(_plain, _listed(statement["Resource"])), conditions
    listed = ["<br>".join(f"`{it}`" for it in sorted(cell)) for cell in cells]
    return f"| {may}{' | '.join(listed)} |"


def _plain(value: Any) -> str:
    """A value of the template in one line, references by the name of what they lead to."""
    text = _flat(value)
    text = text.replace("arn:AWS::Partition:", "")
    return text.replace(":AWS::Region:AWS::AccountId:", ":…:").replace(":AWS::Region::", ":…::")


def _flat(value: Any) -> str:
    match value:
        case str():
            return value
        case {"Ref": str(id_)}:
            return _short(id_)
        case {"Fn::GetAtt": [id_, _]}:
            return _short(id_)
        case {"Fn::Join": [separator, parts]}:
            return str(separator).join(map(_flat, parts))
        case _:
            raise ValueError(f"no plain text for {value}")


def _short(id_: str) -> str:
    """A logical id without the CDK's hashes: some change with what is made before."""
    return _HASH.sub("", id_)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
