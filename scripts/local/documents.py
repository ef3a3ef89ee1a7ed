"""SSM documents: created, versioned, hashed and described; parameters checked as SendCommand
checks them."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from scripts.local.errors import AwsError
from scripts.local.iam import ACCOUNT
from scripts.local.records import page

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from scripts.local.calls import Call, Handler
    from scripts.local.clock import Clock

SIZE_LIMIT = 64 * 1024
_NAME = re.compile(r"[A-Za-z0-9_.-]{3,128}")
_TOP_LEVEL = {
    "schemaVersion",
    "description",
    "parameters",
    "mainSteps",
    "files",
    "assumeRole",
    "variables",
}
_TYPES = ("String", "StringList", "Boolean", "Integer", "MapList", "StringMap")


@dataclass(frozen=True)
class Version:
    number: str
    text: str
    content: Mapping[str, Any]
    created: datetime

    @property
    def hash(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def parameters(self) -> Mapping[str, Any]:
        return self.content.get("parameters") or {}

    @property
    def steps(self) -> list[Mapping[str, Any]]:
        return list(self.content.get("mainSteps") or [])


@dataclass
class Document:
    name: str
    format: str
    owner: str
    type: str = "Command"
    versions: list[Version] = field(default_factory=list)
    default: str = "1"
    status: str = "Active"

    @property
    def latest(self) -> Version:
        return self.versions[-1]

    def version(self, asked: str | None) -> Version:
        wanted = self.default if asked in (None, "", "$DEFAULT") else asked
        if wanted == "$LATEST":
            return self.latest
        for version in self.versions:
            if version.number == wanted:
                return version
        raise AwsError(
            "InvalidDocumentVersion", f"Document version {asked} is not valid for {self.name}."
        )

    @property
    def platforms(self) -> list[str]:
        """Which platforms the steps' actions and preconditions fit."""
        named = set()
        for step in self.latest.steps:
            for sides in (step.get("precondition") or {}).values():
                named |= {side for side in sides if side in ("Linux", "Windows", "MacOS")}
        if named:
            return sorted(named)
        actions = {str(step["action"]) for step in self.latest.steps}
        if actions and actions <= {"aws:runPowerShellScript"}:
            return ["Linux", "MacOS", "Windows"]
        return (
            ["Linux", "MacOS"] if "aws:runShellScript" in actions else ["Linux", "MacOS", "Windows"]
        )


