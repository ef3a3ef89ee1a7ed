"""What the tests of tasks share."""

import pytest

pytest.register_assert_rewrite("tests.functional.tasks.commanding")

from tests.functional.tasks.commanding import host, turn  # noqa: E402

__all__ = ["host", "turn"]
