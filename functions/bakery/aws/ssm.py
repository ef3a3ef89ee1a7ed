"""Systems Manager: managed instances, documents, commands and parameters.

Without a Region: that of the stack.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from bakery.aws import clients
from bakery.aws.failures import code_of, translated
from bakery.errors import DocumentGoneError, NotYetVisibleError
from bakery.naming import POINTERS
from bakery.resources import Document, Invocation, ManagedInstance, Parameter

if TYPE_CHECKING:
    from mypy_boto3_ssm.type_defs import CommandInvocationTypeDef, ParameterHistoryTypeDef

_TAKEN_BACK = ", in place of that of a failed bake: "
"""In the description of a parameter that was moved back; the image that it had follows."""

_NO_SUCH_DOCUMENT = {"InvalidDocument", "InvalidDocumentVersion"}


def managed_instance(instance_id: str) -> ManagedInstance | None:
    """What the agent on the instance has reported, or None if it never has."""
    with translated("ssm:DescribeInstanceInformation", instance_id):
        found = clients.ssm().describe_instance_information(
            Filters=[{"Key": "InstanceIds", "Values": [instance_id]}]
        )["InstanceInformationList"]
    if not found:
        return None
    return ManagedInstance(
        ping=found[0].get("PingStatus", ""),
        agent_version=found[0].get("AgentVersion", ""),
        platform=found[0].get("PlatformName", ""),
        platform_version=found[0].get("PlatformVersion", ""),
    )


def find_document(name: str) -> Document | None:
    """The default version of a document, or None if there is none of that name.

    Only of an active Command document the content is read: others need not be JSON.
    """
    with translated("ssm:DescribeDocument", name):
        try:
            record = clients.ssm().describe_document(Name=name)["Document"]
            found = Document(
                name=name,
                version=record["DefaultVersion"],
                hash=record.get("Hash", ""),
                content={},
                type=record.get("DocumentType", "Command"),
                status=record.get("Status", "Active"),
                platforms=tuple(record.get("PlatformTypes", [])),
            )
            if (found.type, found.status) != ("Command", "Active"):
                return found
            body = clients.ssm().get_document(
                Name=name, DocumentVersion=found.version, DocumentFormat="JSON"
            )
        except ClientError as error:
            if code_of(error) in _NO_SUCH_DOCUMENT:
                return None
            raise
    return replace(found, content=json.loads(body["Content"]))


def send_command(
    *,
    instance_id: str,
    document: str,
    version: str,
    content_hash: str,
    parameters: Mapping[str, Sequence[str]],
    comment: str,
    log_group: str,
    delivery_seconds: int,
) -> str:
    """Send one command to one instance and return its id.

    SendCommand has no client token: look for ``comment`` with find_command before a second try.
    Raises NotYetVisibleError when Systems Manager does not know the instance (any more), and
    DocumentGoneError when the document that Plan has seen is not there any more.
    """
    with translated("ssm:SendCommand", f"{document} to {instance_id}"):
        try:
            answer = clients.ssm_one_try().send_command(
                InstanceIds=[instance_id],
                DocumentName=document,
                DocumentVersion=version,
                DocumentHash=content_hash,
                DocumentHashType="Sha256",
                Parameters={name: list(values) for name, values in parameters.items()},
                Comment=comment,
                TimeoutSeconds=delivery_seconds,
                CloudWatchOutputConfig={
                    "CloudWatchLogGroupName": log_group,
                    "CloudWatchOutputEnabled": True,
                },
            )
        except ClientError as error:
            if code_of(error) == "InvalidInstanceId":
                raise NotYetVisibleError(
                    f"Systems Manager does not see {instance_id} as running and managed"
                ) from error
            if code_of(error) in _NO_SUCH_DOCUMENT:
                raise DocumentGoneError(
                    f"Document {document} is no longer what the bake was planned with (version "
                    f"{version}): {error}. A deployment since then has removed, renamed or "
                    "replaced its step. Start the bake again."
                ) from error
            raise
    return answer["Command"]["CommandId"]


def find_command(instance_id: str, comment: str) -> str | None:
    """The newest command on the instance with exactly this comment."""
    with translated("ssm:ListCommandInvocations", instance_id):
        pages = (
            clients.ssm().get_paginator("list_command_invocations").paginate(InstanceId=instance_id)
        )
        found: list[CommandInvocationTypeDef] = [
            record
            for page in pages
            for record in page["CommandInvocations"]
            if record.get("Comment") == comment
        ]
    newest = max(found, key=lambda record: record["RequestedDateTime"], default=None)
    return newest["CommandId"] if newest else None


def invocation(command_id: str, instance_id: str) -> Invocation | None:
    """What the command has done so far; None while Systems Manager does not show it yet.

    Once it is over, output and exit code are those of the steps that failed, else of all: of a
    document with several steps, GetCommandInvocation tells nothing but what it is asked by name.
    Source: SSM API reference, GetCommandInvocation, PluginName.
    """
    whole = _invocation(command_id, instance_id)
    if whole is None or whole.under_way:
        return whole
    steps = _telling_steps(command_id, instance_id)
    parts = [seen for step in steps if (seen := _invocation(command_id, instance_id, step))]
    if not parts:
        return whole
    return Invocation(
        status=whole.status,
        exit_code=parts[0].exit_code,
        stdout="\n".join(part.stdout for part in parts),
        stderr="\n".join(part.stderr for part in parts),
    )


def _telling_steps(command_id: str, instance_id: str) -> list[str]:
    """Names to ask for, none for a document of one step: that one's output comes without."""
    with translated("ssm:ListCommandInvocations", command_id):
        found = clients.ssm().list_command_invocations(
            CommandId=command_id, InstanceId=instance_id, Details=True
        )["CommandInvocations"]
    steps = [step for record in found for step in record.get("CommandPlugins", [])]
    if len(steps) < 2:
        return []
    failed = [step for step in steps if step.get("Status") in {"Failed", "TimedOut"}]
    names = [step.get("Name", "") for step in failed or steps]
    # The API takes no shorter name, though a document may have one.
    return [name for name in names if len(name) >= 4]


