"""What Systems Manager accepts as a Command document (schema 2.2) and as its parameters.

Pure rules: no I/O, no YAML, no AWS. Synthesis, `bakery check`, Plan and the local AWS ask the
same two questions, `problems_of` and `parameter_problems`, so that what AWS would refuse is
refused before money is spent. Where the API and the agent differ, the stricter of the two counts.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

MAX_BYTES: Final = 64 * 1024
"""Systems Manager's limit for a document together with its run-time parameters."""

NAME: Final = re.compile(r"[A-Za-z0-9]+")
"""The agent substitutes only parameters with such names, whatever the API takes."""

TOKEN: Final = re.compile(r"{{\s*([A-Za-z0-9]+)\s*}}")
"""`{{ Name }}`; `{{ ssm:name }}` is Parameter Store's and does not match."""

_RE2_COPIES: Final = 1000
_REGEX_PART: Final = re.compile(
    r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\{(?P<count>\d+(?:,\d*)?)\}|.", re.DOTALL
)
"""An escaped character, a class of characters, a counted repetition, or any character."""

_STEP_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_DOCUMENT_KEYS: Final = {"schemaVersion", "description", "parameters", "mainSteps"}
_STEP_KEYS: Final = {"action", "name", "inputs", "precondition"}
_PARAMETER_KEYS: Final = {
    "String": {"minChars", "maxChars"},
    "StringList": {"minItems", "maxItems"},
}
_ANY_PARAMETER_KEYS: Final = {
    "type",
    "description",
    "default",
    "allowedValues",
    "allowedPattern",
    "displayType",
    "interpolationType",
}
_PLATFORMS: Final = {"linux", "macos", "windows"}
_FLOW: Final = {"finallyStep", "onFailure", "onSuccess"}
_SCRIPT_INPUTS: Final = {"runCommand", "timeoutSeconds", "workingDirectory"}
_INPUTS: Final[dict[str, tuple[set[str], set[str]]]] = {
    # action: (required inputs, all inputs)
    "aws:runShellScript": ({"runCommand"}, _SCRIPT_INPUTS),
    "aws:runPowerShellScript": ({"runCommand"}, _SCRIPT_INPUTS),
    "aws:downloadContent": (
        {"sourceType", "sourceInfo"},
        {"sourceType", "sourceInfo", "destinationPath"},
    ),
    "aws:runDocument": (
        {"documentType", "documentPath"},
        {"documentType", "documentPath", "documentParameters"},
    ),
    "aws:updateSsmAgent": ({"agentName"}, {"agentName", "allowDowngrade", "targetVersion"}),
    "aws:configurePackage": (
        {"name", "action"},
        {"name", "action", "installationType", "version", "additionalArguments"},
    ),
}


def problems_of(document: Mapping[str, Any]) -> list[str]:
    """Every reason why this is not a Command document of schema 2.2; empty when there is none."""
    if document.get("schemaVersion") != "2.2":
        return ['schemaVersion: must be the string "2.2"']
    parameters = document.get("parameters", {})
    steps = document.get("mainSteps")
    if not isinstance(parameters, Mapping):
        return ["parameters: must be a mapping of name to definition"]
    if not isinstance(steps, list) or not steps:
        return ["mainSteps: must be a list of at least one step"]
    problems = [
        f"{key}: not a key of a Command document" for key in document.keys() - _DOCUMENT_KEYS
    ]
    for name, definition in parameters.items():
        problems += [f"parameters.{name}{text}" for text in _definition_problems(name, definition)]
    for index, step in enumerate(steps):
        last = index == len(steps) - 1
        problems += [f"mainSteps[{index}]{text}" for text in _step_problems(step, parameters, last)]
    problems += _repeated([step.get("name") for step in steps if isinstance(step, Mapping)])
    if (size := size_of(document)) > MAX_BYTES:
        problems.append(f"the document has {size} bytes; Systems Manager takes {MAX_BYTES}")
    return problems


def parameter_problems(
    document: Mapping[str, Any], parameters: Mapping[str, Sequence[str]]
) -> list[str]:
    """Every reason why SendCommand would refuse these parameters for this document."""
    declared: Mapping[str, Any] = document.get("parameters") or {}
    accepts = ", ".join(sorted(declared)) or "none"
    problems = [
        f"{name}: the document has no such parameter; it has: {accepts}"
        for name in sorted(parameters.keys() - declared.keys())
    ]
    for name, definition in declared.items():
        if name in parameters:
            problems += [f"{name}{text}" for text in _value_problems(definition, parameters[name])]
        elif "default" not in definition:
            problems.append(f"{name}: a value is required, the document has no default")
    size = size_of(document) + size_of(parameters)
    if not problems and size > MAX_BYTES:
        problems.append(f"document and parameters have {size} bytes; AWS takes {MAX_BYTES}")
    return problems


