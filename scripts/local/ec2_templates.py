"""Launch templates: versions by client token, from a source version, deleted, made the default."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from scripts.local.ec2_state import Region, State, check_dry_run
from scripts.local.errors import AwsError
from scripts.local.iam import ACCOUNT
from scripts.local.records import Record, filtered, new_id, page

if TYPE_CHECKING:
    from scripts.local.calls import Call, Handler

TEMPLATE_FILTERS = {
    "launch-template-name": "LaunchTemplateName",
    "create-time": "CreateTime",
}


class Templates:
    """Templates of a Region by id; each keeps its versions in `Versions`, by number."""

    def __init__(self, state: State) -> None:
        self._state = state

    def handlers(self) -> dict[str, Handler]:
        return {
            "CreateLaunchTemplate": self.create,
            "CreateLaunchTemplateVersion": self.create_version,
            "DeleteLaunchTemplate": self.delete,
            "DeleteLaunchTemplateVersions": self.delete_versions,
            "DescribeLaunchTemplates": self.describe,
            "DescribeLaunchTemplateVersions": self.describe_versions,
            "ModifyLaunchTemplate": self.modify,
        }

    def add(self, id_: str, data: dict[str, Any], region: str) -> None:
        """A template with one version and an id that is known before."""
        with self._state.lock:
            self._add(self._state.region(region), id_, id_, data, "")

    def _add(
        self, region: Region, id_: str, name: str, data: dict[str, Any], description: str
    ) -> Record:
        template: Record = {
            "LaunchTemplateId": id_,
            "LaunchTemplateName": name,
            "CreateTime": self._state.clock.now(),
            "CreatedBy": f"arn:aws:iam::{ACCOUNT}:root",
            "DefaultVersionNumber": 1,
            "Versions": {},
            "Last": 0,
        }
        region.templates[id_] = template
        self._new_version(template, data, description)
        return template

    def _new_version(self, template: Record, data: dict[str, Any], description: str) -> int:
        template["Last"] += 1
        number = int(template["Last"])
        template["Versions"][number] = {
            "LaunchTemplateData": data,
            "VersionDescription": description,
            "CreateTime": self._state.clock.now(),
        }
        return number

    def create(self, call: Call) -> dict[str, Any]:
        p = call.parameters
        with self._state.lock:
            region = self._state.region(call.region)
            name = str(p["LaunchTemplateName"])
            if any(it["LaunchTemplateName"] == name for it in region.templates.values()):
                raise AwsError(
                    "InvalidLaunchTemplateName.AlreadyExistsException",
                    f"Launch template name already in use: {name}",
                )
            check_dry_run(p)
            description = str(p.get("VersionDescription") or "")
            data = dict(p["LaunchTemplateData"])
            template = self._add(region, new_id("lt"), name, data, description)
            return {"LaunchTemplate": _shown(template)}

    def create_version(self, call: Call) -> dict[str, Any]:
        p = call.parameters
        with self._state.lock:
            region, template = self._find(call)
            token = (str(p.get("ClientToken") or uuid.uuid4()), "template")
            known = {k: v for k, v in p.items() if k != "ClientToken"}
            if token in region.tokens:
                remembered, before = region.tokens[token]
                if before != known:
                    raise AwsError(
                        "IdempotentParameterMismatch",
                        "The client token was used with other parameters.",
                    )
                return {"LaunchTemplateVersion": _version(template, _number(template, remembered))}
            check_dry_run(p)
            source: dict[str, Any] = {}
            if p.get("SourceVersion"):
                number = _number(template, str(p["SourceVersion"]))
                source = template["Versions"][number]["LaunchTemplateData"]
            data = {**source, **p["LaunchTemplateData"]}
            made = self._new_version(template, data, str(p.get("VersionDescription") or ""))
            region.tokens[token] = (str(made), known)
            return {"LaunchTemplateVersion": _version(template, made)}

    def modify(self, call: Call) -> dict[str, Any]:
        with self._state.lock:
            _region, template = self._find(call)
            check_dry_run(call.parameters)
            number = _number(template, str(call.parameters["DefaultVersion"]))
            template["DefaultVersionNumber"] = number
            return {"LaunchTemplate": _shown(template)}

    def delete(self, call: Call) -> dict[str, Any]:
        with self._state.lock:
            region, template = self._find(call)
            check_dry_run(call.parameters)
            del region.templates[template["LaunchTemplateId"]]
            return {"LaunchTemplate": _shown(template)}

    def delete_versions(self, call: Call) -> dict[str, Any]:
        with self._state.lock:
            _region, template = self._find(call)
            check_dry_run(call.parameters)
            done, failed = [], []
            for wanted in call.parameters["Versions"]:
                it = {
                    "LaunchTemplateId": template["LaunchTemplateId"],
                    "LaunchTemplateName": template["LaunchTemplateName"],
                    "VersionNumber": int(wanted),
                }
                if code := _undeletable(template, int(wanted)):
                    failed.append({**it, "ResponseError": {"Code": code, "Message": code}})
                    continue
                del template["Versions"][int(wanted)]
                done.append(it)
            return {
                "SuccessfullyDeletedLaunchTemplateVersions": done,
                "UnsuccessfullyDeletedLaunchTemplateVersions": failed,
            }

    def describe(self, call: Call) -> dict[str, Any]:
        p = call.parameters
        with self._state.lock:
            region = self._state.region(call.region)
            for id_ in p.get("LaunchTemplateIds") or []:
                self._by_id(region, id_)
            wanted = p.get("LaunchTemplateIds") or list(region.templates)
            found = [_shown(region.templates[id_]) for id_ in wanted]
            chosen, token = page(filtered(found, p.get("Filters"), TEMPLATE_FILTERS), p, 200)
            return {"LaunchTemplates": chosen, "NextToken": token}

    def describe_versions(self, call: Call) -> dict[str, Any]:
        p = call.parameters
        with self._state.lock:
            named = p.get("LaunchTemplateId") or p.get("LaunchTemplateName")
            found = self._of_one(call) if named else self._of_all(call)
            chosen, token = page(found, p, 200)
            return {"LaunchTemplateVersions": chosen, "NextToken": token}

    def _of_one(self, call: Call) -> list[Record]:
        _region, template = self._find(call)
        wanted = [_number(template, str(it)) for it in call.parameters.get("Versions") or []]
        # Newest first, as EC2 shows them.
        numbers = wanted or sorted(template["Versions"], reverse=True)
        return [_version(template, it) for it in numbers]

    def _of_all(self, call: Call) -> list[Record]:
        """The newest and default versions of all templates, where none is named."""
        wanted = [str(it) for it in call.parameters.get("Versions") or []]
        if not wanted or set(wanted) - {"$Latest", "$Default"}:
            raise AwsError(
                "MissingParameter",
                "The request must contain the parameter LaunchTemplateId or LaunchTemplateName",
            )
        templates = self._state.region(call.region).templates.values()
        # A version that is both is shown once.
        return [
            _version(template, number)
            for template in templates
            for number in sorted({_number(template, it) for it in wanted}, reverse=True)
        ]

    def _find(self, call: Call) -> tuple[Region, Record]:
        region, name = self._state.region(call.region), call.get("LaunchTemplateName")
        if name is None:
            return region, self._by_id(region, str(call.parameters["LaunchTemplateId"]))
        for template in region.templates.values():
            if template["LaunchTemplateName"] == name:
                return region, template
        raise AwsError(
            "InvalidLaunchTemplateName.NotFoundException",
            f"The specified launch template, with template name {name}, does not exist.",
        )

    def _by_id(self, region: Region, id_: str) -> Record:
        if id_ not in region.templates:
            raise AwsError(
                "InvalidLaunchTemplateId.NotFound",
                f"The specified launch template, with template ID {id_}, does not exist.",
            )
        return region.templates[id_]


def _number(template: Record, wanted: str) -> int:
    if wanted == "$Latest":
        return int(max(template["Versions"]))
    if wanted == "$Default":
        return int(template["DefaultVersionNumber"])
    if not wanted.isdigit() or int(wanted) not in template["Versions"]:
        raise AwsError(
            "InvalidLaunchTemplateId.VersionNotFound",
            f"Could not find the specified version {wanted} for the launch template with ID "
            f"{template['LaunchTemplateId']}.",
        )
    return int(wanted)


def _undeletable(template: Record, number: int) -> str:
    if number not in template["Versions"]:
        return "launchTemplateVersionDoesNotExist"
    # The default version cannot go before another one is the default.
    return "unexpectedError" if number == template["DefaultVersionNumber"] else ""


def _shown(template: Record) -> Record:
    shown = {k: v for k, v in template.items() if k not in ("Versions", "Last")}
    return {**shown, "LatestVersionNumber": max(template["Versions"])}


def _version(template: Record, number: int) -> Record:
    return {
        "LaunchTemplateId": template["LaunchTemplateId"],
        "LaunchTemplateName": template["LaunchTemplateName"],
        "VersionNumber": number,
        "DefaultVersion": number == template["DefaultVersionNumber"],
        "CreatedBy": template["CreatedBy"],
        **template["Versions"][number],
    }
