"""Where builders and test instances run: their roles, profiles and security group."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from aws_cdk import ArnFormat, CfnTag, Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_ssm as ssm
from constructs import Construct

from bakery.naming import instance_profile_parameter
from bakery.recipe import DocumentStep, ManagedSecret, Recipe, Secret
from bakery.steps import artefacts, has_own_profile, secrets
from infra.settings import Settings

_AGENT = (
    "ec2messages:AcknowledgeMessage",
    "ec2messages:DeleteMessage",
    "ec2messages:FailMessage",
    "ec2messages:GetEndpoint",
    "ec2messages:GetMessages",
    "ec2messages:SendReply",
    "ssmmessages:CreateControlChannel",
    "ssmmessages:CreateDataChannel",
    "ssmmessages:OpenControlChannel",
    "ssmmessages:OpenDataChannel",
)
"""What the agent calls to get commands and answer; none takes a resource that is known when the
role is made.

Not AmazonSSMManagedInstanceCore, which two things are left out of. It reads every parameter of the
account: with it the script of any recipe could. And it takes part in State Manager: an association
with all instances of the account would change the image, or update the agent under a command.
Source: AWS managed policy reference, AmazonSSMManagedInstanceCore, and
AmazonSSMManagedEC2InstanceDefaultPolicy, from which AWS left out the parameters too; an agent that
may read no associations says so in its log and works: amazon-ssm-agent, issue 419.
"""

_DOCUMENTS_OF_OTHERS = (
    "ssm:GetDeployablePatchSnapshotForInstance",
    "ssm:GetManifest",
    "ssm:PutConfigurePackageResult",
    "ssm:PutInventory",
)
"""What the agent calls beside for documents that patch, install packages of AWS's, or take an
inventory: none of ours. They report about any instance that they name, so only the builders of
recipes that name such a document may call them.

