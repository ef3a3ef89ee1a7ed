"""Common options may stand before or after the command."""

import pytest

from scripts.bakery_cli.arguments import hoisted


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("bake web --local", "--local bake web"),
        ("--local bake web --sandbox", "--local --sandbox bake web"),
        ("bake web --region eu-west-1 --force", "--region eu-west-1 bake web --force"),
        ("plan web --region=eu-west-1", "--region=eu-west-1 plan web"),
        ("bake web --local --objects s3", "--local --objects s3 bake web"),
        ("bake --recipes", "--recipes bake"),
        ("check -- --local", "check -- --local"),
        ("", ""),
    ],
)
def test_common_options_go_first(given: str, expected: str) -> None:
    assert hoisted(given.split()) == expected.split()
