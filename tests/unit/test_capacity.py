"""Which types and subnets are tried, and what is remembered of it."""

from bakery.bake import LaunchPlan
from bakery.capacity import Attempts, Cell
from bakery.resources import Subnet

A, B = Subnet("subnet-a", "eu-west-1a", False), Subnet("subnet-b", "eu-west-1b", False)
PLAN = LaunchPlan(
    instance_types=("t3.small", "t3a.small"),
    subnets=(A, B),
    size_gib=8,
    iops=3000,
    throughput=125,
    instance_profile="p",
)
SPOT_PLAN = PLAN.model_copy(update={"spot": True})
ON_DEMAND = [Cell(name, subnet) for name in ("t3.small", "t3a.small") for subnet in (A, B)]
FULL = "InsufficientInstanceCapacity: no room"


def test_every_type_is_tried_in_every_subnet_before_the_next_type() -> None:
    assert list(Attempts().worth_trying(PLAN)) == ON_DEMAND


def test_all_are_tried_as_spot_before_any_is_tried_on_demand() -> None:
    tried = list(Attempts().worth_trying(SPOT_PLAN))
    assert tried == [it._replace(spot=True) for it in ON_DEMAND] + ON_DEMAND
    assert [it.market for it in tried] == ["spot"] * 4 + ["on-demand"] * 4


def test_a_full_cell_is_tried_again_and_one_that_is_not_offered_is_not() -> None:
    attempts = Attempts().plus(ON_DEMAND[0], FULL).plus(ON_DEMAND[1], "Unsupported: no")
    assert list(attempts.worth_trying(PLAN)) == [ON_DEMAND[0], *ON_DEMAND[2:]]


def test_a_round_goes_on_with_what_it_has_not_tried_and_then_begins_anew() -> None:
    attempts = Attempts().plus(ON_DEMAND[0], FULL).plus(ON_DEMAND[1], FULL)
    assert attempts.rest_of_round(PLAN) == ON_DEMAND[2:]
    whole = attempts.plus(ON_DEMAND[2], FULL).plus(ON_DEMAND[3], "Unsupported: no")
    assert whole.rest_of_round(PLAN) == ON_DEMAND[:3]
    assert whole.plus(ON_DEMAND[0], FULL).rest_of_round(PLAN) == ON_DEMAND[1:3]


def test_what_is_not_offered_as_spot_is_tried_on_demand() -> None:
    attempts = Attempts().plus(Cell("t3.small", A, spot=True), "Unsupported: no")
    tried = list(attempts.worth_trying(SPOT_PLAN))
    assert Cell("t3.small", A, spot=True) not in tried
    assert Cell("t3.small", A) in tried
    assert len(tried) == 7


def test_each_cell_has_a_line_with_its_last_answer_and_how_often_it_was_tried() -> None:
    attempts = Attempts().plus(Cell("t3.small", A), "other").plus(Cell("t3.small", B, True), FULL)
    attempts = attempts.plus(Cell("t3.small", A, True), FULL).plus(Cell("t3.small", A), FULL)
    assert attempts.listing().splitlines() == [
        f"- t3.small spot in subnet-b (eu-west-1b): {FULL}",
        f"- t3.small spot in subnet-a (eu-west-1a): {FULL}",
        f"- t3.small on-demand in subnet-a (eu-west-1a), 2 times: {FULL}",
    ]


def test_a_listing_of_very_many_is_short_shows_both_markets_and_counts_the_rest() -> None:
    """A cause has at most 32,768 characters."""
    subnets = [Subnet(f"subnet-{n:017x}", "us-gov-west-1a", False) for n in range(16)]
    attempts = Attempts()
    for spot in (True, False):
        for number in range(10):
            for subnet in subnets:
                attempts = attempts.plus(Cell(f"u-{number}tb1.112xlarge", subnet, spot), "x" * 5000)
    lines = attempts.listing().splitlines()
    assert sum(map(len, lines)) < 15_000
    assert "- and 280 more like these" in lines
    assert " spot in " in lines[0]
    assert " on-demand in " in lines[-1]
    assert len(lines) == 41


def test_they_survive_being_stored() -> None:
    attempts = Attempts().plus(Cell("t3.small", A, spot=True), FULL)
    assert Attempts.model_validate_json(attempts.model_dump_json()) == attempts
