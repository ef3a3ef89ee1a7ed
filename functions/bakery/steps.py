"""What a recipe's steps become on Systems Manager: documents and their parameters."""

import json
import shlex
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from bakery.naming import fixed_document, step_document
from bakery.recipe import (
    Application,
    ApplicationStep,
    CustomizeStep,
    DocumentStep,
    ManagedSecret,
    PowershellStep,
    Recipe,
    ScriptStep,
    Secret,
    ShellStep,
)

REBOOT_DOCUMENT = "reboot-linux"
REBOOT_WINDOWS = "reboot-windows"
APPLICATION_DOCUMENT = "install-application"

Parameters = Mapping[str, tuple[str, ...]]


def script_document(step: ScriptStep, with_secrets: str = "") -> dict[str, Any]:
    """The Command document that a recipe's own script is deployed as.

    It has no parameters, so nothing can be pasted into the script when it is sent. ``with_secrets``
    is the program that runs the script of a step that has secrets, ``documents/with_secrets.py``.
    """
    for_windows = isinstance(step, PowershellStep)
    lines = _lines(step.script)
    if isinstance(step, ShellStep) and step.secrets:
        lines = _in_secret(step, lines, with_secrets)
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
                    "runCommand": lines,
                },
            }
        ],
    }


def _lines(script: str) -> list[str]:
    # Not splitlines: it also breaks at form feeds and Unicode's separators, which are content.
    return script.replace("\r\n", "\n").removesuffix("\n").split("\n")


def _in_secret(step: ShellStep, lines: list[str], program: str) -> list[str]:
    """A script that puts the step's own and the program into the command's folder, which is root's,
    and runs one by the other. Names of secrets are in it, values are not.
    """
    mark = "END-OF-STEP"
    while mark in lines:
        mark += "-"
    sources = [
        f"  {shlex.quote(f'{name}={_source(secret)}')}"
        for name, secret in sorted(step.secrets.items())
    ]
    command = ['exec "$python" -E -s "$here/with_secrets.py" "$here/step"', *sources]
    return [
        "#!/bin/sh",
        "set -eu",
        'here=$(dirname "$0")',
        f"""cat >"$here/step" <<'{mark}'""",
        *lines,
        mark,
        """cat >"$here/with_secrets.py" <<'END-OF-PROGRAM'""",
        *_lines(program),
        "END-OF-PROGRAM",
        'chmod 700 "$here/step"',
        "for python in python3 /usr/libexec/platform-python python python2 ''; do",
        '  if command -v "$python" >/dev/null; then break; fi',
        "done",
        'if [ -z "$python" ]; then',
        "  echo 'ami-bakery: this step has secrets, and this host has no Python to get them with; "
        "install one in a step before it' >&2",
        "  exit 1",
        "fi",
        *(f"{line} \\" for line in command[:-1]),
        command[-1],
    ]


def _source(secret: Secret) -> str:
    """As the program takes it: kind, name, and the key of a JSON object."""
    if isinstance(secret, ManagedSecret):
        return f"secret:{secret.secret}#{secret.key}" if secret.key else f"secret:{secret.secret}"
    return f"parameter:{secret.parameter}"


def secrets(recipe: Recipe) -> tuple[Secret, ...]:
    """What the recipe's builder may read of Secrets Manager and Parameter Store, in order."""
    found: list[Secret] = [
        secret
        for step in recipe.customize
        if isinstance(step, ShellStep)
        for _, secret in sorted(step.secrets.items())
    ]
    if recipe.windows and recipe.windows.administrator_password:
        found.append(recipe.windows.administrator_password)
    return tuple(dict.fromkeys(found))


def has_own_profile(recipe: Recipe) -> bool:
    """Whether its builder may read what other recipes' builders may not."""
    return bool(artefacts(recipe) or secrets(recipe))


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
