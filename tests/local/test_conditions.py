"""Conditions of policies: what each operator says, and what a missing key means."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from scripts.local.conditions import UnknownOperatorError, context, holds, matches

REQUEST = context(
    {
        "aws:ResourceTag/Team": "web",
        "aws:TagKeys": ["team", "stage"],
        "aws:CalledVia": [],
        "aws:SourceIp": "10.1.2.3",
        "aws:CurrentTime": datetime(2026, 5, 1, 12, tzinfo=UTC),
        "aws:EpochTime": 1777636800,
        "aws:PrincipalArn": "arn:aws:iam::123456789012:role/path/x",
        "ec2:Encrypted": True,
        "ec2:VolumeSize": 16,
        "ec2:Odd": "a*b",
        "ec2:Unset": None,
    }
)
ROLE = "arn:aws:iam::123456789012:role"


@pytest.mark.parametrize(
    ("operator", "key", "wanted", "expected"),
    [
        ("StringEquals", "aws:ResourceTag/Team", "web", True),
        ("StringEquals", "AWS:resourcetag/team", ["db", "web"], True),
        ("StringEquals", "aws:ResourceTag/Team", "Web", False),
        ("StringEquals", "aws:ResourceTag/Team", "w*", False),
        ("StringNotEquals", "aws:ResourceTag/Team", ["db", "api"], True),
        ("StringNotEquals", "aws:ResourceTag/Team", ["db", "web"], False),
        ("StringEqualsIgnoreCase", "aws:ResourceTag/Team", "WEB", True),
        ("StringNotEqualsIgnoreCase", "aws:ResourceTag/Team", "WEB", False),
        ("StringLike", "aws:ResourceTag/Team", "w?b", True),
        ("StringLike", "aws:ResourceTag/Team", "*", True),
        ("StringNotLike", "aws:ResourceTag/Team", "w*", False),
        ("Bool", "ec2:Encrypted", "True", True),
        ("Bool", "ec2:Encrypted", True, True),
        ("Bool", "ec2:Encrypted", "false", False),
        ("NumericEquals", "ec2:VolumeSize", "16.0", True),
        ("NumericNotEquals", "ec2:VolumeSize", 16, False),
        ("NumericLessThan", "ec2:VolumeSize", 16, False),
        ("NumericLessThanEquals", "ec2:VolumeSize", 16, True),
        ("NumericGreaterThan", "ec2:VolumeSize", 8, True),
        ("NumericGreaterThanEquals", "ec2:VolumeSize", 17, False),
        ("NumericEquals", "aws:ResourceTag/Team", 1, False),
        ("DateLessThan", "aws:CurrentTime", "2026-05-02T00:00:00Z", True),
        ("DateGreaterThan", "aws:CurrentTime", "2026-05-02T00:00:00Z", False),
        ("DateEquals", "aws:EpochTime", "2026-05-01T12:00:00Z", True),
        ("IpAddress", "aws:SourceIp", ["192.168.0.0/16", "10.0.0.0/8"], True),
        ("NotIpAddress", "aws:SourceIp", "10.0.0.0/8", False),
        ("IpAddress", "aws:ResourceTag/Team", "10.0.0.0/8", False),
        ("ArnLike", "aws:PrincipalArn", f"{ROLE}/path/*", True),
        ("ArnEquals", "aws:PrincipalArn", f"{ROLE}/*/x", True),
        ("ArnEquals", "aws:PrincipalArn", "arn:aws:iam:*:role/path/x", False),
        ("ArnNotEquals", "aws:PrincipalArn", f"{ROLE}/path/x", False),
        ("ArnNotLike", "aws:PrincipalArn", f"{ROLE}/other/*", True),
        ("Null", "aws:ResourceTag/Team", "true", False),
        ("Null", "aws:ResourceTag/Team", "false", True),
        ("Null", "aws:ResourceTag/Stage", "true", True),
        ("Null", "ec2:Unset", "true", True),
        ("BinaryEquals", "aws:ResourceTag/Team", "web", True),
        # Several values in the request.
        ("ForAnyValue:StringEquals", "aws:TagKeys", ["team", "cost"], True),
        ("ForAnyValue:StringEquals", "aws:TagKeys", "cost", False),
        ("ForAllValues:StringEquals", "aws:TagKeys", ["team", "cost"], False),
        ("ForAllValues:StringLike", "aws:TagKeys", ["te*", "st*"], True),
        ("ForAllValues:StringNotEquals", "aws:TagKeys", "cost", True),
        ("ForAllValues:StringNotEquals", "aws:TagKeys", "team", False),
        ("ForAnyValue:StringNotEquals", "aws:TagKeys", "team", True),
        # Variables; the value of one is no pattern.
        ("StringEquals", "aws:ResourceTag/Team", "${aws:ResourceTag/Team}", True),
        ("StringLike", "ec2:Odd", "${ec2:Odd}", True),
        ("StringLike", "ec2:Odd", "a${*}b", True),
        ("StringLike", "aws:ResourceTag/Team", "a${*}b", False),
        ("StringEquals", "aws:ResourceTag/Team", "${aws:Nothing}", False),
        ("StringEquals", "aws:ResourceTag/Team", "${aws:Nothing, 'web'}", True),
    ],
)
def test_operators(operator: str, key: str, wanted: Any, expected: bool) -> None:
    assert holds({operator: {key: wanted}}, REQUEST) is expected


@pytest.mark.parametrize("missing", ["aws:ResourceTag/Stage", "aws:CalledVia", "ec2:Unset"])
@pytest.mark.parametrize(
    ("operator", "wanted", "expected"),
    [
        ("StringEquals", "x", False),
        ("StringLike", "*", False),
        ("ArnLike", "*", False),
        ("Bool", "false", False),
        ("NumericLessThan", "5", False),
        ("DateLessThan", "2030-01-01", False),
        ("IpAddress", "0.0.0.0/0", False),
        ("StringNotEquals", "x", True),
        ("StringNotLike", "*", True),
        ("ArnNotLike", "*", True),
        ("NumericNotEquals", "5", True),
        ("DateNotEquals", "2030-01-01", True),
        ("NotIpAddress", "0.0.0.0/0", True),
        ("StringEqualsIfExists", "x", True),
        ("BoolIfExists", "true", True),
        ("ForAllValues:StringEquals", "x", True),
        ("ForAnyValue:StringEquals", "x", False),
        ("ForAnyValue:StringNotEquals", "x", False),
    ],
)
def test_a_key_that_the_request_lacks(
    missing: str, operator: str, wanted: str, expected: bool
) -> None:
    assert holds({operator: {missing: wanted}}, REQUEST) is expected


def test_all_operators_and_all_keys_must_agree() -> None:
    both = {"StringEquals": {"aws:ResourceTag/Team": "web", "ec2:Odd": "a*b"}}
    assert holds(both, REQUEST)
    assert not holds({**both, "Bool": {"ec2:Encrypted": "false"}}, REQUEST)
    assert not holds({"StringEquals": {"aws:ResourceTag/Team": "web", "ec2:Odd": "x"}}, REQUEST)


def test_if_exists_is_about_missing_keys_alone() -> None:
    assert not holds({"StringEqualsIfExists": {"aws:ResourceTag/Team": "db"}}, REQUEST)
    assert holds({"BoolIfExists": {"ec2:Encrypted": "true"}}, REQUEST)


@pytest.mark.parametrize("operator", ["StringMatches", "ForSomeValues:StringEquals", "IfExists"])
def test_an_unknown_operator_is_no_silent_no(operator: str) -> None:
    with pytest.raises(UnknownOperatorError, match=operator):
        holds({operator: {"aws:ResourceTag/Team": "web"}}, REQUEST)


def test_a_pattern_is_about_the_whole_value() -> None:
    assert matches("ec2:Run*", "ec2:RunInstances") and not matches("ec2:Run", "ec2:RunInstances")
    assert matches("EC2:run*", "ec2:RunInstances", ignore_case=True)
    assert not matches("a.c", "abc")