Source: amazon-ssm-agent, plugins configurepackage and inventory; Systems Manager user guide, "SSM
Command document for patching: AWS-RunPatchBaseline".
"""


class BuilderHost(Construct):
    """A builder can be managed by Systems Manager and write its log, a test instance too; nothing
    else.

    A recipe that installs an application from S3, or whose steps have secrets, gets a profile of
    its own that may also read just these, so that one recipe's builder cannot read another's.
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
        self.profile_arns: list[str] = []
        self.test_role, self.test_profile = self._profile("Test")
        shared = [it for it in recipes.values() if not has_own_profile(it)]
        role, self.default_profile = self._profile("Builder", *shared)
        self.builder_roles, self.builder_profiles = [role], [self.default_profile]
        for name, recipe in recipes.items():
            if has_own_profile(recipe):
                role, profile = self._profile(f"Builder-{name}", recipe)
                self.builder_roles.append(role)
                self.builder_profiles.append(profile)
                self._announce(name, profile)
        self.security_group_id = self._security_group(settings.vpc_id, settings.egress)
        self.isolated_group_id = (
            self._isolated_group(settings.vpc_id, settings.clone_egress)
            if settings.clone_egress
            else ""
        )
        self.group_ids = [*filter(None, (self.security_group_id, self.isolated_group_id))]

    def _profile(self, id_: str, *recipes: Recipe) -> tuple[iam.Role, str]:
        """A role for builders of these recipes; of none, for test instances."""
        role = iam.Role(
            self,
            f"{id_}Role",
            assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"),
            description="AMI Bakery: what a builder or a test instance may do",
        )
        foreign = any(runs_documents_of_others(it) for it in recipes)
        for statement in self._be_managed(foreign=foreign):
            role.add_to_policy(statement)
        self._log_group.grant(
            role, "logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"
        )
        # The agent looks its group up before it writes; the call takes no narrower resource.
        role.add_to_policy(iam.PolicyStatement(actions=["logs:DescribeLogGroups"], resources=["*"]))
        for recipe in recipes:
            for statement in self._read_what_it_names(recipe):
                role.add_to_policy(statement)
        profile = iam.CfnInstanceProfile(self, f"{id_}Profile", roles=[role.role_name])
        self.profile_arns.append(profile.attr_arn)
        return role, profile.attr_arn

    def _be_managed(self, *, foreign: bool) -> Iterator[iam.PolicyStatement]:
        actions = [*_AGENT, *(_DOCUMENTS_OF_OTHERS if foreign else ())]
        yield iam.PolicyStatement(actions=actions, resources=["*"])
        # A command brings its document along; the agent gets those that it runs within, and those
        # of packages. AWS's have no account in their ARN. Everybody else's, whose scripts would
        # tell a step of one recipe about all others, are none of its business.
        yield iam.PolicyStatement(
            actions=["ssm:DescribeDocument", "ssm:GetDocument"],
            resources=[
                Stack.of(self).format_arn(
                    service="ssm", account="", resource="document", resource_name="*"
                )
            ],
        )
        # Of any instance: ec2:SourceInstanceARN, which names the caller's own, can be compared with
        # a text, but not with the instance that the call is about, which is no key; and in a
        # resource stands no variable that is a whole ARN. So root on a builder can speak for other
        # instances' agents: docs/security.md, "What an instance can".
        yield iam.PolicyStatement(
            actions=[
                *(["ssm:PutComplianceItems"] if foreign else []),
                "ssm:UpdateInstanceInformation",
            ],
            resources=[
                Stack.of(self).format_arn(service="ec2", resource="instance", resource_name="*")
            ],
        )

    def _read_what_it_names(self, recipe: Recipe) -> Iterator[iam.PolicyStatement]:
        yield from self._read(artefacts(recipe))
        for secret in secrets(recipe):
            yield from self._resolve(secret)

    def _resolve(self, secret: Secret) -> Iterator[iam.PolicyStatement]:
        """Get a secret's value, and have its service decrypt it.

        The keys of AWS let everybody in the account use them through their service; a customer's
        key must be named. Source: Systems Manager user guide, "Restricting decryption of
        SecureString parameter values"; Secrets Manager user guide, "Secret encryption and
        decryption in AWS Secrets Manager".
        """
        stack, region = Stack.of(self), Stack.of(self).region
        if isinstance(secret, ManagedSecret):
            service, action = "secretsmanager", "secretsmanager:GetSecretValue"
            if secret.secret.startswith("arn:"):
                arn, region = secret.secret, secret.secret.split(":")[3]
            else:
                # The six characters that Secrets Manager adds to a name.
                arn = stack.format_arn(
                    service=service,
                    resource="secret",
                    resource_name=f"{secret.secret}-??????",
                    arn_format=ArnFormat.COLON_RESOURCE_NAME,
                )
        else:
            service, action = "ssm", "ssm:GetParameter"
            name = secret.parameter.removeprefix("/")
            arn = stack.format_arn(service=service, resource="parameter", resource_name=name)
        yield iam.PolicyStatement(actions=[action], resources=[arn])
        if secret.kms_key:
            via = f"{service}.{region}.{stack.url_suffix}"
            yield iam.PolicyStatement(
                actions=["kms:Decrypt"],
                resources=[secret.kms_key],
                conditions={"StringEquals": {"kms:ViaService": via}},
            )

    def _read(self, objects: tuple[tuple[str, str], ...]) -> Iterator[iam.PolicyStatement]:
        """Get the objects, and list each by its key: the agent asks first if it is a folder.

        Source: amazon-ssm-agent, s3resource.go, DownloadRemoteResource.
        """
        arn = partial(Stack.of(self).format_arn, service="s3", region="", account="")
        for bucket, key in objects:
            yield iam.PolicyStatement(
                actions=["s3:GetObject"], resources=[arn(resource=bucket, resource_name=key)]
            )
            yield iam.PolicyStatement(
                actions=["s3:ListBucket"],
                resources=[arn(resource=bucket)],
                conditions={"StringLike": {"s3:prefix": [key, f"{key}/"]}},
            )

    def _announce(self, recipe: str, profile: str) -> None:
        """Tell Plan by a parameter: a function's environment has room for about twenty ARNs.

        Source: Lambda quotas, "Environment variables", 4 KB.
        """
        ssm.CfnParameter(
            self,
            f"Profile-{recipe}",
            name=instance_profile_parameter(recipe),
            type="String",
            value=profile,
            description=f"Instance profile of the builders of recipe {recipe}",
        )

    def _security_group(self, vpc_id: str | None, egress: Sequence[str]) -> str:
        group = ec2.CfnSecurityGroup(
            self,
            # Another VPC is another group, and must be another reference in the template too: by it
            # the CDK knows that LaunchBuilder needs a new version.
            f"SecurityGroup{vpc_id or ''}",
            group_description="AMI Bakery builders: nothing in, everything out",
            vpc_id=vpc_id,
            # Without rules of its own a group lets everything out; CloudFormation takes explicit
            # egress rules only together with a VPC id, which the default VPC does not need.
            security_group_egress=[_https_to(destination) for destination in egress] or None,
            tags=[CfnTag(key="Name", value="ami-bakery builders")],
        )
        return group.attr_group_id

    def _isolated_group(self, vpc_id: str | None, egress: Sequence[str]) -> str:
        """For clones of running hosts, whose services and cron jobs must not act as the original:
        they reach Systems Manager, and nothing else."""
        group = ec2.CfnSecurityGroup(
            self,
            f"IsolatedGroup{vpc_id or ''}",
            group_description="AMI Bakery clones of hosts: nothing in, only Systems Manager out",
            vpc_id=vpc_id,
            security_group_egress=[_https_to(destination) for destination in egress],
            tags=[CfnTag(key="Name", value="ami-bakery clones")],
        )
        return group.attr_group_id


def runs_documents_of_others(recipe: Recipe) -> bool:
    """Whether it names a document that is not the bakery's, whosever it is."""
    return any(isinstance(step, DocumentStep) for step in recipe.customize)


def _https_to(destination: str) -> ec2.CfnSecurityGroup.EgressProperty:
    """A rule. The VPC's own name server, time and instance metadata are reached without one.

    Source: VPC user guide, "Security group basics".
    """
    kinds = {"pl-": "destination_prefix_list_id", "sg-": "destination_security_group_id"}
    network = "cidr_ipv6" if ":" in destination else "cidr_ip"
    where = {kinds.get(destination[:3], network): destination}
    return ec2.CfnSecurityGroup.EgressProperty(
        ip_protocol="tcp", from_port=443, to_port=443, **where
    )
