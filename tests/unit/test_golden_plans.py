"""What the planner makes of whole configurations, reviewed as text; after a wanted change: ``make golden``."""

import pytest

from tests.golden.plans import GOLDEN, written

WRITTEN = written()


@pytest.mark.parametrize("name", sorted(WRITTEN))
def test_a_plan_is_the_golden_one(name: str) -> None:
    assert WRITTEN[name] == (GOLDEN / name).read_text()


def test_no_golden_plan_is_left_over() -> None:
    assert {path.name for path in GOLDEN.glob("*.plan.*")} == set(WRITTEN)
