"""Whether a step may run on this host, by the agent's `evaluatePreconditions`."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from scripts.local.interpolation import replace


class Verdict(NamedTuple):
    """`holds` with a reason means that the agent does not understand: the step fails."""

    holds: bool
    reason: str = ""


def judge(precondition: Mapping[str, Any], values: Mapping[str, Any]) -> Verdict:
    """Judge a step's precondition on a Linux host."""
    verdicts = [_judge_operator(key, sides, values) for key, sides in precondition.items()]
    reasons = ", ".join(verdict.reason for verdict in verdicts if verdict.reason)
    return Verdict(all(verdict.holds for verdict in verdicts), reasons)


def _judge_operator(operator: str, sides: Any, values: Mapping[str, Any]) -> Verdict:
    if operator != "StringEquals":
        return Verdict(True, f'unrecognized operator: "{operator}"')
    if len(sides) != 2:
        return Verdict(True, f'"{operator}": operator accepts exactly 2 arguments')
    if sides[0] == sides[1]:
        return Verdict(True, f'"{operator}": the arguments can not be identical')
    if any("{{ssm" in side.replace(" ", "") for side in sides):
        return Verdict(True, f'"{operator}": the arguments can not contain SSM parameters')
    if "platformType" in sides:
        return _judge_platform(sides[1] if sides[0] == "platformType" else sides[0], values)
    resolved = [str(replace(side, values)) for side in sides]
    if resolved == list(sides):
        return Verdict(True, f'"{operator}": an argument must contain a document parameter')
    if resolved[0] != resolved[1]:
        return Verdict(False, f'"{operator}": {sides}')
    return Verdict(True)


def _judge_platform(platform: str, values: Mapping[str, Any]) -> Verdict:
    if str(replace(platform, values)) != platform:
        return Verdict(True, '"StringEquals": a platformType can not contain document parameters')
    if platform.lower() != "linux":
        return Verdict(False, f'"StringEquals": [platformType, {platform}]')
    return Verdict(True)
