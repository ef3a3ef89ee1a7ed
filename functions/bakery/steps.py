"""What a recipe's steps become on Systems Manager: documents and their parameters."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from bakery.naming import fixed_document, step_document
from bakery.recipe import (
    Application,
    ApplicationStep,
    CustomizeStep,
    DocumentStep,
    PowershellStep,
    Recipe,
    ScriptStep,
)

REBOOT_DOCUMENT = "reboot-linux"
REBOOT_WINDOWS = "reboot-windows"
APPLICATION_DOCUMENT = "install-application"

Parameters = Mapping[str, tuple[str, ...]]


def script_document(step: ScriptStep) -> dict[str, Any]:
    """The Command document that a recipe's own script is deployed as.

    It has no parameters, so nothing can be pasted into the script when it is sent.
    """
    for_windows = isinstance(step, PowershellStep)
    return {
        "schemaVersion": "2.2",
        "description": f"{step.name} (from a recipe)",
        "mainSteps": [
            {
                "action": "aws:runPowerShellScript" if for_windows else "aws:runShellScript",
                "name": "run",
                "precondition": {
                    "StringEquals": ["platformType", "Windows" if for_windows else "Linux"]
                },
                "inputs": {
                    "timeoutSeconds": str(step.timeout_seconds),
                    "runCommand": _lines(step.script),
                },
            }
        ],
    }


def _lines(script: str) -> list[str]:
    # Not splitlines: it also breaks at form feeds and Unicode's separators, which are content.
    return script.replace("\r\n", "\n").removesuffix("\n").split("\n")


def document_of(recipe: str, step: CustomizeStep, *, windows: bool = False) -> str:
    """Name of the deployed document that the step runs on a host of its platform."""
    match step:
        case ScriptStep():
            return step_document(recipe, step.name)
        case DocumentStep():
            return step.document
        case ApplicationStep():
            return fixed_document(APPLICATION_DOCUMENT)
        case _:
            return fixed_document(REBOOT_WINDOWS if windows else REBOOT_DOCUMENT)


def parameters_of(step: CustomizeStep, *, bake: str, region: str) -> Parameters:
    """The parameters that the step's document is sent with."""
    match step:
        case ScriptStep():
            return {}
        case DocumentStep():
            return {name: _values(value) for name, value in step.parameters.items()}
        case ApplicationStep():
            return {"Bake": (bake,), **_application(step.application, region)}
        case _:
            return {"Bake": (bake,)}


def has_sentinel(step: CustomizeStep) -> bool:
    """Whether the step runs one of our fixed documents, which print a last line."""
    return not isinstance(step, ScriptStep | DocumentStep)


def artefacts(recipe: Recipe) -> tuple[tuple[str, str], ...]:
    """Bucket and key of each archive that the recipe's builder reads from S3."""
    found = [
        artefact(step.application) for step in recipe.customize if isinstance(step, ApplicationStep)
    ]
    return tuple(item for item in found if item is not None)


def artefact(application: Application) -> tuple[str, str] | None:
    """Bucket and key of an archive in S3; None for one on the web."""
    scheme, _, rest = application.source.partition("://")
    if scheme != "s3":
        return None
    bucket, _, key = rest.partition("/")
    return bucket, key


def _application(application: Application, region: str) -> Parameters:
    in_s3 = artefact(application)
    if in_s3:
        info: Mapping[str, str] = {"path": _url(*in_s3, region)}
    else:
        info = {"url": application.source}
    return {
        "SourceType": ("S3" if in_s3 else "HTTP",),
        "SourceInfo": (json.dumps(info),),
        "Sha256": (application.sha256,),
        "Directory": (application.directory,),
    }


def _url(bucket: str, key: str, region: str) -> str:
    """What the plugin's S3 source takes instead of an s3:// name; it unquotes, also a plus sign.

    Source: amazon-ssm-agent, s3resource.go. China's partition has a domain of its own.
    """
    domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return f"https://s3.{region}.{domain}/{bucket}/{quote(key)}"


def _values(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value
