"""The local AWS: an account in this process that deploys the synthesized stack and behaves as AWS
does.

with LocalAws.start(assembly=Path("cdk.out"), scale=60) as aws:
    outputs = aws.deploy()
    aws.client("stepfunctions").start_execution(stateMachineArn=outputs["BakeStateMachineArn"], ...)
"""

from scripts.local.aws import LocalAws
from scripts.local.ec2_state import NEVER
from scripts.local.errors import AwsError, LocalAwsError

__all__ = ["NEVER", "AwsError", "LocalAws", "LocalAwsError"]