def size_of(value: object) -> int:
    """Bytes of a value as the JSON that AWS measures."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return len(text.encode(errors="surrogatepass"))


def script_of(step: Mapping[str, Any]) -> str:
    """A script step's text, as the agent writes it to the file that it executes; '' for others."""
    lines = step.get("inputs", {}).get("runCommand")
    return "\n".join(lines) + "\n" if isinstance(lines, list) else ""


def matches(pattern: str, value: str) -> bool:
    """Whether `allowedPattern` accepts a value, for the API (Java) and for the agent (RE2) alike.

    Both search rather than match; Java's `$` also accepts a final newline, RE2's does not. A
    pattern that only Java understands (documents of AWS have some) is left to AWS to judge.
    """
    try:
        strict = re.compile(re.sub(r"(?<!\\)\$(?=[|)]|$)", r"\\Z", pattern))
    except re.error:
        return True
    return strict.search(value) is not None


def _definition_problems(name: object, definition: object) -> Iterator[str]:
    if not (isinstance(name, str) and NAME.fullmatch(name)):
        yield ": the name may have only letters and digits; the agent does not substitute others"
    if not isinstance(definition, Mapping):
        yield ": must be a mapping"
        return
    kind = definition.get("type")
    if kind not in _PARAMETER_KEYS:
        yield f".type: must be String or StringList, not {kind!r}"
        return
    for key in definition.keys() - _ANY_PARAMETER_KEYS - _PARAMETER_KEYS[kind]:
        yield f".{key}: not a key of a {kind} parameter"
    yield from _interpolation_problems(definition)
    yield from _pattern_problems(definition.get("allowedPattern"))
    if "default" in definition:
        default = definition["default"]
        if isinstance(default, str) != (kind == "String"):
            yield f".default: must be a {kind}"
        else:
            values = [default] if kind == "String" else default
            yield from (f".default{text}" for text in _value_problems(definition, values))


def _interpolation_problems(definition: Mapping[str, Any]) -> Iterator[str]:
    how = definition.get("interpolationType", "TEXT")
    if how not in ("TEXT", "ENV_VAR"):
        yield f".interpolationType: must be TEXT or ENV_VAR, not {how!r}"
    if how == "ENV_VAR" and definition.get("type") != "String":
        yield ".interpolationType: ENV_VAR works for String parameters only"


def _pattern_problems(pattern: object) -> Iterator[str]:
    if pattern is None:
        return
    if not isinstance(pattern, str):
        yield ".allowedPattern: must be a string"
        return
    if re.search(r"\(\?(?!:|P<)|\\[1-9zZ]", pattern):
        yield ".allowedPattern: the agent (RE2) has no look-around, back-reference or \\Z"
    try:
        re.compile(pattern)
    except re.error as error:
        yield f".allowedPattern: not a regular expression: {error}"
    if (copies := _copies(pattern)) > _RE2_COPIES:
        yield (
            f".allowedPattern: repeats a part up to {copies} times, the agent (RE2) takes "
            f"{_RE2_COPIES}; use + and maxChars"
        )


def _copies(pattern: str) -> int:
    """How many copies of its innermost part a pattern's counted repetitions stand for.

    Source: Go, regexp/syntax, repeatIsValid.
    """
    groups: list[int] = [1]  # of each open group, the most copies that a part of it stands for
    last = 1
    for part in _REGEX_PART.finditer(pattern):
        if part.group("count"):
            last *= max(int(number) for number in re.findall(r"\d+", part.group("count")))
            groups[-1] = max(groups[-1], last)
        elif part.group() == "(":
            groups.append(1)
        elif part.group() == ")" and len(groups) > 1:
            last = groups.pop()
            groups[-1] = max(groups[-1], last)
        else:
            last = 1
    return groups[0]


def _value_problems(definition: Mapping[str, Any], values: object) -> Iterator[str]:
    if isinstance(values, str) or not isinstance(values, Sequence):
        yield ": must be a list of strings"
        return
    if not all(isinstance(value, str) for value in values):
        yield ": every value must be a string"
        return
    if definition.get("type") == "String" and len(values) != 1:
        yield f": takes exactly one value, not {len(values)}"
        return
    yield from _item_count_problems(definition, len(values))
    for value in values:
        yield from _string_problems(definition, value)


def _item_count_problems(definition: Mapping[str, Any], count: int) -> Iterator[str]:
    if count < int(definition.get("minItems", 0)):
        yield f": takes at least {definition['minItems']} values, not {count}"
    if count > int(definition.get("maxItems", count)):
        yield f": takes at most {definition['maxItems']} values, not {count}"


