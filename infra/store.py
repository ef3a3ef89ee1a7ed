"""What outlives a bake: table of waits, log of commands, inventories of images, dead letters."""

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.settings import RETENTION, Settings

_INVENTORIES_KEPT = Duration.days(3 * 365)
"""Longer than images are in use as a rule; each takes about 30 KB."""


class Store(Construct):
    """Table, log group, bucket, dead-letter queue, and the group of all schedules."""

    def __init__(self, scope: Construct, id_: str, *, settings: Settings) -> None:
        super().__init__(scope, id_)
        self.table = dynamodb.Table(
            self,
            "Table",
            partition_key=dynamodb.Attribute(name="part", type=dynamodb.AttributeType.STRING),
            sort_key=dynamodb.Attribute(name="id", type=dynamodb.AttributeType.STRING),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            time_to_live_attribute="expires",
            encryption=dynamodb.TableEncryption.AWS_MANAGED,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            # Waits of running bakes and claims of slots: worthless without the stack.
            removal_policy=RemovalPolicy.DESTROY,
        )
        self.command_log = logs.LogGroup(
            self, "CommandLog", retention=retention(settings), removal_policy=RemovalPolicy.RETAIN
        )
        self.inventories = s3.Bucket(
            self,
            "Inventories",
            encryption=s3.BucketEncryption.S3_MANAGED,
            enforce_ssl=True,
            minimum_tls_version=1.2,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            # Not versioned: an inventory is written again only with the same content.
            lifecycle_rules=[s3.LifecycleRule(expiration=_INVENTORIES_KEPT)],
            # Like the log of the commands they tell what is in images that outlive the stack.
            removal_policy=RemovalPolicy.RETAIN,
        )
        self.dead_letters = sqs.Queue(
            self,
            "DeadLetters",
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=Duration.days(14),
        )
        # Scheduler's metrics are of groups: in the default one are everybody's schedules.
        self.schedule_group = scheduler.ScheduleGroup(
            self, "ScheduleGroup", removal_policy=RemovalPolicy.DESTROY
        )


def retention(settings: Settings) -> logs.RetentionDays:
    """The CDK's name for the number of days that the settings have checked."""
    return logs.RetentionDays[RETENTION[settings.log_retention_days]]
