"""A small cloud assembly in the CDK's layout, with stub handlers in a package named like the
product's."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ASSET = "0" * 62 + "a1"
HANDLERS = {
    "clock.py": """
from datetime import UTC, datetime
def now():
    return datetime.now(UTC)
""",
    "tasks/__init__.py": "",
    "tasks/echo.py": """
import os, sys
from bakery.clock import now
def handler(event, context):
    print("echo says", sorted(event) if isinstance(event, dict) else event)
    return {"event": event, "now": now().isoformat(), "pid": os.getpid(), "cwd": os.getcwd(),
            "name": context.function_name, "request": context.aws_request_id,
            "remaining": context.get_remaining_time_in_millis(),
            "environment": dict(os.environ), "module": __file__,
            "pydantic": __import__("pydantic").__file__}
""",
    "tasks/raises.py": """
import os, sys, time
class NoRoomError(Exception):
    pass
def handler(event, context):
    what = event["what"]
    if what == "raise":
        raise NoRoomError("nothing free in zone a")
    if what == "exit":
        sys.exit(3)
    if what == "die":
        os._exit(9)
    if what == "hang":
        time.sleep(60)
    if what == "big":
        return "x" * (7 * 1024 * 1024)
    if what == "object":
        return object()
    if what == "size":
        return "x" * event["size"]
    return what
""",
    "tasks/flaky.py": """
import boto3, os
def handler(event, context):
    table = boto3.client("dynamodb")
    answer = table.update_item(TableName=os.environ["TABLE"], Key={"id": {"S": "tries"}},
        UpdateExpression="ADD n :one", ExpressionAttributeValues={":one": {"N": "1"}},
        ReturnValues="UPDATED_NEW")
    tries = int(answer["Attributes"]["n"]["N"])
    if tries < 3:
        raise TimeoutError(f"try {tries}")
    return {"tries": tries}
""",
    "tasks/wait.py": """
import boto3, os
def handler(event, context):
    boto3.client("dynamodb").put_item(TableName=os.environ["TABLE"],
        Item={"id": {"S": event["subject"]}, "token": {"S": event["token"]}})
    if event["subject"].startswith("i-"):
        boto3.client("ec2").stop_instances(InstanceIds=[event["subject"]])
""",
    "tasks/forbidden.py": """
import boto3
def handler(event, context):
    service, operation = event["service"], event["operation"]
    getattr(boto3.client(service), operation)(**event.get("parameters", {}))
    return "allowed"
""",
    "jobs/__init__.py": "",
    "jobs/resume.py": """
import boto3, json, os
def handler(event, context):
    print(json.dumps(event))
    if event.get("fail"):
        raise RuntimeError("as asked")
    subject = event.get("subject") or event.get("detail", {}).get("instance-id")
    if not subject:
        return
    item = boto3.client("dynamodb").get_item(TableName=os.environ["TABLE"], Key={"id": {"S":
    subject}}).get("Item")
    if item:
        boto3.client("stepfunctions").send_task_success(taskToken=item["token"]["S"],
        output=json.dumps(event))
