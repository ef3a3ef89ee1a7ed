"""Stories: bakes, faults, stops by hand, lost and repeated events, in any order.

Hypothesis draws them; what must hold is looked at after every step.
"""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from scripts.bakery_cli.stages import STAGES
from scripts.local.faults import Fault
from tests.functional.faults import kinds
from tests.functional.faults.invariants import Watched
from tests.functional.faults.points import Point, functions, role
from tests.functional.faults.test_cut_short import begun

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1200)]

STORIES, STEPS = 12, 6

CALLS = st.tuples(
    st.sampled_from([role("tasks", task) for task in functions("tasks")]),
    st.sampled_from(
        [
            ("ec2", "Describe*"),
            ("ec2", "RunInstances"),
            ("ec2", "CreateImage"),
            ("ec2", "TerminateInstances"),
            ("ssm", "SendCommand"),
            ("ssm", "PutParameter"),
            ("ssm", "Get*"),
            ("dynamodb", "PutItem"),
            ("dynamodb", "DeleteItem"),
        ]
    ),
    st.integers(min_value=0, max_value=2),
    st.sampled_from([*kinds.CRASHES, "throttled", "server error", "lost answer", "denied"]),
)


class Story(RuleBasedStateMachine):
    """One account, in which everything may happen."""

    watched: Watched

    def __init__(self) -> None:
        super().__init__()
        self.violations = self.watched.violations
        self.violations.clear()

    def inject(self, drawn: tuple[str, tuple[str, str], int, str]) -> Fault:
        who, (service, operation), skip, kind = drawn
        return kinds.inject(
            self.watched.world.aws.faults, kind, Point(who, service, operation, skip)
        )

    @rule(faults=st.lists(CALLS, max_size=3))
    def bake(self, faults: list[tuple[str, tuple[str, str], int, str]]) -> None:
        self.watched.bake(str(faults), *(self.inject(it) for it in faults))

    @rule(faults=st.lists(CALLS, max_size=2))
    def bake_that_fails_late(self, faults: list[tuple[str, tuple[str, str], int, str]]) -> None:
        self.watched.bake(str(faults), *(self.inject(it) for it in faults), scene="failing")

    @rule(
        kind=st.sampled_from(["drop", "duplicate"]),
        times=st.integers(min_value=1, max_value=20),
        late=st.integers(min_value=0, max_value=90),
        seed=st.integers(min_value=0, max_value=99),
    )
    def bake_with_bad_events(self, kind: str, times: int, late: int, seed: int) -> None:
        events = self.watched.world.aws.events
        events.shuffle(seconds=late, seed=seed)
        rule_ = getattr(events, kind)(
            times=times, when=lambda event: event["source"] in ("aws.ec2", "aws.ssm")
        )
        self.watched.bake(f"{kind} {times} events")
        rule_.times = 0
        events.clear()

    @rule(state=st.sampled_from([stage.state for stage in STAGES]))
    def stop_by_hand(self, state: str) -> None:
        world = self.watched.world
        arn = begun(world, state)
        world.aws.client("stepfunctions").stop_execution(executionArn=arn, cause="by hand")
        ended = world.ended(arn)
        self.watched.settled()
        if left := world.left_behind(ended.name):
            self.violations.append(f"stopped in {state}, left behind: {left}")

    @rule(state=st.sampled_from(["Customize", "StopBuilder", "CreateImage"]))
    def take_the_builder_away(self, state: str) -> None:
        world = self.watched.world

        def terminate() -> None:
            for instance in world.aws.client("ec2").describe_instances()["Reservations"]:
                ids = [it["InstanceId"] for it in instance["Instances"]]
                world.aws.client("ec2").terminate_instances(InstanceIds=ids)

        operation = {
            "Customize": ("ssm", "SendCommand"),
            "StopBuilder": ("ec2", "StopInstances"),
            "CreateImage": ("ec2", "CreateImage"),
        }[state]
        world.aws.faults.after(*operation, terminate)
        self.watched.bake(f"builder gone in {state}")
        world.aws.faults.clear()

    @rule()
    def deliver_old_events_again(self) -> None:
        world = self.watched.world
        for event in list(world.aws.events.recorded)[-30:]:
            if event["source"] in ("aws.ec2", "aws.ssm"):
                world.invoke("resume_waits", json.loads(json.dumps(event)))

    @invariant()
    def everything_is_as_it_should_be(self) -> None:
        world: Any = self.watched.world
        assert self.violations == []
        assert world.leases() == {}
        assert world.open_waits() == []


def test_whatever_happens_nothing_is_left(watched: Watched) -> None:
    class Told(Story):
        pass

    Told.watched = watched
    run_state_machine_as_test(
        Told,
        settings=settings(
            max_examples=STORIES,
            stateful_step_count=STEPS,
            deadline=None,
            derandomize=True,
            # Shrinking would repeat stories of seconds each a hundred times.
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
