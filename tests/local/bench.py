"""Short words for what the tests of the local AWS do over and over."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest
    from botocore.exceptions import ClientError

    from scripts.local import LocalAws

AL2023 = "ami-0a120230000000064"
UBUNTU_18 = "ami-0b180400000000064"


def refused(error: pytest.ExceptionInfo[ClientError]) -> str:
    """The error code that the service gave."""
    return str(error.value.response["Error"]["Code"])


class Bench:
    """A deployed account, or an empty one, in the hands of a test."""

    def __init__(self, aws: LocalAws) -> None:
        self.aws = aws

    @property
    def outputs(self) -> dict[str, str]:
        return next(iter(self.aws.cloudformation.stacks.values())).outputs

    def run(self, seconds: float = 30, **given: Any) -> dict[str, Any]:
        return self.aws.finished(self.start(**given), seconds=seconds)

    def start(self, **given: Any) -> str:
        states = self.aws.client("stepfunctions")
        machine = self.outputs["BakeStateMachineArn"]
        arn: str = states.start_execution(stateMachineArn=machine, input=json.dumps(given))[
            "executionArn"
        ]
        return arn

    def launch(self, image: str = AL2023, type_: str = "t3.micro", **more: Any) -> str:
        given = {"ImageId": image, "InstanceType": type_, "MinCount": 1, "MaxCount": 1, **more}
        id_: str = self.aws.client("ec2").run_instances(**given)["Instances"][0]["InstanceId"]
        return id_

    def state(self, instance: str) -> str:
        found = self.aws.client("ec2").describe_instances(InstanceIds=[instance])
        state: str = found["Reservations"][0]["Instances"][0]["State"]["Name"]
        return state

    def in_state(self, instance: str, state: str) -> str:
        self.aws.until(lambda: self.state(instance) == state, what=f"{instance} {state}")
        return instance

    def managed(self, **more: Any) -> str:
        profile = {"Arn": self.outputs["Profile"]}
        instance = self.launch(IamInstanceProfile=profile, **more)
        self.aws.until(lambda: self.ping(instance) == "Online", what=f"{instance} online")
        return instance

    def ping(self, instance: str) -> str | None:
        filters = [{"Key": "InstanceIds", "Values": [instance]}]
        found = self.aws.client("ssm").describe_instance_information(Filters=filters)[
            "InstanceInformationList"
        ]
        return found[0]["PingStatus"] if found else None

    def send(self, instance: str, document: str = "AmiBakery-test-greet", **more: Any) -> str:
        given = {
            "InstanceIds": [instance],
            "DocumentName": document,
            "Parameters": {"Bake": ["b-1"]},
            **more,
        }
        id_: str = self.aws.client("ssm").send_command(**given)["Command"]["CommandId"]
        return id_

    def invocation(self, command: str, instance: str, **more: Any) -> dict[str, Any]:
        found: dict[str, Any] = self.aws.client("ssm").get_command_invocation(
            CommandId=command, InstanceId=instance, **more
        )
        return found

    def done(self, command: str, instance: str) -> dict[str, Any]:
        def ended() -> dict[str, Any] | None:
            found = self.invocation(command, instance)
            return (
                None
                if found["Status"] in ("Pending", "InProgress", "Delayed", "Cancelling")
                else found
            )

        found: dict[str, Any] = self.aws.until(ended, what=f"end of {command}")
        return found