def _invocation(command_id: str, instance_id: str, step: str | None = None) -> Invocation | None:
    one_step: dict[str, Any] = {"PluginName": step} if step else {}
    with translated("ssm:GetCommandInvocation", command_id):
        try:
            answer = clients.ssm().get_command_invocation(
                CommandId=command_id, InstanceId=instance_id, **one_step
            )
        except ClientError as error:
            if code_of(error) == "InvocationDoesNotExist":
                return None
            raise
    return Invocation(
        status=answer["StatusDetails"],
        exit_code=answer.get("ResponseCode", -1),
        stdout=answer.get("StandardOutputContent", ""),
        stderr=answer.get("StandardErrorContent", ""),
    )


def find_parameter(name: str, *, region: str | None = None) -> Parameter | None:
    """The parameter, or None if there is none of that name."""
    with translated("ssm:GetParameter", _in(region, name)):
        try:
            record = clients.ssm(region).get_parameter(Name=name)["Parameter"]
        except ClientError as error:
            if code_of(error) in {"ParameterNotFound", "ParameterVersionNotFound"}:
                return None
            raise
    return Parameter(name, record.get("Type", "String"), record["Value"])


def _in(region: str | None, name: str) -> str:
    return f"{name} in {region}" if region else name


def get_parameter(name: str, *, region: str | None = None) -> str | None:
    """The value of a parameter, or None if there is none of that name."""
    found = find_parameter(name, region=region)
    return found.value if found else None


def put_image_parameter(
    name: str,
    image_id: str,
    description: str,
    *,
    region: str | None = None,
    takes_back: str = "",
) -> None:
    """Ask Parameter Store to point ``name`` at an image.

    ``takes_back`` names the image that it is put in the place of, of a bake that failed: the
    description says so, and that image does not count as published any more.

    Returns before the value is in force: a value of type ``aws:ec2:image`` is validated
    asynchronously, and the old one stays if it is refused.
    Source: SSM user guide, "Native parameter support for Amazon Machine Image IDs".
    """
    taken_back = f"{_TAKEN_BACK}{takes_back}" if takes_back else ""
    with translated("ssm:PutParameter", _in(region, name)):
        clients.ssm(region).put_parameter(
            Name=name,
            Value=image_id,
            Description=f"{description}{taken_back}",
            Type="String",
            DataType="aws:ec2:image",
            Overwrite=True,
        )


def earlier_value(name: str, current: str, *, region: str | None = None) -> str | None:
    """The newest value that the parameter had before ``current``, or None if it had no other."""
    versions = sorted(_history(name, region), key=lambda record: record["Version"], reverse=True)
    newest_first = [it["Value"] for it in versions]
    # Somebody may have put another one since.
    since = newest_first.index(current) if current in newest_first else 0
    return next((it for it in newest_first[since:] if it != current), None)


def parameters_of(recipe: str, *, region: str | None = None) -> dict[str, str]:
    """The recipe's parameters, of whatever kind, with their values."""
    path = f"{POINTERS}/{recipe}"
    with translated("ssm:GetParametersByPath", _in(region, path)):
        pages = (
            clients.ssm(region)
            .get_paginator("get_parameters_by_path")
            .paginate(Path=path, Recursive=True)
        )
        return {it["Name"]: it["Value"] for page in pages for it in page["Parameters"]}


def published_images(region: str | None = None, *, recipe: str = "") -> set[str]:
    """Every image that a pointer, a previous image or a label holds, or has held and none took
    back: of any recipe, unless one is named."""
    path = f"{POINTERS}/{recipe}" if recipe else POINTERS
    with translated("ssm:GetParametersByPath", _in(region, path)):
        pages = (
            clients.ssm(region)
            .get_paginator("get_parameters_by_path")
            .paginate(Path=path, Recursive=True)
        )
        records = [record for page in pages for record in page["Parameters"]]
    names = [it["Name"] for it in records if it.get("DataType") == "aws:ec2:image"]
    return images_ever(names, region)


def images_ever(names: Sequence[str], region: str | None = None) -> set[str]:
    """Every value that the parameters have, or have had: of each its last hundred, which is what
    Parameter Store keeps. What a parameter took back it has not had."""
    return set[str]().union(*(_lasting(_history(name, region)) for name in names))


def _lasting(versions: Iterable["ParameterHistoryTypeDef"]) -> set[str]:
    found: set[str] = set()
    for version in sorted(versions, key=lambda it: it["Version"]):
        found.discard(version.get("Description", "").partition(_TAKEN_BACK)[2])
        found.add(version["Value"])
    return found


def _history(name: str, region: str | None) -> "list[ParameterHistoryTypeDef]":
    with translated("ssm:GetParameterHistory", _in(region, name)):
        pages = clients.ssm(region).get_paginator("get_parameter_history").paginate(Name=name)
        return [record for page in pages for record in page["Parameters"]]


def delete_parameter(name: str, *, region: str | None = None) -> None:
    """Delete the parameter; harmless when it is gone."""
    with translated("ssm:DeleteParameter", _in(region, name)):
        try:
            clients.ssm(region).delete_parameter(Name=name)
        except ClientError as error:
            if code_of(error) != "ParameterNotFound":
                raise
