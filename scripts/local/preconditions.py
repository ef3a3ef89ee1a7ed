"""Whether a step may run on this host, by the agent's `evaluatePreconditions`."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from scripts.local.interpolation import replace


class Verdict(NamedTuple):
    """`holds` with a reason means that the agent does not understand: the step fails."""

    holds: bool
    reason: str = ""


def judge(
    precondition: Mapping[str, Any], values: Mapping[str, Any], platform: str = "Linux"
) -> Verdict:
    """Judge a step's precondition on a host of this platform."""
    verdicts = [
        _judge_operator(key, sides, values, platform) for key, sides in precondition.items()
    ]
    reasons = ", ".join(verdict.reason for verdict in verdicts if verdict.reason)
    return Verdict(all(verdict.holds for verdict in verdicts), reasons)


def _judge_operator(operator: str, sides: Any, values: Mapping[str, Any], platform: str) -> Verdict:
    if operator != "StringEquals":
        return Verdict(True, f'unrecognized operator: "{operator}"')
    if len(sides) != 2:
        return Verdict(True, f'"{operator}": operator accepts exactly 2 arguments')
    if sides[0] == sides[1]:
        return Verdict(True, f'"{operator}": the arguments can not be identical')
    if any("{{ssm" in side.replace(" ", "") for side in sides):
        return Verdict(True, f'"{operator}": the arguments can not contain SSM parameters')
    if "platformType" in sides:
        asked = sides[1] if sides[0] == "platformType" else sides[0]
        return _judge_platform(asked, values, platform)
    resolved = [str(replace(side, values)) for side in sides]
    if resolved == list(sides):
        return Verdict(True, f'"{operator}": an argument must contain a document parameter')
    if resolved[0] != resolved[1]:
        return Verdict(False, f'"{operator}": {sides}')
    return Verdict(True)


def _judge_platform(asked: str, values: Mapping[str, Any], platform: str) -> Verdict:
    if str(replace(asked, values)) != asked:
        return Verdict(True, '"StringEquals": a platformType can not contain document parameters')
    if asked.lower() != platform.lower():
        return Verdict(False, f'"StringEquals": [platformType, {asked}]')
    return Verdict(True)
