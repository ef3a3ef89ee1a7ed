"""CloudWatch Logs: what commands have printed."""

from botocore.exceptions import ClientError

from bakery.aws import clients
from bakery.aws.failures import code_of, translated


def output_of(group: str, *, command_id: str, instance_id: str, step: str) -> str | None:
    """The whole standard output of a command's step, so far; None while there is no stream of it.

    The agent sends it in events of many whole lines, of which some end with a line feed and some do
    not; what comes late comes last. Source: amazon-ssm-agent, cloudwatchlogsservice.go, StreamData
    and buildEventInfo.
    """
    stream = f"{command_id}/{instance_id}/{step}/stdout"
    found: list[str] = []
    with translated("logs:GetLogEvents", stream):
        try:
            page = clients.logs().get_log_events(
                logGroupName=group, logStreamName=stream, startFromHead=True
            )
            while True:
                found += [event.get("message", "") for event in page["events"]]
                # The end is where the token stays the same; a page before it may be empty.
                token = page["nextForwardToken"]
                page = clients.logs().get_log_events(
                    logGroupName=group, logStreamName=stream, startFromHead=True, nextToken=token
                )
                if page["nextForwardToken"] == token:
                    break
        except ClientError as error:
            if code_of(error) == "ResourceNotFoundException":
                return None
            raise
    return "".join(message.removesuffix("\n") + "\n" for message in found)
