"""Running instances of the account: looked at by our own read-only document, or sent another."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from botocore import exceptions  # noqa: TID251 - see scripts.bakery_cli.aws

from bakery.hosts import host_of
from bakery.naming import fixed_document
from scripts.bakery_cli.aws.failures import explained
from scripts.bakery_cli.aws.patience import Patience
from scripts.bakery_cli.aws.stack import Stack
from scripts.bakery_cli.errors import FAILED, CommandError
from scripts.bakery_cli.host import ASKED_BY, HostReport, IncompleteReportError, Instance, read

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import FilterTypeDef, InstanceTypeDef, VolumeTypeDef
    from mypy_boto3_ssm import SSMClient
    from mypy_boto3_ssm.type_defs import GetCommandInvocationResultTypeDef

DOCUMENT: Final = "inspect-host"
_UNDER_WAY: Final = {"Pending", "InProgress", "Delayed", "Cancelling"}
_DELIVERY_SECONDS: Final = 60
_LOOKS: Final = 400
"""At two seconds each: longer than delivery and the document's own time-out."""
_CANCEL_LOOKS: Final = 60

Say = Callable[[str], None]


class Hosts:
    """What a person may find out about the instances of a stack's Region."""

    def __init__(self, stack: Stack, say: Say, *, pause: float = 2.0) -> None:
        self._region = stack.region
        self._ec2: EC2Client = stack.client("ec2")
        self._ssm: SSMClient = stack.client("ssm")
        self._say, self._wait = say, Patience(stack.region, pause)

    def instance(self, instance_id: str) -> Instance:
        """What EC2 and Systems Manager say of an instance."""
        with explained(self._region):
            # A filter, unlike InstanceIds=, is no error for an id that is of nobody.
            wanted: FilterTypeDef = {"Name": "instance-id", "Values": [instance_id]}
            found = self._ec2.describe_instances(Filters=[wanted])["Reservations"]
            records = [record for it in found for record in it["Instances"]]
            if not records:
                raise CommandError(
                    f"There is no instance {instance_id} in {self._region} of this account.",
                    "Say another --region or --profile, or correct the id.",
                )
            return self._instance(records[0])

    def _instance(self, record: "InstanceTypeDef") -> Instance:
        managed = self._ssm.describe_instance_information(
            Filters=[{"Key": "InstanceIds", "Values": [record["InstanceId"]]}]
        )["InstanceInformationList"]
        agent = managed[0] if managed else {}
        known = replace(
            host_of(record, self._volumes(record["InstanceId"])),
            instance_stores=self._instance_stores(record["InstanceType"]),
            managed=bool(managed),
        )
        return Instance(
            **vars(known), agent=agent.get("AgentVersion", ""), ping=agent.get("PingStatus", "")
        )

    def _volumes(self, instance_id: str) -> "Sequence[VolumeTypeDef]":
        wanted: FilterTypeDef = {"Name": "attachment.instance-id", "Values": [instance_id]}
        return self._ec2.describe_volumes(Filters=[wanted])["Volumes"]

    def _instance_stores(self, instance_type: str) -> int:
        # A filter, unlike InstanceTypes=, is no error for a type that AWS has withdrawn.
        wanted: FilterTypeDef = {"Name": "instance-type", "Values": [instance_type]}
        found = self._ec2.describe_instance_types(Filters=[wanted])["InstanceTypes"]
        disks = found[0].get("InstanceStorageInfo", {}).get("Disks", []) if found else []
        return sum(disk.get("Count", 0) for disk in disks)

    def look_at(self, instance: Instance, *, secrets: bool = True) -> HostReport:
        """Have the instance report what is on it; raises CommandError with what to do about it."""
        parameters = {"Bake": ASKED_BY, "Secrets": "search" if secrets else "skip"}
        said = self.run(instance, DOCUMENT, parameters, what="did not report")
        try:
            return read(said)
        except IncompleteReportError as error:
            raise CommandError(f"{instance.id}: {error}.", "Try again.", code=FAILED) from error

    def run(
        self,
        instance: Instance,
        document: str,
        parameters: Mapping[str, str],
        *,
        what: str,
        looks: int = _LOOKS,
    ) -> str:
        """What one of our documents prints on an instance.

        Raises CommandError with its reason if it fails, ``what`` being the words for that, or has
        not ended after so many looks. Whatever ends the waiting, Ctrl-C too, ends the command.
        """
        refuse(instance)
        command = self._send(instance.id, document, parameters)
        try:
            answer = self._finished(command, instance.id, looks)
        except BaseException:
            self._cancel(command, instance.id)
            raise
        if answer["Status"] != "Success":
            reason = _reason(answer.get("StandardErrorContent", ""), document)
            raise CommandError(
                f"{instance.id} {what}: {answer['StatusDetails']}"
                + (f": {reason}" if reason else "."),
                "Look at the command in Systems Manager, Run Command history: "
                f"{answer['CommandId']}.",
                code=FAILED,
            )
        return answer["StandardOutputContent"]

    def _send(self, instance_id: str, document: str, parameters: Mapping[str, str]) -> str:
        try:
            with explained(self._region):
                return self._ssm.send_command(
                    InstanceIds=[instance_id],
                    DocumentName=fixed_document(document),
                    Parameters={name: [value] for name, value in parameters.items()},
                    Comment=f"bakery: {document}",
                    TimeoutSeconds=_DELIVERY_SECONDS,
                )["Command"]["CommandId"]
        except CommandError as error:
            if "InvalidDocument" in error.message:
                raise CommandError(
                    f"The deployed stack has no document {document}.",
                    "Deploy this release (`make deploy`).",
                ) from error
            raise

    def _finished(
        self, command: str, instance_id: str, looks: int
    ) -> "GetCommandInvocationResultTypeDef":
        answer = self._wait.until(lambda: self._end_of(command, instance_id), looks)
        if answer is None:
            raise CommandError(
                f"{instance_id} has not answered.",
                f"Look at command {command} in Systems Manager, Run Command.",
                code=FAILED,
            )
        return answer

    def _end_of(self, command: str, instance_id: str) -> "GetCommandInvocationResultTypeDef | None":
        try:
            answer = self._ssm.get_command_invocation(CommandId=command, InstanceId=instance_id)
        except exceptions.ClientError as error:
            if error.response["Error"]["Code"] != "InvocationDoesNotExist":
                raise
            return None
        return None if answer["Status"] in _UNDER_WAY else answer

    def _cancel(self, command: str, instance_id: str) -> None:
        """And wait for its end, when the host has let go of what the document holds."""
        self._say(f"Cancelling what runs on {instance_id}")
        ended = None
        try:
            with explained(self._region):
                self._ssm.cancel_command(CommandId=command, InstanceIds=[instance_id])
            ended = self._wait.until(lambda: self._end_of(command, instance_id), _CANCEL_LOOKS)
        except CommandError as error:
            self._say(error.message)
        if ended is None:
            self._say(
                f"Command {command} may still run on {instance_id}: cancel it in Systems Manager, "
                "Run Command."
            )