class Documents:
    """All documents of the account, and the ones that AWS owns."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self.all: dict[str, Document] = {}

    def handlers(self) -> dict[str, Handler]:
        return {
            "CreateDocument": self._create,
            "UpdateDocument": self._update,
            "UpdateDocumentDefaultVersion": self._set_default,
            "DescribeDocument": self._describe,
            "GetDocument": self._get,
            "DeleteDocument": self._delete,
            "ListDocuments": self._list,
            "ListDocumentVersions": self._list_versions,
        }

    def find(self, name: str) -> Document:
        document = self.all.get(name) or self.all.get(_own_or_public(name))
        if document is None:
            raise AwsError("InvalidDocument", f"Document with name {name} does not exist.")
        return document

    def add(
        self,
        name: str,
        content: Mapping[str, Any],
        *,
        owner: str = "Amazon",
        type_: str = "Command",
    ) -> Document:
        """Put a document there without asking the API; one that another account shares, by ARN."""
        text = json.dumps(content, indent=2)
        versions = [Version("1", text, content, self._clock.now())]
        document = Document(name, "JSON", owner, type_, versions)
        self.all[name] = document
        return document

    def _create(self, call: Call) -> dict[str, Any]:
        p = call.parameters
        name = str(p["Name"])
        if not _NAME.fullmatch(name) or re.match(r"(?i)(aws|amazon|amzn)", name):
            raise AwsError("ValidationException", f"Invalid document name: {name}")
        with self._lock:
            if name in self.all:
                raise AwsError(
                    "DocumentAlreadyExists", f"Document with name {name} already exists."
                )
            document = Document(
                name,
                str(p.get("DocumentFormat") or "JSON"),
                ACCOUNT,
                str(p.get("DocumentType") or "Command"),
            )
            self._append(document, str(p["Content"]))
            self.all[name] = document
            return {"DocumentDescription": self._description(document, document.latest)}

    def _append(self, document: Document, text: str) -> Version:
        content = parse(text, document.format)
        if document.type == "Command":
            check_content(content)
        if len(text.encode()) > SIZE_LIMIT:
            raise AwsError("MaxDocumentSizeExceeded", "The size limit of a document is 64 KB.")
        version = Version(str(len(document.versions) + 1), text, content, self._clock.now())
        document.versions.append(version)
        return version

    def _update(self, call: Call) -> dict[str, Any]:
        p = call.parameters
        with self._lock:
            document = self.find(str(p["Name"]))
            text = str(p["Content"])
            if any(v.hash == hashlib.sha256(text.encode()).hexdigest() for v in document.versions):
                message = "The content of the association document matches another document."
                raise AwsError("DuplicateDocumentContent", message)
            document.format = str(p.get("DocumentFormat") or document.format)
            version = self._append(document, text)
            return {"DocumentDescription": self._description(document, version)}

    def _set_default(self, call: Call) -> dict[str, Any]:
        with self._lock:
            document = self.find(str(call.parameters["Name"]))
            document.default = document.version(str(call.parameters["DocumentVersion"])).number
            return {"Description": {"Name": document.name, "DefaultVersion": document.default}}

    def _describe(self, call: Call) -> dict[str, Any]:
        document = self.find(str(call.parameters["Name"]))
        version = document.version(call.get("DocumentVersion"))
        return {"Document": self._description(document, version)}

    def _description(self, document: Document, version: Version) -> dict[str, Any]:
        parameters = []
        for name, declared in version.parameters.items():
            row = {"Name": name, "Type": declared.get("type", "String")}
            if declared.get("description"):
                row["Description"] = str(declared["description"])
            if "default" in declared:
                default = declared["default"]
                row["DefaultValue"] = default if isinstance(default, str) else json.dumps(default)
            parameters.append(row)
        return {
            "Name": document.name,
            "Owner": document.owner,
            "CreatedDate": version.created,
            "Status": document.status,
            "Hash": version.hash,
            "HashType": "Sha256",
            "DocumentVersion": version.number,
            "LatestVersion": document.latest.number,
            "DefaultVersion": document.default,
            "Description": str(version.content.get("description", "")),
            "Parameters": parameters,
            "PlatformTypes": document.platforms,
            "DocumentType": document.type,
            "SchemaVersion": str(version.content.get("schemaVersion", "")),
            "DocumentFormat": document.format,
        }

    def _get(self, call: Call) -> dict[str, Any]:
        document = self.find(str(call.parameters["Name"]))
        version = document.version(call.get("DocumentVersion"))
        asked = str(call.get("DocumentFormat") or "JSON")
        text = version.text
        if asked != document.format:
            content = dict(version.content)
            text = (
                json.dumps(content, indent=2)
                if asked == "JSON"
                else yaml.safe_dump(content, sort_keys=False)
            )
        return {
            "Name": document.name,
            "DocumentVersion": version.number,
            "Status": "Active",
            "Content": text,
            "DocumentType": document.type,
            "DocumentFormat": asked,
            "CreatedDate": version.created,
        }

    def _delete(self, call: Call) -> dict[str, Any]:
        with self._lock:
            document = self.find(str(call.parameters["Name"]))
            if document.owner != ACCOUNT:
                raise AwsError(
                    "AccessDeniedException", f"{document.name} is owned by {document.owner}"
                )
            del self.all[document.name]
            return {}

    def _list(self, call: Call) -> dict[str, Any]:
        rows = []
        filters = {f["Key"]: f["Values"] for f in call.get("Filters") or []}
        for document in self.all.values():
            owner = "Self" if document.owner == ACCOUNT else document.owner
            if "Owner" in filters and owner not in filters["Owner"]:
                continue
            if "Name" in filters and not any(document.name.startswith(n) for n in filters["Name"]):
                continue
            row = self._description(document, document.version(None))
            keys = (
                "Name",
                "Owner",
                "CreatedDate",
                "DocumentVersion",
                "DocumentType",
                "SchemaVersion",
            )
            rows.append({k: row[k] for k in (*keys, "DocumentFormat", "PlatformTypes")})
        chosen, token = page(rows, call.parameters, 50)
        return {"DocumentIdentifiers": chosen, "NextToken": token}

    def _list_versions(self, call: Call) -> dict[str, Any]:
        document = self.find(str(call.parameters["Name"]))
        rows = [
            {
                "Name": document.name,
                "DocumentVersion": v.number,
                "CreatedDate": v.created,
                "IsDefaultVersion": v.number == document.default,
                "DocumentFormat": document.format,
                "Status": "Active",
            }
            for v in document.versions
        ]
        return {"DocumentVersions": rows}


def _own_or_public(name: str) -> str:
    """The plain name of a document that an ARN names in this account or in AWS's."""
    arn, _, plain = name.rpartition(":document/")
    return plain if arn.rpartition(":")[2] in ("", ACCOUNT) else name