def _string_problems(definition: Mapping[str, Any], value: str) -> Iterator[str]:
    allowed = definition.get("allowedValues")
    pattern = definition.get("allowedPattern")
    if allowed is not None and value not in allowed:
        yield f": {value!r} is not one of {', '.join(map(str, allowed))}"
    if isinstance(pattern, str) and not matches(pattern, value):
        yield f": {value!r} does not match {pattern}"
    if len(value) < int(definition.get("minChars", 0)):
        yield f": {value!r} is shorter than {definition['minChars']} characters"
    if len(value) > int(definition.get("maxChars", len(value))):
        yield f": the value is longer than {definition['maxChars']} characters"


def _step_problems(step: object, parameters: Mapping[str, Any], last: bool) -> Iterator[str]:
    if not isinstance(step, Mapping):
        yield ": must be a mapping"
        return
    for key in step.keys() - _STEP_KEYS:
        yield f".{key}: ignored by the agent at this place; flow control belongs into inputs"
    if not _STEP_NAME.fullmatch(str(step.get("name", ""))):
        yield ".name: 1 to 128 letters, digits, - or _ are required"
    yield from (f".precondition{text}" for text in _precondition_problems(step, parameters))
    action, inputs = step.get("action"), step.get("inputs", {})
    if action not in _INPUTS:
        yield f".action: {action!r} is not one of {', '.join(sorted(_INPUTS))}"
        return
    if not isinstance(inputs, Mapping):
        yield ".inputs: must be a mapping"
        return
    required, known = _INPUTS[action]
    for key in sorted(required - inputs.keys()):
        yield f".inputs.{key}: is required by {action}"
    for key in sorted(inputs.keys() - known - _FLOW):
        yield f".inputs.{key}: not an input of {action}"
    yield from (f".inputs{text}" for text in _flow_problems(inputs, last))
    yield from (f".inputs.runCommand{text}" for text in _script_problems(inputs, parameters))
    for token in sorted(set(TOKEN.findall(json.dumps(inputs))) - parameters.keys()):
        yield f".inputs: {{{{ {token} }}}} is not a parameter of the document"


def _script_problems(inputs: Mapping[str, Any], parameters: Mapping[str, Any]) -> Iterator[str]:
    script = inputs.get("runCommand", [])
    if isinstance(script, str):
        token = TOKEN.fullmatch(script)
        if not token or parameters.get(token.group(1), {}).get("type") != "StringList":
            yield ": must be a list of lines, or one {{ Parameter }} of type StringList"
    elif not (isinstance(script, list) and all(isinstance(line, str) for line in script)):
        yield ": must be a list of strings"


def _flow_problems(inputs: Mapping[str, Any], last: bool) -> Iterator[str]:
    if inputs.get("onFailure", "exit") not in ("exit", "successAndExit"):
        yield ".onFailure: must be exit or successAndExit"
    if inputs.get("onSuccess", "exit") != "exit":
        yield ".onSuccess: must be exit"
    if "finallyStep" in inputs and not last:
        yield ".finallyStep: the agent honours it on the last step only"
    seconds = inputs.get("timeoutSeconds")
    if seconds is None or TOKEN.fullmatch(str(seconds)):
        return
    if not re.fullmatch(r"\d+", str(seconds)) or not 5 <= int(seconds) <= 172800:
        yield ".timeoutSeconds: must be 5 to 172800; the agent replaces anything else by 3600"


def _precondition_problems(step: Mapping[str, Any], parameters: Mapping[str, Any]) -> Iterator[str]:
    precondition = step.get("precondition", {"StringEquals": ["platformType", "Linux"]})
    if not isinstance(precondition, Mapping) or set(precondition) != {"StringEquals"}:
        yield ": StringEquals is the only operator"
        return
    sides = precondition["StringEquals"]
    if not (isinstance(sides, list) and len(sides) == 2 and all(isinstance(s, str) for s in sides)):
        yield ".StringEquals: takes two strings"
        return
    tokens = {token for side in sides for token in TOKEN.findall(side)}
    if "platformType" in sides:
        other = sides[1] if sides[0] == "platformType" else sides[0]
        if other.lower() not in _PLATFORMS:
            yield f".StringEquals: {other!r} is not one of Linux, MacOS, Windows"
    elif not tokens & parameters.keys() or sides[0] == sides[1]:
        yield ".StringEquals: the agent fails a step that compares constants or equal arguments"


def _repeated(names: Sequence[object]) -> list[str]:
    twice = sorted({str(name) for name in names if names.count(name) > 1})
    return [f"mainSteps: the name {name!r} is used twice" for name in twice]
