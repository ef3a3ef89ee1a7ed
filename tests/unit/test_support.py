"""A field whose behaviour is not built yet is refused, never ignored."""

from typing import Any

import pytest

from bakery.support import unsupported
from tests.unit.samples import SHELL, content, recipe


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("windows", {"windows": {}}),
    ],
)
def test_a_field_without_behaviour_is_refused_at_its_path(
    path: str, fields: dict[str, Any]
) -> None:
    found = unsupported(recipe(**fields))
    assert [problem.path for problem in found] == [path]
    assert "not supported yet" in found[0].message


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"builder": {"spot": True}, "test": [], "distribute": [], "retention": {"keep": 3}},
        {"base": {"instance": "i-12345678"}},
        {"test": [SHELL], "distribute": [{"region": "eu-west-1"}]},
        {"publish": {"launch_templates": ["lt-12345678"], "labels": ["canary"], "regions": "any"}},
        {"opsworks": "chef-11", "lock_release": "2018.03", "customize": [SHELL]},
    ],
)
def test_a_recipe_that_asks_for_nothing_new_is_supported(fields: dict[str, Any]) -> None:
    assert unsupported(recipe(**{**content(), **fields})) == []
