"""The user data of a Windows test instance: it and the document that looks for it must agree."""

import re
from datetime import UTC, datetime, timedelta, timezone

import yaml

from bakery import first_boot
from bakery.documents import script_of
from scripts.local import powershell
from tests.documents.conftest import FOLDER

ENTERED = datetime(2026, 1, 31, 3, 0, 1, 999_999, UTC)
TEXT = first_boot.user_data("web-20260131.a_b", ENTERED)


def script() -> str:
    found = re.fullmatch(r"<powershell>\n(.*)</powershell>\n", TEXT, re.S)
    assert found
    return found[1]


def test_it_is_powershell_that_our_rules_let_through() -> None:
    assert powershell.findings(script()) == []


def test_it_writes_the_bake_and_the_moment_in_utc_to_where_the_test_looks() -> None:
    assert "'web-20260131.a_b 2026-01-31T03:00:01Z'" in script()
    document = yaml.safe_load((FOLDER / "test-image-windows.yaml").read_text())
    assert f'$mark = "{first_boot.MARK}"\n' in script_of(document["mainSteps"][0])


def test_the_same_moment_gives_the_same_text_in_whatever_zone_it_came() -> None:
    elsewhere = ENTERED.astimezone(timezone(timedelta(hours=-8)))
    assert first_boot.user_data("web-20260131.a_b", elsewhere) == TEXT
