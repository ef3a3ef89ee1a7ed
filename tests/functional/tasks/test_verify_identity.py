"""VerifyIdentity: the promises of every task that runs a document, and its own parameters."""

from tests.functional.making import Making, resumed
from tests.functional.tasks.commanding import CommandTask, Turn


class TestVerifyIdentity(CommandTask):
    module = "verify_identity"
    stage = "verify-identity"
    document = "AmiBakery-verify-identity"
    error = "IdentityLeftError"

    def test_each_residue_is_named_in_the_cause(self, turn: Turn) -> None:
        turn.world.aws.agent.script(
            self.document, exit_code=1, stderr="left: /etc/chef\nleft: /opt/aws/opsworks\n"
        )
        self.send(turn)
        self.ended(turn)
        self.send(turn)
        (failure,) = resumed(turn.world)
        assert "| left: /etc/chef\n| left: /opt/aws/opsworks\n" in failure["cause"]


def test_it_checks_what_the_tasks_before_were_told(making: Making) -> None:
    locked = Making.begin(making.world, "locked")
    parameters = locked.plan["verify_identity"]["parameters"]
    assert parameters["LockRelease"] == ["2023.6.20250115"]
    assert parameters["Opsworks"] == ["chef-12"]
