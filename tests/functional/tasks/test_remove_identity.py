"""RemoveIdentity: the promises of every task that runs a document, and its own parameters."""

from tests.functional.making import Making, resumed
from tests.functional.tasks.commanding import CommandTask


class TestRemoveIdentity(CommandTask):
    module = "remove_identity"
    stage = "remove-identity"
    document = "AmiBakery-remove-opsworks-identity"
    error = "IdentityRemovalFailedError"


def test_the_past_is_found_out_on_the_host_unless_the_recipe_states_it(making: Making) -> None:
    stated = Making.begin(making.world, "locked")
    assert making.plan["remove_identity"]["parameters"]["Opsworks"] == ["auto"]
    assert stated.plan["remove_identity"]["parameters"]["Opsworks"] == ["chef-12"]


def test_where_there_is_nothing_to_remove_it_ends_at_once(making: Making) -> None:
    """A Windows base never carried OpsWorks: the plan has no command for it."""
    builder = making.launched()
    event = {**making.stopping(builder), "command": None}
    for _ in range(2):
        assert making.world.invoke("remove_identity", event) is None
    assert resumed(making.world) == [{"output": '{"command_id": ""}'}] * 2
    assert making.world.calls("SendCommand") == []
    assert making.world.waits() == {}
