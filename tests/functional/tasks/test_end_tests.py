"""EndTests: test instances end, the builder is not theirs to end."""

from tests.functional.making import Making, state


def test_it_ends_test_instances_and_leaves_the_builder(making: Making) -> None:
    builder = making.launched()
    test = making.test_booted()
    event = {"bake": making.bake}
    assert making.world.invoke("end_tests", event) is None
    assert state(making.world, test) in ("shutting-down", "terminated")
    assert state(making.world, builder) == "running"
    assert making.world.invoke("end_tests", event) is None, "twice is as once"


def test_one_that_must_not_be_ended_is_left_to_clean_up(making: Making) -> None:
    test = making.test_booted()
    making.world.aws.faults.error("ec2", "TerminateInstances", code="OperationNotPermitted")
    assert making.world.invoke("end_tests", {"bake": making.bake}) is None
    assert state(making.world, test) == "running"
    making.world.invoke("end_tests", {"bake": making.bake})
