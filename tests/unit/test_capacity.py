"""Which types and subnets are tried, and what is remembered of it."""

from bakery.bake import LaunchPlan
from bakery.capacity import Attempts
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
FULL = "InsufficientInstanceCapacity: no room"


def test_every_type_is_tried_in_every_subnet_before_the_next_type() -> None:
    tried = [(name, subnet.id) for name, subnet in Attempts().worth_trying(PLAN)]
    assert tried == [
        ("t3.small", "subnet-a"),
        ("t3.small", "subnet-b"),
        ("t3a.small", "subnet-a"),
        ("t3a.small", "subnet-b"),
    ]


def test_a_full_cell_is_tried_again_and_one_that_is_not_offered_is_not() -> None:
    attempts = Attempts().plus(("t3.small", A), FULL).plus(("t3.small", B), "Unsupported: no")
    assert list(attempts.worth_trying(PLAN)) == [
        ("t3.small", A),
        ("t3a.small", A),
        ("t3a.small", B),
    ]


def test_each_cell_has_a_line_with_its_last_answer_and_how_often_it_was_tried() -> None:
    attempts = Attempts().plus(("t3.small", A), "other").plus(("t3.small", B), FULL)
    attempts = attempts.plus(("t3.small", A), FULL)
    assert attempts.listing().splitlines() == [
        f"- t3.small in subnet-b (eu-west-1b): {FULL}",
        f"- t3.small in subnet-a (eu-west-1a), 2 times: {FULL}",
    ]


def test_they_survive_being_stored() -> None:
    attempts = Attempts().plus(("t3.small", A), FULL)
    assert Attempts.model_validate_json(attempts.model_dump_json()) == attempts