def parse(text: str, format_: str) -> Mapping[str, Any]:
    try:
        content = json.loads(text) if format_ == "JSON" else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as error:
        message = f"{format_} not well-formed. {error}"
        raise AwsError("InvalidDocumentContent", message) from error
    if not isinstance(content, dict):
        raise AwsError("InvalidDocumentContent", "The content is no mapping.")
    return content


def _refuse(text: str) -> AwsError:
    return AwsError("InvalidDocumentContent", text)


def check_content(content: Mapping[str, Any]) -> None:
    """The rules of a Command document of schema 2.2."""
    if str(content.get("schemaVersion")) not in ("2.0", "2.2"):
        version = content.get("schemaVersion")
        raise _refuse(f"Command documents need schemaVersion 2.2, not {version}.")
    unknown = set(content) - _TOP_LEVEL
    if unknown:
        raise _refuse(f"unknown top-level keys: {', '.join(sorted(unknown))}.")
    steps = content.get("mainSteps")
    if not isinstance(steps, list) or not steps:
        raise _refuse("mainSteps must be a list of at least one step.")
    names = [step.get("name") for step in steps]
    if len(set(names)) != len(names):
        raise _refuse("step names must be unique.")
    for step in steps:
        _check_step(step)
    for name, declared in (content.get("parameters") or {}).items():
        _check_declaration(name, declared)


def _check_step(step: Mapping[str, Any]) -> None:
    name = str(step.get("name"))
    if not isinstance(step.get("action"), str) or not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise _refuse(f"step {name} needs a name of letters, digits, _ and -, and an action.")
    if not isinstance(step.get("inputs"), dict):
        raise _refuse(f"step {name} needs inputs.")


def _check_declaration(name: str, declared: Any) -> None:
    if not isinstance(declared, dict) or declared.get("type") not in _TYPES:
        raise _refuse(f"parameter {name} needs a type out of {', '.join(_TYPES)}.")
    if not re.fullmatch(r"[A-Za-z0-9]+", name):
        raise _refuse(f"parameter name {name} must consist of letters and digits.")
    if declared.get("interpolationType") not in (None, "ENV_VAR"):
        raise _refuse(f"parameter {name}: interpolationType must be ENV_VAR.")
    if declared.get("interpolationType") == "ENV_VAR" and declared["type"] != "String":
        raise _refuse(f"parameter {name}: interpolationType ENV_VAR is for type String only.")
    _compiled(name, declared)


def _compiled(name: str, declared: Mapping[str, Any]) -> re.Pattern[str] | None:
    pattern = declared.get("allowedPattern")
    if pattern is None:
        return None
    try:
        return re.compile(str(pattern))
    except re.error as error:
        raise AwsError(
            "InvalidDocumentContent", f"parameter {name}: allowedPattern: {error}"
        ) from error


def check_parameters(version: Version, given: Mapping[str, Sequence[str]]) -> None:
    """What SendCommand refuses with InvalidParameters."""
    declared = version.parameters
    for name in given:
        if name not in declared:
            raise AwsError("InvalidParameters", f"Parameter {name} is not defined in the document.")
    for name, rule in declared.items():
        if name not in given:
            if "default" not in rule:
                raise AwsError("InvalidParameters", f"Required parameter {name} is missing.")
            continue
        _check_values(name, rule, list(given[name]))


def _check_values(name: str, rule: Mapping[str, Any], values: list[str]) -> None:
    if rule["type"] not in ("StringList", "MapList") and len(values) != 1:
        raise AwsError(
            "InvalidParameters", f"Parameter {name} takes exactly one value of type {rule['type']}."
        )
    allowed = [str(v) for v in rule.get("allowedValues") or []]
    pattern = _compiled(name, rule)
    for value in values:
        if allowed and value not in allowed:
            message = f"Value {value} of parameter {name} is not one of {', '.join(allowed)}."
            raise AwsError("InvalidParameters", message)
        if pattern and not pattern.search(value):
            message = (
                f"Value of parameter {name} does not match allowedPattern {rule['allowedPattern']}."
            )
            raise AwsError("InvalidParameters", message)
        for bound, wrong in (
            ("minChars", len(value) < int(rule.get("minChars", 0))),
            ("maxChars", len(value) > int(rule.get("maxChars", 10**9))),
        ):
            if wrong:
                raise AwsError(
                    "InvalidParameters", f"Value of parameter {name} breaks {bound} {rule[bound]}."
                )
        if rule["type"] == "Boolean" and value.lower() not in ("true", "false"):
            raise AwsError("InvalidParameters", f"Value of parameter {name} is no Boolean.")
        if rule["type"] == "Integer" and not re.fullmatch(r"-?\d+", value):
            raise AwsError("InvalidParameters", f"Value of parameter {name} is no Integer.")