def _reason(errors: str, document: str) -> str:
    """Of all that a document and its programs said, its own word; the agent adds some."""
    lines = errors.strip().split("\n")
    return next((it for it in lines if it.startswith(f"{document}: ")), lines[0])


_AS_IT_IS: Final = {
    "pending": "Wait until it runs.",
    "stopping": "Wait until it is stopped, and start it, if it may run.",
    "stopped": "Start it, if it may run; or bake from it as it is: base: {{instance: {id}}}.",
}


def refuse(instance: Instance) -> None:
    """Raise CommandError if there is no host to ask, with the way out."""
    if instance.windows:
        raise CommandError(
            f"{instance.id} runs Windows, and only a Linux host can be looked at.",
            "Bake Windows from a plain image, as AWS's guide does: it never images an instance "
            "that OpsWorks ran.",
            code=FAILED,
        )
    if instance.state != "running":
        raise CommandError(
            f"{instance.id} is {instance.state}: only a running host can tell what is on it.",
            _AS_IT_IS.get(instance.state, "Name another.").format(id=instance.id),
            code=FAILED,
        )
    if not instance.agent:
        raise CommandError(
            f"{instance.id} is not managed by Systems Manager.",
            "Give it an instance profile with the policy AmazonSSMManagedInstanceCore, a way to "
            "the endpoints ssm and ssmmessages, and the SSM agent (package amazon-ssm-agent); it "
            "reports within minutes, without a restart.",
            code=FAILED,
        )
    if instance.ping != "Online":
        raise CommandError(
            f"The SSM agent of {instance.id} is silent ({instance.ping}).",
            "See that it runs (service amazon-ssm-agent) and reaches Systems Manager.",
            code=FAILED,
        )
