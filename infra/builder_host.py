"""Where builders run: their role, their profile, their security group."""

from collections.abc import Mapping

from aws_cdk import CfnTag, Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from constructs import Construct

from bakery.recipe import ApplicationStep, Recipe
from bakery.steps import artefact
from infra.settings import Settings


class BuilderHost(Construct):
    """A builder can be managed by Systems Manager and write its log; nothing else.

    A recipe that installs an application from S3 gets a profile of its own that may also read
    those objects, so that one recipe's builder cannot read another's.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        settings: Settings,
        recipes: Mapping[str, Recipe],
        log_group: logs.LogGroup,
    ) -> None:
        super().__init__(scope, id_)
        self._log_group = log_group
        self.roles: list[iam.Role] = []
        self.default_profile = self._profile("Builder", ())
        self.profiles = {
            name: self._profile(f"Builder-{name}", objects)
            for name, recipe in recipes.items()
            if (objects := _objects_of(recipe))
        }
        self.security_group_id = self._security_group(settings.vpc_id)

    def _profile(self, id_: str, objects: tuple[tuple[str, str], ...]) -> str:
        role = iam.Role(
            self,
            f"{id_}Role",
            assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"),
            description="AMI Bakery: what a builder may do while it is customized",
            managed_policies=[
                iam.ManagedPolicy.from_aws_managed_policy_name("AmazonSSMManagedInstanceCore")
            ],
        )
        self._log_group.grant(
            role, "logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"
        )
        # The agent looks its group up before it writes; the call takes no narrower resource.
        role.add_to_policy(iam.PolicyStatement(actions=["logs:DescribeLogGroups"], resources=["*"]))
        if objects:
            role.add_to_policy(
                iam.PolicyStatement(
                    actions=["s3:GetObject"],
                    resources=[
                        Stack.of(self).format_arn(
                            service="s3", region="", account="", resource=bucket, resource_name=key
                        )
                        for bucket, key in objects
                    ],
                )
            )
        for bucket, key in objects:
            # The agent asks first whether the key is a folder; agents before 3.1 give up without.
            role.add_to_policy(
                iam.PolicyStatement(
                    actions=["s3:ListBucket"],
                    resources=[
                        Stack.of(self).format_arn(
                            service="s3", region="", account="", resource=bucket
                        )
                    ],
                    conditions={"StringEquals": {"s3:prefix": f"{key}/"}},
                )
            )
        self.roles.append(role)
        profile = iam.CfnInstanceProfile(self, f"{id_}Profile", roles=[role.role_name])
        return profile.attr_arn

    def _security_group(self, vpc_id: str | None) -> str:
        group = ec2.CfnSecurityGroup(
            self,
            "SecurityGroup",
            group_description="AMI Bakery builders: nothing in, everything out",
            vpc_id=vpc_id,
            # Without rules of its own a group lets everything out; CloudFormation takes explicit
            # egress rules only together with a VPC id, which the default VPC does not need.
            tags=[CfnTag(key="Name", value="ami-bakery builders")],
        )
        return group.attr_group_id


def _objects_of(recipe: Recipe) -> tuple[tuple[str, str], ...]:
    found = [
        artefact(step.application) for step in recipe.customize if isinstance(step, ApplicationStep)
    ]
    return tuple(item for item in found if item is not None)
