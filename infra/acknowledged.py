"""What cdk-nag finds in the stack and is meant to be so: each with its reason.

``tests/infra/test_acknowledged.py`` runs the packs AwsSolutions and Serverless. It fails on a
finding that is not here, and on an entry here that no finding needs any more.
"""

from dataclasses import dataclass

_REGION = r"(<AWS::Region>|[a-z0-9-]+)"
_POLICY = r"(Default|Overflow)Policy\d*/Resource"
"""What the CDK calls the policies of a role; the second has what is too much for the first."""
_IAM5 = r"AwsSolutions-IAM5\[Resource::{}\]"


@dataclass(frozen=True)
class Acknowledged:
    """One rule's findings, where they are expected."""

    rule: str
    """Pattern of the whole name of a finding: ``Pack-Rule``, or ``Pack-Rule[what was found]``."""
    where: str
    """Pattern of the path of the constructs, below the stack."""
    reason: str


ACKNOWLEDGED = (
    Acknowledged(
        rule=_IAM5.format(rf"(\*|arn:<AWS::Partition>:ssm:{_REGION}::document/\*)"),
        where=r".*/" + _POLICY,
        reason="Calls for which IAM knows no narrower resource: looking at EC2, Systems Manager, "
        "Auto Scaling and Image Builder, traces, delivery of a state machine's log, and the "
        "channels of the SSM agent; and documents of AWS, which are public. "
        "test_no_statement_writes_to_everything names the few of them "
        "that write, and lets no other have it.",
    ),
    Acknowledged(
        rule=_IAM5.format(
            rf"arn:<AWS::Partition>:ec2:{_REGION}:(<AWS::AccountId>)?:"
            r"(image|image-usage-report|instance|network-interface|security-group|snapshot|"
            r"spot-instances-request|subnet|volume)/\*"
        ),
        where=r"(BuilderHost|Tasks|Jobs)/.+Role/" + _POLICY,
        reason="A bake makes them, so no policy can know their ids. What changes or ends them is "
        "bound to the tag of a bake or to a builder's profile instead. What a launch uses (base "
        "image, its snapshot, subnet; for fast launch also a security group) carries no tag of "
        "ours, and the agent's two calls change only what Systems Manager knows of an instance.",
    ),
    Acknowledged(
        rule=_IAM5.format(rf"arn:<AWS::Partition>:kms:{_REGION}:\*:key/\*"),
        where=r"Tasks/(Plan|LaunchBuilder|LaunchTest|CopyImage|RetireImages)Role/" + _POLICY,
        reason="The account's default key for EBS, the key of a base image and the key behind an "
        "alias of a recipe are unknown at synthesis. A key is looked at, or used through EC2; "
        "grants are for AWS resources alone; and the key's own policy must allow it as well.",
    ),
    Acknowledged(
        rule=_IAM5.format(
            rf"(arn:<AWS::Partition>:ssm:{_REGION}:<AWS::AccountId>:"
            r"(parameter/ami-bakery(-profiles)?/\*|document/AmiBakery(\*|\.\*|\.\*\.test\.\*))"
            r"|<StoreInventories\w+\.Arn>/inventories/\*)"
        ),
        where=r"(Tasks|Jobs|Mover)/\w+Role/" + _POLICY,
        reason="Names below a prefix that is ours: pointers and profiles of recipes, documents of "
        "this stack of any version (a bake goes on with those that it began with), inventories.",
    ),
    Acknowledged(
        rule=_IAM5.format(
            rf"arn:<AWS::Partition>:states:{_REGION}:<AWS::AccountId>:execution:[\w-]+:\*"
        ),
        where=r"(Tasks|Jobs|Mover|Fleet)/.+Role/" + _POLICY,
        reason="Executions of our own machines, each of which gets its name when it starts.",
    ),
    Acknowledged(
        rule=_IAM5.format(r"<(Tasks|Mover|Fleet|Jobs)\w+\.Arn>:\*"),
        where=r".+/" + _POLICY,
        reason="Versions of one function: an execution goes on with the version that it began "
        "with, after a deployment that has made another.",
    ),
    Acknowledged(
        rule="AwsSolutions-L1",
        where=r"(Tasks|Mover|Fleet|Jobs)/.+/Resource",
        reason="The runtime is the Python that the functions' dependencies are locked, hashed and "
        "fetched for (PYTHON_VERSION in infra/asset.py). It moves in a change of its own, lock and "
        "tests together, not because an update of the CDK has heard of a newer one; cfn-lint "
        "tells in time when Lambda will no longer support it.",
    ),
    Acknowledged(
        rule="Serverless-LambdaLatestVersion",
        where=r"(Tasks|Mover|Fleet|Jobs)/.+/Resource",
        reason="The same rule as AwsSolutions-L1, in the other pack.",
    ),
    Acknowledged(
        rule="Serverless-LambdaDLQ",
        where=r"(Tasks|Mover|Fleet|Jobs)/.+/Resource",
        reason="The state machines wait for the answer of their functions and catch every error, "
        "and nothing can be delivered later. The jobs whose events nobody repeats have an "
        "on-failure destination, which the rule does not know; the others' next run does it.",
    ),
    Acknowledged(
        rule="AwsSolutions-SQS3",
        where=r"Store/DeadLetters/Resource",
        reason="It is the dead-letter queue: of rules, schedules and functions, which the rule "
        "cannot see. An alarm tells of every message in it.",
    ),
    Acknowledged(
        rule="Serverless-SQSRedrivePolicy",
        where=r"Store/DeadLetters/Resource",
        reason="Nobody reads it but a person, so there is nothing that a redrive could follow.",
    ),
    Acknowledged(
        rule="AwsSolutions-S1",
        where=r"Store/Inventories/Resource",
        reason="Lists of packages, written by one function and read by few: CloudTrail's data "
        "events tell who reads them, where somebody must know, and tell it sooner and more "
        "surely than access logs, which would need a bucket of their own that nobody empties.",
    ),
)