""",
    "__init__.py": "",
}
MACHINE: dict[str, Any] = {
    "StartAt": "Echo",
    "States": {
        "Echo": {"Type": "Task", "Resource": "${Echo}", "ResultPath": "$.echo", "Next": "Choose"},
        "Choose": {
            "Type": "Choice",
            "Choices": [
                {"Variable": "$.path", "StringEquals": p, "Next": p}
                for p in ("Wait", "Raise", "Flaky", "Each", "Pause", "Grow")
            ],
            "Default": "Done",
        },
        "Wait": {
            "Type": "Task",
            "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken",
            "Parameters": {
                "FunctionName": "${Wait}",
                "Payload": {
                    "subject.$": "$.subject",
                    "token.$": "$$.Task.Token",
                    "entered.$": "$$.State.EnteredTime",
                    "bake.$": "$$.Execution.Name",
                },
            },
            "TimeoutSeconds": 600,
            "ResultPath": "$.resumed",
            "Catch": [{"ErrorEquals": ["States.Timeout"], "ResultPath": "$.error", "Next": "Late"}],
            "Next": "Done",
        },
        "Raise": {
            "Type": "Task",
            "Resource": "${Raises}",
            "TimeoutSeconds": 60,
            "Catch": [{"ErrorEquals": ["NoRoomError"], "ResultPath": "$.error", "Next": "Caught"}],
            "Next": "Done",
        },
        "Flaky": {
            "Type": "Task",
            "Resource": "${Flaky}",
            "Retry": [
                {
                    "ErrorEquals": ["TimeoutError"],
                    "IntervalSeconds": 30,
                    "MaxAttempts": 3,
                    "BackoffRate": 2,
                }
            ],
            "Next": "Done",
        },
        "Each": {
            "Type": "Map",
            "ItemsPath": "$.items",
            "MaxConcurrency": 1,
            "ItemProcessor": {
                "ProcessorConfig": {"Mode": "INLINE"},
                "StartAt": "One",
                "States": {"One": {"Type": "Task", "Resource": "${Echo}", "End": True}},
            },
            "ResultSelector": {"events.$": "$[*].event"},
            "Next": "Done",
        },
        "Pause": {"Type": "Wait", "Seconds": 3600, "Next": "Done"},
        "Grow": {"Type": "Task", "Resource": "${Raises}", "Next": "Done"},
        "Caught": {
            "Type": "Pass",
            "Parameters": {"caught.$": "$.error.Error", "cause.$": "$.error.Cause"},
            "End": True,
        },
        "Late": {"Type": "Fail", "Error": "TooLate", "Cause": "nobody resumed it"},
        "Done": {"Type": "Succeed"},
    },
}


def _get(logical: str, attribute: str = "Arn") -> dict[str, Any]:
    return {"Fn::GetAtt": [logical, attribute]}


def _role(
    service: str, *statements: dict[str, Any], managed: list[Any] | None = None
) -> dict[str, Any]:
    trust = {
        "Statement": [
            {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": service}}
        ]
    }
    properties: dict[str, Any] = {"AssumeRolePolicyDocument": trust}
    if statements:
        document = {"Version": "2012-10-17", "Statement": list(statements)}
        properties["Policies"] = [{"PolicyName": "inline", "PolicyDocument": document}]
    if managed:
        properties["ManagedPolicyArns"] = managed
    return {"Type": "AWS::IAM::Role", "Properties": properties}


def _allow(actions: list[str], *resources: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": actions, "Resource": list(resources) or ["*"]}


def _function(module: str, role: str = "WorkRole", **more: Any) -> dict[str, Any]:
    properties = {
        "Code": {
            "S3Bucket": {"Fn::Sub": "cdk-hnb659fds-assets-${AWS::AccountId}-${AWS::Region}"},
            "S3Key": f"{ASSET}.zip",
        },
        "Handler": f"bakery.{module}.handler",
        "Role": _get(role),
        "Runtime": "python3.13",
        "Timeout": 3,
        "Environment": {"Variables": {"TABLE": {"Ref": "Table"}, "MODULE": module}},
        **more,
    }
    return {"Type": "AWS::Lambda::Function", "DependsOn": [role], "Properties": properties}


def _managed(name: str) -> dict[str, Any]:
    return {"Fn::Join": ["", ["arn:", {"Ref": "AWS::Partition"}, f":iam::aws:policy/{name}"]]}


def template() -> dict[str, Any]:
    definition = json.dumps(MACHINE)
    work = _allow(["dynamodb:*Item", "ec2:StopInstances", "states:SendTask*"])
    denied = {"Effect": "Deny", "Action": "ec2:TerminateInstances", "Resource": "*"}
    terminate = _allow(["ec2:TerminateInstances"])
    read = _allow(
        ["ssm:GetParameter"],
        {"Fn::Sub": "arn:${AWS::Partition}:ssm:${AWS::Region}:${AWS::AccountId}:parameter/mine/*"},
    )
    resources: dict[str, Any] = {
        "Table": {
            "Type": "AWS::DynamoDB::Table",
            "Properties": {
                "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
                "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
                "BillingMode": "PAY_PER_REQUEST",
                "TimeToLiveSpecification": {"AttributeName": "expires", "Enabled": True},
                "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
            },
        },
        "WorkRole": _role(
            "lambda.amazonaws.com",
            work,
            terminate,
            denied,
            read,
            managed=[_managed("service-role/AWSLambdaBasicExecutionRole")],
        ),
        "Echo": _function("tasks.echo"),
        "Raises": _function("tasks.raises"),
        "Flaky": _function("tasks.flaky"),
        "Wait": _function("tasks.wait"),
        "Forbidden": _function("tasks.forbidden"),
        "Resume": _function("jobs.resume"),
        "ResumeConfig": {
            "Type": "AWS::Lambda::EventInvokeConfig",
            "Properties": {
                "FunctionName": {"Ref": "Resume"},
                "Qualifier": "$LATEST",
                "MaximumRetryAttempts": 1,
                "DestinationConfig": {"OnFailure": {"Destination": _get("Dead")}},
            },
        },
        "Dead": {"Type": "AWS::SQS::Queue", "Properties": {"MessageRetentionPeriod": 1209600}},
        "Topic": {"Type": "AWS::SNS::Topic"},
        "TopicToDead": {
            "Type": "AWS::SNS::Subscription",
            "Properties": {
                "TopicArn": {"Ref": "Topic"},
                "Protocol": "sqs",
                "Endpoint": _get("Notes"),
                "RawMessageDelivery": True,
            },
        },
        "Notes": {"Type": "AWS::SQS::Queue"},
        "LogGroup": {
            "Type": "AWS::Logs::LogGroup",
            "Properties": {"RetentionInDays": 30},
            "DeletionPolicy": "Delete",
        },
        "MachineRole": _role("states.amazonaws.com", _allow(["lambda:InvokeFunction"])),
        "Machine": {
            "Type": "AWS::StepFunctions::StateMachine",
            "Properties": {
                "DefinitionString": definition,
                "DefinitionSubstitutions": {
                    name: _get(name) for name in ("Echo", "Raises", "Flaky", "Wait")
                },
                "RoleArn": _get("MachineRole"),
                "StateMachineType": "STANDARD",
            },
        },
        "Rule": {
            "Type": "AWS::Events::Rule",
            "Properties": {
                "EventPattern": {
                    "source": ["aws.ec2"],
                    "detail-type": ["EC2 Instance State-change Notification"],
                    "detail": {"state": ["stopped", {"prefix": "term"}]},
                },
                "State": "ENABLED",
                "Targets": [{"Id": "Target0", "Arn": _get("Resume")}],
            },
        },
        "RuleMayInvoke": {
            "Type": "AWS::Lambda::Permission",
            "Properties": {
                "Action": "lambda:InvokeFunction",
                "FunctionName": _get("Resume"),
                "Principal": "events.amazonaws.com",
                "SourceArn": _get("Rule"),
            },
        },
        "Announce": {
            "Type": "AWS::Events::Rule",
            "Properties": {
                "EventPattern": {"source": ["ami-bakery"]},
                "Targets": [
                    {
                        "Id": "Topic",
                        "Arn": {"Ref": "Topic"},
                        "InputTransformer": {
                            "InputPathsMap": {"what": "$.detail-type", "id": "$.detail.image.id"},
                            "InputTemplate": '{"text": "<what>: <id>", "id": <id>}',
                        },
                    }
                ],
            },
        },
        "ScheduleRole": _role(
            "scheduler.amazonaws.com", _allow(["lambda:InvokeFunction", "states:StartExecution"])
        ),
        "Sweep": {
            "Type": "AWS::Scheduler::Schedule",
            "Properties": {
                "ScheduleExpression": "rate(1 minute)",
                "FlexibleTimeWindow": {"Mode": "OFF"},
                "Target": {
                    "Arn": _get("Echo"),
                    "RoleArn": _get("ScheduleRole"),
                    "Input": '{"sweep": true}',
                },
            },
        },
        "Nightly": {
            "Type": "AWS::Scheduler::Schedule",
            "Properties": {
                "Name": "nightly-web",
                "ScheduleExpression": "cron(0 3 * * ? *)",
                "ScheduleExpressionTimezone": "Europe/London",
                "FlexibleTimeWindow": {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 15},
                "Target": {
                    "Arn": {"Ref": "Machine"},
                    "RoleArn": _get("ScheduleRole"),
                    "Input": '{"path": "none", "slot": "<aws.scheduler.scheduled-time>"}',
                    "RetryPolicy": {"MaximumRetryAttempts": 3},
                },
            },
        },
        "BuilderRole": _role(
            "ec2.amazonaws.com",
            _allow(["logs:*"]),
            managed=[_managed("AmazonSSMManagedInstanceCore")],
        ),
        "BuilderProfile": {
            "Type": "AWS::IAM::InstanceProfile",
            "Properties": {"Roles": [{"Ref": "BuilderRole"}]},
        },
        "BuilderGroup": {
            "Type": "AWS::EC2::SecurityGroup",
            "Properties": {
                "GroupDescription": "builders",
                "SecurityGroupEgress": [{"CidrIp": "0.0.0.0/0", "IpProtocol": "-1"}],
            },
        },
        "Document": {
            "Type": "AWS::SSM::Document",
            "Properties": {
                "Name": "AmiBakery-test-greet",
                "DocumentType": "Command",
                "DocumentFormat": "JSON",
                "UpdateMethod": "NewVersion",
                "Content": {
                    "schemaVersion": "2.2",
                    "parameters": {
                        "Bake": {
                            "type": "String",
                            "allowedPattern": "^[a-z0-9-]+$",
                            "interpolationType": "ENV_VAR",
                        },
                        "Mode": {
                            "type": "String",
                            "default": "soft",
                            "allowedValues": ["soft", "hard"],
                        },
                    },
                    "mainSteps": [
                        {
                            "action": "aws:runShellScript",
                            "name": "greet",
                            "inputs": {
                                "timeoutSeconds": "600",
                                "runCommand": [
                                    "#!/bin/sh",
                                    "echo hello",
                                    "printf 'ami-bakery: %s done\\n' \"$SSM_Bake\"",
                                ],
                            },
                        }
                    ],
                },
            },
        },
        "Metadata": {
            "Type": "AWS::CDK::Metadata",
            "Condition": "Never",
            "Properties": {"Analytics": "v2"},
        },
        "Alarm": {"Type": "AWS::CloudWatch::Alarm", "Properties": {"MetricName": "x"}},
    }
    return {
        "Resources": resources,
        "Conditions": {"Never": {"Fn::Equals": [{"Ref": "AWS::Region"}, "mars-1"]}},
        "Parameters": {
            "BootstrapVersion": {
                "Type": "AWS::SSM::Parameter::Value<String>",
                "Default": "/cdk-bootstrap/hnb659fds/version",
            }
        },
        "Rules": {
            "CheckBootstrapVersion": {
                "Assertions": [
                    {
                        "Assert": {
                            "Fn::Not": [
                                {
                                    "Fn::Contains": [
                                        ["1", "2", "3", "4", "5"],
                                        {"Ref": "BootstrapVersion"},
                                    ]
                                }
                            ]
                        },
                        "AssertDescription": "CDK bootstrap stack version 6 required.",
                    }
                ]
            }
        },
        "Outputs": {
            "BakeStateMachineArn": {"Value": {"Ref": "Machine"}},
            "Table": {"Value": {"Ref": "Table"}},
            "Profile": {"Value": _get("BuilderProfile")},
            "Group": {"Value": _get("BuilderGroup", "GroupId")},
        },
    }


def write(folder: Path, stack: Mapping[str, Any] | None = None) -> Path:
    """Write the assembly; the asset carries a foreign compiled package that must not be loaded."""
    asset = folder / f"asset.{ASSET}"
    for name, text in HANDLERS.items():
        file = asset / "bakery" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    for package in ("pydantic", "pydantic_core"):
        (asset / package).mkdir(exist_ok=True)
        (asset / package / "__init__.py").write_text(
            "raise ImportError('built for another platform')\n"
        )
    assets = {
        "files": {
            ASSET: {
                "source": {"path": asset.name, "packaging": "zip"},
                "destinations": {"current": {"bucketName": "b", "objectKey": f"{ASSET}.zip"}},
            }
        }
    }
    (folder / "Test.assets.json").write_text(json.dumps(assets))
    (folder / "Test.template.json").write_text(json.dumps(stack or template()))
    manifest = {
        "version": "48.0.0",
        "artifacts": {
            "Test.assets": {
                "type": "cdk:asset-manifest",
                "properties": {"file": "Test.assets.json"},
            },
            "Test": {
                "type": "aws:cloudformation:stack",
                "properties": {"templateFile": "Test.template.json"},
                "dependencies": ["Test.assets"],
            },
            "Tree": {"type": "cdk:tree", "properties": {"file": "tree.json"}},
        },
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder
