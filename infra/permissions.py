"""What each function may do: the calls that its module makes, on the resources it makes them on."""

from collections.abc import Mapping, Sequence

from aws_cdk import Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from bakery import parts
from bakery.inventory import PREFIX
from bakery.naming import (
    EVENT_SOURCE,
    MOVER,
    POINTERS,
    PROFILES,
    TAG_BAKE,
    TAG_CLONE_OF,
    TAG_DISABLED_AT,
    TAG_RETIRED,
)
from bakery.recipe import InstanceBase, ParameterBase, Recipe
from bakery.waits import Kind
from infra.builder_host import BuilderHost
from infra.documents import Documents
from infra.store import Store

MACHINE_NAME = "AmiBakery-Bake"
"""Fixed, because the functions' policies name the machine and the machine names the functions."""

_OURS = {"StringLike": {f"aws:ResourceTag/{TAG_BAKE}": "*"}}
_KINDS = ("image", "snapshot")
_TAGGED_NOW = {"StringLike": {f"aws:RequestTag/{TAG_BAKE}": "*"}}
_LOOKS: Mapping[Kind, Sequence[str]] = {
    Kind.COMMAND: (
        "ec2:DescribeInstances",
        "ssm:GetCommandInvocation",
        "ssm:ListCommandInvocations",
    ),
    Kind.STOP: ("ec2:DescribeInstances",),
    Kind.IMAGE: ("ec2:DescribeImages",),
    Kind.TURN: (),
}
"""What the end of a wait is seen by; a turn comes with the end of an execution."""


class Permissions:
    """Policy statements, by what they allow."""

    def __init__(
        self,
        scope: Construct,
        *,
        store: Store,
        host: BuilderHost,
        documents: Documents,
        recipes: Mapping[str, Recipe],
    ) -> None:
        self._stack = Stack.of(scope)
        self._recipes = recipes
        self.regions = regions(self._stack.region, recipes)
        """All Regions that get images; that of the stack first."""
        self.hosts = sorted(hosts_of(recipes))
        """Running instances that recipes clone, by id."""
        self._public = any(it.builder.public_address for it in recipes.values())
        self._store = store
        self._host = host
        self._documents = documents

    def read(self, *actions: str) -> iam.PolicyStatement:
        """Calls that look at something and take no narrower resource."""
        return iam.PolicyStatement(actions=list(actions), resources=["*"])

    def waits(self, *actions: str) -> iam.PolicyStatement:
        """On the part of the table that has the open waits."""
        return self._part(parts.WAITS, actions)

    def claims(self, *actions: str) -> iam.PolicyStatement:
        """On the part that has leases, slots, holds, and what was told."""
        return self._part(parts.CLAIMS, actions)

    def texts(self, kind: str, *actions: str) -> iam.PolicyStatement:
        """On the texts of a kind, each of which is a part of its own."""
        return self._part(parts.text(f"{kind}#*"), actions)

    def _part(self, part: str, actions: Sequence[str]) -> iam.PolicyStatement:
        """All that these calls touch is what their request names by its key.

        Source: DynamoDB developer guide, "Using IAM policy conditions for fine-grained access
        control".
        """
        return iam.PolicyStatement(
            actions=[f"dynamodb:{action}" for action in actions],
            resources=[self._store.table.table_arn],
            conditions={"ForAllValues:StringLike": {"dynamodb:LeadingKeys": [part]}},
        )

    def wait_for(self, *kinds: Kind) -> list[iam.PolicyStatement]:
        """Begin a wait, and settle one that is over already."""
        return [*self.settle(*kinds), self.waits("PutItem")]

    def settle(self, *kinds: Kind) -> list[iam.PolicyStatement]:
        """Look at a wait's subject, send its token back, and forget it."""
        looks = sorted({look for kind in kinds for look in _LOOKS[kind]})
        seen = [self.read(*looks)] if looks else []
        turns = [self.executions("DescribeExecution")] if Kind.TURN in kinds else []
        return [*seen, *turns, self.end_tasks(), self.waits("DeleteItem")]

    def end_tasks(self) -> iam.PolicyStatement:
        """Send back the token of a task that waits."""
        return iam.PolicyStatement(
            actions=["states:SendTaskSuccess", "states:SendTaskFailure"],
            resources=[self.machine_arn],
        )

    @property
    def mover_arn(self) -> str:
        return self._arn("states", "stateMachine", MOVER, ":")

    @property
    def machine_arn(self) -> str:
        return self._arn("states", "stateMachine", MACHINE_NAME, ":")

    def start_bakes(self) -> iam.PolicyStatement:
        return iam.PolicyStatement(actions=["states:StartExecution"], resources=[self.machine_arn])

    def executions(self, *actions: str) -> iam.PolicyStatement:
        return iam.PolicyStatement(
            actions=[f"states:{action}" for action in actions],
            resources=[
                self._arn("states", "execution", f"{name}:*", ":") for name in (MACHINE_NAME, MOVER)
            ],
        )

    def pointers(self, *actions: str) -> iam.PolicyStatement:
        return iam.PolicyStatement(
            actions=[f"ssm:{action}" for action in actions],
            resources=[
                self._arn("ssm", "parameter", "ami-bakery/*", region=it) for it in self.regions
            ],
        )

    def list_pointers(self, *actions: str) -> iam.PolicyStatement:
        """The path itself is a resource of GetParametersByPath."""
        return iam.PolicyStatement(
            actions=[f"ssm:{action}" for action in actions],
            resources=[
                self._arn("ssm", "parameter", name, region=region)
                for region in self.regions
                for name in (POINTERS[1:], f"{POINTERS[1:]}/*")
            ],
        )

    def base_parameters(self, recipes: Mapping[str, Recipe]) -> iam.PolicyStatement:
        """Read the parameters that recipes name as their base; public ones have no account."""
        names = {r.base.parameter for r in recipes.values() if isinstance(r.base, ParameterBase)}
        return iam.PolicyStatement(
            actions=["ssm:GetParameter"],
            resources=[
                self._arn("ssm", "parameter", "ami-bakery/*"),
                self._arn("ssm", "parameter", f"{PROFILES[1:]}/*"),
                *(self._parameter(name) for name in sorted(names)),
            ],
        )

    def look_at_documents(self) -> iam.PolicyStatement:
        names = ["AmiBakery*", *self._documents.foreign_names]
        return iam.PolicyStatement(
            actions=["ssm:DescribeDocument", "ssm:GetDocument"],
            resources=[self._documents.arn(name) for name in names],
        )

    def launch(self, *, test: bool = False) -> list[iam.PolicyStatement]:
        """RunInstances by resource: a condition on a key that a resource lacks would deny.

        A test instance has a role of its own, is never of the spot market, and is of an image and
        of snapshots that a bake made. A base image is anybody's, and so are its snapshots.

        EC2 knows of an address only what the request says, so it must say that there is none: that
        it then has the key is seen from those whose organization demands it. Source:
        aws-parallelcluster, pull request 5683; packer-plugin-amazon, issue 280.
        """
        spot, roles = not test, [self._host.test_role] if test else self._host.builder_roles
        profiles = [self._host.test_profile] if test else self._host.builder_profiles
        private = {} if self._public else {"Bool": {"ec2:AssociatePublicIpAddress": "false"}}
        hardened = {
            "StringEquals": {"ec2:MetadataHttpTokens": "required"},
            "NumericEquals": {"ec2:MetadataHttpPutResponseHopLimit": "1"},
            "ArnEquals": {"ec2:InstanceProfile": profiles},
        }
        encrypted = {"Bool": {"ec2:Encrypted": "true"}}
        return [
            self._ec2(["RunInstances"], ["instance/*"], {**_TAGGED_NOW, **hardened}),
            self._ec2(["RunInstances"], ["volume/*"], {**_TAGGED_NOW, **encrypted}),
            self._ec2(["RunInstances"], ["network-interface/*"], {**_TAGGED_NOW, **private}),
            *(
                [self._ec2(["RunInstances"], ["spot-instances-request/*"], _TAGGED_NOW)]
                if spot
                else []
            ),
            iam.PolicyStatement(
                actions=["ec2:RunInstances"],
                # They are charged to no account in the request.
                resources=self._images(home_only=True),
                # Which base image it is, Plan decides.
                conditions=_OURS if test else None,
            ),
            iam.PolicyStatement(
                actions=["ec2:RunInstances"],
                resources=[
                    self._arn("ec2", "subnet", "*"),
                    *(self._arn("ec2", "security-group", it) for it in self._host.group_ids),
                ],
            ),
            self._tag_at_creation("RunInstances"),
            *([self._make_spot_role()] if spot else []),
            *self._use_volume_keys(foreign=not test),
            iam.PolicyStatement(
                actions=["iam:PassRole"],
                resources=[role.role_arn for role in roles],
                conditions={"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}},
            ),
        ]

    def _make_spot_role(self) -> iam.PolicyStatement:
        """EC2 makes the role with its caller's right when the account asks for its first spot
        instance; a stack cannot, it would fail where the role is there already."""
        return self._make_role_of("spot", "AWSServiceRoleForEC2Spot")

    def _make_role_of(self, service: str, role: str) -> iam.PolicyStatement:
        name = f"{service}.amazonaws.com"
        return iam.PolicyStatement(
            actions=["iam:CreateServiceLinkedRole"],
            resources=[
                f"arn:{self._stack.partition}:iam::{self._stack.account}:role/"
                f"aws-service-role/{name}/{role}"
            ],
            conditions={"StringEquals": {"iam:AWSServiceName": name}},
        )

    def _use_volume_keys(self, *, foreign: bool) -> list[iam.PolicyStatement]:
        """EC2 uses the keys of volumes and snapshots with its caller's rights; without them a
        builder ends seconds after its launch with Client.InternalError.

        The account's default key and the key of a base image are unknown at synthesis, so it is
        any key, but only through EC2. What has a `foreign` one is encrypted anew.
        Source: EBS user guide, "How Amazon EBS encryption works".
        """
        through_ec2 = {
            "kms:ViaService": [f"ec2.{it}.{self._stack.url_suffix}" for it in self.regions]
        }
        keys = [self._arn("kms", "key", "*", account="*", region=it) for it in self.regions]
        return [
            iam.PolicyStatement(
                actions=[
                    "kms:Decrypt",
                    "kms:DescribeKey",
                    "kms:GenerateDataKeyWithoutPlaintext",
                    *(["kms:ReEncryptFrom"] if foreign else []),
                    "kms:ReEncryptTo",
                ],
                resources=keys,
                conditions={"StringEquals": through_ec2},
            ),
            iam.PolicyStatement(
                actions=["kms:CreateGrant"],
                resources=keys,
                conditions={
                    "StringEquals": through_ec2,
                    "Bool": {"kms:GrantIsForAWSResource": "true"},
                },
            ),
        ]

    def send(self, document_arns: Sequence[str]) -> list[iam.PolicyStatement]:
        """SendCommand: these documents, on instances of a bake."""
        return [
            iam.PolicyStatement(actions=["ssm:SendCommand"], resources=list(document_arns)),
            iam.PolicyStatement(
                actions=["ssm:SendCommand"],
                resources=[self._arn("ec2", "instance", "*")],
                conditions={"StringLike": {f"ssm:resourceTag/{TAG_BAKE}": "*"}},
            ),
            *self.wait_for(Kind.COMMAND),
        ]

    def on_own_instances(self, *actions: str) -> iam.PolicyStatement:
        """By tag, and by a profile of ours: whoever may tag could call any instance ours, but to
        give it such a profile needs the right to pass its role."""
        profiles = {"ArnEquals": {"ec2:InstanceProfile": self._host.profile_arns}}
        return self._ec2(list(actions), ["instance/*"], {**_OURS, **profiles})

    def create_image(self) -> list[iam.PolicyStatement]:
        return [
            self.on_own_instances("CreateImage"),
            iam.PolicyStatement(
                actions=["ec2:CreateImage"],
                resources=self._images(home_only=True),
                conditions=_TAGGED_NOW,
            ),
            self._tag_at_creation("CreateImage"),
        ]

    def look_at_hosts(self) -> iam.PolicyStatement:
        """Whether hosts that recipes clone can be cloned; these calls take no narrower resource."""
        return self.read(
            "ec2:DescribeInstances", "ec2:DescribeVolumes", "ssm:DescribeInstanceInformation"
        )

    def clone_hosts(self) -> list[iam.PolicyStatement]:
        """Image just the hosts that recipes name; none if they name none.

        CreateImage may restart its instance, and no condition key says whether it does.
        """
        if not self.hosts:
            return []
        return [
            iam.PolicyStatement(
                actions=["ec2:CreateImage"],
                resources=[self._arn("ec2", "instance", it) for it in self.hosts],
            ),
            iam.PolicyStatement(
                actions=["ec2:CreateImage"],
                resources=self._images(home_only=True),
                conditions={
                    "StringLike": {
                        f"aws:RequestTag/{TAG_BAKE}": "*",
                        f"aws:RequestTag/{TAG_CLONE_OF}": "*",
                    }
                },
            ),
            self._tag_at_creation("CreateImage"),
        ]

    def copy_image(self) -> list[iam.PolicyStatement]:
        """What is to be made has tags in the request; the source has an owner, and no tags that a
        policy of CopyImage could see.

        Source: EC2 user guide, "Grant permissions to copy Amazon EC2 AMIs" (as of 2024-10).
        """
        return [
            iam.PolicyStatement(
                actions=["ec2:CopyImage"], resources=self._images(), conditions=_TAGGED_NOW
            ),
            iam.PolicyStatement(
                actions=["ec2:CopyImage"],
                resources=[self._arn("ec2", "image", "*", account="")],
                conditions={"StringEquals": {"ec2:Owner": self._stack.account}},
            ),
            self._tag_at_creation("CopyImage"),
            *self._use_volume_keys(foreign=True),
        ]

    def on_own_images(self, *actions: str) -> iam.PolicyStatement:
        """On images of bakes, copies included, or on their snapshots: as the actions are called."""
        kinds = [it for it in _KINDS if any(it.title() in action for action in actions)]
        return iam.PolicyStatement(
            actions=[f"ec2:{action}" for action in actions],
            resources=self._images(kinds),
            conditions=_OURS,
        )

    def share_snapshots(self) -> iam.PolicyStatement:
        """With accounts, never with everybody: a snapshot that is public shows a disk to all."""
        return iam.PolicyStatement(
            actions=["ec2:ModifySnapshotAttribute"],
            resources=self._images(["snapshot"]),
            conditions={**_OURS, "StringNotEquals": {"ec2:Add/group": "all"}},
        )

    def _images(self, kinds: Sequence[str] = _KINDS, *, home_only: bool = False) -> list[str]:
        return [
            self._arn("ec2", kind, "*", account="", region=region)
            for region in (self.regions[:1] if home_only else self.regions)
            for kind in kinds
        ]

    def look_at_keys(self) -> iam.PolicyStatement:
        """The keys that recipes name: by an alias, whose key is unknown at synthesis."""
        keys = [self._arn("kms", "key", "*", account="*", region=it) for it in self.regions]
        return iam.PolicyStatement(actions=["kms:DescribeKey"], resources=keys)

    def templates(self, *actions: str) -> list[iam.PolicyStatement]:
        """On the launch templates that recipes name; none if they name none."""
        named = {
            self._arn("ec2", "launch-template", id_, region=region)
            for recipe in self._recipes.values()
            for region, ids in (
                (self._stack.region, recipe.publish.launch_templates),
                *((place.region, place.launch_templates) for place in recipe.distribute),
            )
            for id_ in ids
        }
        if not named:
            return []
        return [
            iam.PolicyStatement(
                actions=[f"ec2:{action}" for action in actions], resources=sorted(named)
            )
        ]

    def remove(self) -> list[iam.PolicyStatement]:
        """End instances with our profiles, and delete requests and images that carry a bake's
        tag."""
        return [
            # No tag is asked for: an instance that a spot request launched in place of one that
            # ended has none.
            self._ec2(
                ["TerminateInstances"],
                ["instance/*"],
                {"ArnEquals": {"ec2:InstanceProfile": self._host.profile_arns}},
            ),
            self._ec2(["CancelSpotInstanceRequests"], ["spot-instances-request/*"], _OURS),
            self.remove_images(),
        ]

    def remove_volumes(self) -> iam.PolicyStatement:
        return self._ec2(["DeleteVolume"], ["volume/*"], _OURS)

    def remove_images(self) -> iam.PolicyStatement:
        return iam.PolicyStatement(
            actions=["ec2:DeregisterImage", "ec2:DeleteSnapshot"],
            resources=self._images(),
            conditions=_OURS,
        )

    def retire_images(self) -> list[iam.PolicyStatement]:
        """Find out who uses images, in any Region, and take a bake's images out of use.

        DescribeImageReferences looks with its caller's rights. Source: EC2 user guide, "Identify
        your resources referencing specified AMIs".
        """
        images, snapshots = self._images(["image"]), self._images(["snapshot"])
        return [
            self.read(
                "autoscaling:DescribeAutoScalingGroups",
                "autoscaling:DescribeLaunchConfigurations",
                "ec2:DescribeFleets",
                "ec2:DescribeImageReferences",
                "ec2:DescribeImageUsageReportEntries",
                "ec2:DescribeImageUsageReports",
                "ec2:DescribeImages",
                "ec2:DescribeLaunchTemplateVersions",
                "ec2:DescribeSnapshots",
                "ec2:DescribeSpotFleetRequests",
            ),
            iam.PolicyStatement(
                actions=[
                    "ec2:DescribeInstances",
                    "ec2:DescribeLaunchTemplates",
                    "imagebuilder:GetContainerRecipe",
                    "imagebuilder:ListContainerRecipes",
                    "imagebuilder:ListImageRecipes",
                    "ssm:DescribeParameters",
                    "ssm:GetParameters",
                ],
                resources=["*"],
                conditions={
                    "ForAnyValue:StringEquals": {"aws:CalledVia": ["ec2-images.amazonaws.com"]}
                },
            ),
            self.list_pointers("GetParametersByPath", "GetParameterHistory"),
            # One version of a pointer, or what has one of its labels.
            self.pointers("GetParameter"),
            iam.PolicyStatement(
                actions=[
                    "ec2:CreateImageUsageReport",
                    "ec2:DeregisterImage",
                    "ec2:DescribeImageAttribute",
                    "ec2:DisableImage",
                    "ec2:DisableImageDeregistrationProtection",
                    "ec2:EnableImageDeprecation",
                    "ec2:EnableImageDeregistrationProtection",
                ],
                resources=images,
                conditions=_OURS,
            ),
            # A report that is to be made has no tags.
            iam.PolicyStatement(
                actions=["ec2:CreateImageUsageReport"],
                resources=[
                    self._arn("ec2", "image-usage-report", "*", region=it) for it in self.regions
                ],
            ),
            iam.PolicyStatement(
                actions=["ec2:DeleteSnapshot"], resources=snapshots, conditions=_OURS
            ),
            iam.PolicyStatement(
                actions=["ec2:CreateTags"],
                resources=[*images, *snapshots],
                conditions={
                    **_OURS,
                    "ForAllValues:StringEquals": {
                        "aws:TagKeys": [TAG_DISABLED_AT, TAG_RETIRED],
                    },
                },
            ),
            *self._fast_launch(),
        ]

    def _fast_launch(self) -> list[iam.PolicyStatement]:
        """Windows fast launch of a bake's images, by the launch templates that recipes name.

        EC2 asks whether its caller might launch so himself, once, when it is enabled; what it
        launches then, it launches with its own role, and from a version that nobody can change. No
        PassRole: a template with an instance profile is refused. Source: EC2 user guide,
        "Configure EC2 Fast Launch settings for your Amazon EC2 Windows Server AMI" and
        "Service-linked role for EC2 Fast Launch".
        """
        if not any(recipe.windows for recipe in self._recipes.values()):
            return []
        images = self._images(["image"])
        ending = [
            self.read("ec2:DescribeFastLaunchImages"),
            iam.PolicyStatement(
                actions=["ec2:DisableFastLaunch"], resources=images, conditions=_OURS
            ),
        ]
        templates = sorted(
            {
                self._arn(
                    "ec2", "launch-template", it.fast_launch.launch_template, region=it.region
                )
                for recipe in self._recipes.values()
                for it in recipe.distribute
                if it.fast_launch
            }
        )
        if not templates:
            return ending
        by_template = {"ArnEquals": {"ec2:LaunchTemplate": templates}}
        parts = ("instance", "network-interface", "security-group", "subnet", "volume")
        return [
            *ending,
            iam.PolicyStatement(
                actions=["ec2:EnableFastLaunch"], resources=images, conditions=_OURS
            ),
            iam.PolicyStatement(
                actions=["ec2:EnableFastLaunch", "ec2:RunInstances"], resources=templates
            ),
            iam.PolicyStatement(
                actions=["ec2:RunInstances"], resources=images, conditions={**_OURS, **by_template}
            ),
            iam.PolicyStatement(
                actions=["ec2:RunInstances"],
                resources=[
                    *self._images(["snapshot"]),
                    *(
                        self._arn("ec2", part, "*", region=region)
                        for region in self.regions
                        for part in parts
                    ),
                ],
                conditions=by_template,
            ),
            self._make_role_of("ec2fastlaunch", "AWSServiceRoleForEC2FastLaunch"),
            *self._use_volume_keys(foreign=False),
        ]

    def start_retiring(self, retire_images: lambda_.IFunction) -> iam.PolicyStatement:
        return iam.PolicyStatement(
            actions=["lambda:InvokeFunction"], resources=[retire_images.function_arn]
        )

    def read_command_log(self) -> iam.PolicyStatement:
        return iam.PolicyStatement(
            actions=["logs:GetLogEvents"], resources=[self._store.command_log.log_group_arn]
        )

    def inventories(self) -> list[iam.PolicyStatement]:
        """Write and read inventories.

        Whoever may not list a bucket is told that an object is denied, not that it is missing.
        """
        bucket = self._store.inventories
        return [
            iam.PolicyStatement(
                actions=["s3:GetObject", "s3:PutObject"],
                resources=[bucket.arn_for_objects(f"{PREFIX}*")],
            ),
            iam.PolicyStatement(actions=["s3:ListBucket"], resources=[bucket.bucket_arn]),
        ]

    def announce(self) -> iam.PolicyStatement:
        """Events that say that they are the bakery's."""
        return iam.PolicyStatement(
            actions=["events:PutEvents"],
            resources=[self._arn("events", "event-bus", "default")],
            conditions={"StringEquals": {"events:source": EVENT_SOURCE}},
        )

    def _ec2(
        self, actions: Sequence[str], kinds: Sequence[str], conditions: Mapping[str, object]
    ) -> iam.PolicyStatement:
        return iam.PolicyStatement(
            actions=[f"ec2:{action}" for action in actions],
            resources=[self._arn("ec2", *kind.split("/")) for kind in kinds],
            conditions=conditions,
        )

    def _tag_at_creation(self, action: str) -> iam.PolicyStatement:
        kinds = ["instance", "volume", "network-interface", "spot-instances-request"]
        resources = [self._arn("ec2", kind, "*") for kind in kinds]
        if action in ("CreateImage", "CopyImage"):
            resources = self._images(home_only=action == "CreateImage")
        return iam.PolicyStatement(
            actions=["ec2:CreateTags"],
            resources=resources,
            conditions={"StringEquals": {"ec2:CreateAction": action}},
        )

    def _parameter(self, name: str) -> str:
        public = name.startswith("/aws/service/")
        return self._arn("ssm", "parameter", name[1:], account="" if public else None)

    def _arn(
        self,
        service: str,
        resource: str,
        name: str,
        separator: str = "/",
        *,
        account: str | None = None,
        region: str | None = None,
    ) -> str:
        account_part = self._stack.account if account is None else account
        return (
            f"arn:{self._stack.partition}:{service}:{region or self._stack.region}:{account_part}:"
            f"{resource}{separator}{name}"
        )


def hosts_of(recipes: Mapping[str, Recipe]) -> set[str]:
    """The running instances that recipes clone."""
    return {it.base.instance for it in recipes.values() if isinstance(it.base, InstanceBase)}


def regions(home: str, recipes: Mapping[str, Recipe]) -> list[str]:
    """Every Region that a recipe gives its image to, that of the stack first."""
    others = {place.region for recipe in recipes.values() for place in recipe.distribute}
    return [home, *sorted(others - {home})]
