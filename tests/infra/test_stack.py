"""The rest of the template: functions, roles, documents, schedules, network, determinism."""

import json
import re
from typing import Any

import pytest
from aws_cdk import App
from cfnlint import api as cfnlint

from bakery.naming import TAG_BAKE
from infra.settings import ContextError, Settings
from infra.synthesize import project_context
from tests.infra.conftest import RECIPES, Synthesize, Synthesized, flat, listed, statements

VPC, SUBNET = "vpc-0123456789abcdef0", "subnet-0123456789abcdef0"
NETWORK = {"vpc_id": VPC, "subnet_ids": SUBNET}

# Calls that take no resource. Source: service authorization reference.
_LOOK_ONLY = ("Describe", "List", "Get")
_NO_RESOURCE = {
    "xray:PutTraceSegments",
    "xray:PutTelemetryRecords",
    "logs:CreateLogDelivery",
    "logs:UpdateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:PutResourcePolicy",
    "xray:GetSamplingRules",
    "xray:GetSamplingTargets",
    "ec2messages:AcknowledgeMessage",
    "ec2messages:DeleteMessage",
    "ec2messages:FailMessage",
    "ec2messages:SendReply",
    "ssm:PutConfigurePackageResult",
    "ssm:PutInventory",
    "ssmmessages:CreateControlChannel",
    "ssmmessages:CreateDataChannel",
    "ssmmessages:OpenControlChannel",
    "ssmmessages:OpenDataChannel",
}


def test_cfn_lint_finds_nothing(stack: Synthesized) -> None:
    assert cfnlint.lint(json.dumps(stack.template)) == []


def test_two_syntheses_give_the_same_template(synthesize: Synthesize, stack: Synthesized) -> None:
    assert synthesize().template == stack.template


def test_every_function_has_its_own_role_log_time_out_and_memory(stack: Synthesized) -> None:
    functions = [f["Properties"] for f in stack.of_type("AWS::Lambda::Function").values()]
    assert len({flat(f["Role"]) for f in functions}) == len(functions)
    assert len({flat(f["LoggingConfig"]["LogGroup"]) for f in functions}) == len(functions)
    for function in functions:
        assert function["Timeout"] <= 300
        assert function["MemorySize"] >= 256
        assert function["TracingConfig"] == {"Mode": "Active"}
        assert function["Architectures"] == ["arm64"]


def test_all_functions_share_one_asset(stack: Synthesized) -> None:
    functions = stack.of_type("AWS::Lambda::Function").values()
    assert len({json.dumps(f["Properties"]["Code"]) for f in functions}) == 1


def test_every_log_group_has_a_retention(stack: Synthesized) -> None:
    for id_, group in stack.of_type("AWS::Logs::LogGroup").items():
        assert group["Properties"]["RetentionInDays"] == 90, id_


def test_no_statement_writes_to_everything(stack: Synthesized) -> None:
    for id_, statement in statements(stack):
        if "*" not in listed(statement["Resource"]):
            continue
        for action in listed(statement["Action"]):
            name = action.partition(":")[2]
            assert action in _NO_RESOURCE or name.startswith(_LOOK_ONLY), f"{id_}: {action}"


def test_no_action_is_a_wildcard(stack: Synthesized) -> None:
    for id_, statement in statements(stack):
        assert not [a for a in listed(statement["Action"]) if "*" in a], id_


@pytest.mark.parametrize(
    "action",
    [
        "ec2:TerminateInstances",
        "ec2:StopInstances",
        "ec2:DeregisterImage",
        "ec2:DeleteSnapshot",
        "ec2:DeleteVolume",
        "ec2:CancelSpotInstanceRequests",
    ],
)
def test_destructive_calls_reach_only_what_carries_a_bakes_tag(
    stack: Synthesized, action: str
) -> None:
    granting = [s for _, s in statements(stack) if action in listed(s["Action"])]
    assert granting
    tagged = {"StringLike": {f"aws:ResourceTag/{TAG_BAKE}": "*"}}
    for statement in granting:
        condition = statement["Condition"]
        if action.endswith("Instances"):
            # Whoever may tag could call any instance ours; what a spot request launches in place
            # of one that ended has no tags.
            assert are_ours(condition["ArnEquals"]["ec2:InstanceProfile"])
            condition = {key: it for key, it in condition.items() if key != "ArnEquals"}
            if action == "ec2:TerminateInstances" and not condition:
                continue
        assert condition == tagged


def are_ours(profiles: object) -> bool:
    return bool(profiles) and all(
        flat(profile).startswith(("<BuilderHostBuilder", "<BuilderHostTestProfile"))
        for profile in listed(profiles)
    )


def test_a_spot_request_is_made_and_tagged_like_everything_else(stack: Synthesized) -> None:
    request = "spot-instances-request/*"
    made = {
        action: statement["Condition"]
        for _, statement in statements(stack)
        for action in listed(statement["Action"])
        if any(flat(it).endswith(request) for it in listed(statement["Resource"]))
    }
    assert made == {
        "ec2:RunInstances": {"StringLike": {f"aws:RequestTag/{TAG_BAKE}": "*"}},
        "ec2:CreateTags": {"StringEquals": {"ec2:CreateAction": "RunInstances"}},
        "ec2:CancelSpotInstanceRequests": {"StringLike": {f"aws:ResourceTag/{TAG_BAKE}": "*"}},
    }


def test_the_role_of_the_spot_service_may_be_made_and_no_other(stack: Synthesized) -> None:
    """EC2 makes it with the launching role's right, once in an account."""
    (statement,) = [
        s for _, s in statements(stack) if "iam:CreateServiceLinkedRole" in listed(s["Action"])
    ]
    assert flat(statement["Resource"]).endswith("/spot.amazonaws.com/AWSServiceRoleForEC2Spot")
    assert statement["Condition"] == {"StringEquals": {"iam:AWSServiceName": "spot.amazonaws.com"}}


def test_commands_are_sent_by_known_documents_only(stack: Synthesized) -> None:
    resources = [
        flat(resource)
        for _, statement in statements(stack)
        if listed(statement["Action"]) == ["ssm:SendCommand"]
        for resource in listed(statement["Resource"])
    ]
    names = {r.rpartition("document/")[2] for r in resources if ":document/" in r}
    assert names == {
        "AmiBakery-prepare-linux",
        "AmiBakery-remove-opsworks-identity",
        "AmiBakery-generalize-linux",
        "AmiBakery-verify-identity",
        "AmiBakery-reboot-linux",
        "AmiBakery-install-application",
        "AmiBakery.*",
        "AWS-RunPatchBaseline",
        "AmiBakery-test-image",
        "AmiBakery-report-identity",
        "AmiBakery-report-packages",
        "AmiBakery.*.test.*",
        "AmiBakery-prepare-windows",
        "AmiBakery-generalize-windows-without-sysprep",
        "AmiBakery-sysprep-windows",
        "AmiBakery-verify-windows",
        "AmiBakery-reboot-windows",
        "AmiBakery-test-image-windows",
        "AmiBakery-report-identity-windows",
        "AmiBakery-report-packages-windows",
    }


def test_keys_of_volumes_are_used_through_ec2_only(stack: Synthesized) -> None:
    """Without them a builder under a customer's key ends seconds after its launch."""
    using = [
        (id_, statement)
        for id_, statement in statements(stack)
        if any(action.startswith("kms:") for action in listed(statement["Action"]))
        and listed(statement["Action"]) != ["kms:DescribeKey"]
    ]
    names = ("TasksCopyImage", "TasksLaunchBuilder", "TasksLaunchTest")
    assert sorted(id_.partition("Role")[0] for id_, _ in using) == sorted([*names, *names])
    for _, statement in using:
        services = statement["Condition"]["StringEquals"]["kms:ViaService"]
        regions = ("<AWS::Region>", "eu-central-1", "us-east-1")
        assert [flat(it) for it in services] == [f"ec2.{it}.<AWS::URLSuffix>" for it in regions]
        if "kms:CreateGrant" in listed(statement["Action"]):
            assert statement["Condition"]["Bool"] == {"kms:GrantIsForAWSResource": "true"}


# --- Regions -------------------------------------------------------------------------------------

HOME, AWAY = "<AWS-Region>", ("eu-central-1", "us-east-1")


def arns_of(statement: dict[str, Any]) -> list[list[str]]:
    """The parts of each ARN; a reference to a resource of the stack is none."""
    flattened = [flat(arn).replace("AWS::", "AWS-") for arn in listed(statement["Resource"])]
    return [arn.split(":") for arn in flattened if arn.startswith("arn:")]


def regions_of(statement: dict[str, Any]) -> set[str]:
    return {parts[3] for parts in arns_of(statement)}


@pytest.mark.parametrize(
    ("module", "action"),
    [
        ("copy_image", "ec2:CreateTags"),
        ("release_images", "ec2:ModifyImageAttribute"),
        ("release_images", "ec2:ModifySnapshotAttribute"),
        ("release_images", "ec2:EnableImageDeprecation"),
        ("publish_pointers", "ssm:PutParameter"),
        ("keep_previous", "ssm:PutParameter"),
        ("keep_previous", "ssm:GetParameterHistory"),
        ("clean_up", "ssm:PutParameter"),
        ("clean_up", "ssm:DeleteParameter"),
        ("clean_up", "ec2:DeregisterImage"),
        ("clean_up", "ec2:DeleteSnapshot"),
        ("remove_orphans", "ec2:DeregisterImage"),
        ("remove_orphans", "ssm:GetParametersByPath"),
        ("plan", "kms:DescribeKey"),
    ],
)
def test_what_happens_in_every_region_is_allowed_in_every_region_of_the_recipes_and_no_other(
    stack: Synthesized, module: str, action: str
) -> None:
    granting = [s for _, s in statements(stack, module) if action in listed(s["Action"])]
    assert granting
    if action == "ec2:CopyImage":
        granting = [s for s in granting if not is_about_the_source(s)]
    for statement in granting:
        assert regions_of(statement) == {HOME, *AWAY}, statement


def test_without_other_regions_everything_is_allowed_in_the_stacks_alone(
    synthesize: Synthesize,
) -> None:
    alone = synthesize({"web": RECIPES["web"]})
    assert set().union(*(regions_of(statement) for _, statement in statements(alone))) <= {HOME, ""}


def test_no_statement_is_for_any_region(stack: Synthesized) -> None:
    for id_, statement in statements(stack):
        assert not any("*" in region for region in regions_of(statement)), id_


def is_about_the_source(statement: dict[str, Any]) -> bool:
    return "ec2:Owner" in statement["Condition"].get("StringEquals", {})


def test_a_copy_carries_the_bakes_tag_from_the_call_on(stack: Synthesized) -> None:
    copying = [s for _, s in statements(stack) if "ec2:CopyImage" in listed(s["Action"])]
    (copy,) = [s for s in copying if not is_about_the_source(s)]
    assert copy["Condition"] == {"StringLike": {f"aws:RequestTag/{TAG_BAKE}": "*"}}
    assert regions_of(copy) == {HOME, *AWAY}
    assert {parts[5] for parts in arns_of(copy)} == {"image/*", "snapshot/*"}
    (tag,) = [
        s for _, s in statements(stack, "copy_image") if "ec2:CreateTags" in listed(s["Action"])
    ]
    assert tag["Condition"] == {"StringEquals": {"ec2:CreateAction": "CopyImage"}}


def test_only_images_of_the_account_are_copied_and_only_from_the_stacks_region(
    stack: Synthesized,
) -> None:
    copying = [s for _, s in statements(stack) if "ec2:CopyImage" in listed(s["Action"])]
    (source,) = [s for s in copying if is_about_the_source(s)]
    assert source["Condition"] == {"StringEquals": {"ec2:Owner": {"Ref": "AWS::AccountId"}}}
    assert [parts[3:] for parts in arns_of(source)] == [[HOME, "", "image/*"]]


def test_an_image_is_made_in_the_stacks_region_only(stack: Synthesized) -> None:
    making = [s for _, s in statements(stack) if "ec2:CreateImage" in listed(s["Action"])]
    assert len(making) == 2
    assert all(regions_of(statement) == {HOME} for statement in making)


@pytest.mark.parametrize(
    "action",
    ["ec2:ModifyImageAttribute", "ec2:ModifySnapshotAttribute", "ec2:EnableImageDeprecation"],
)
def test_only_images_of_bakes_are_hardened_or_shared(stack: Synthesized, action: str) -> None:
    granting = [(id_, s) for id_, s in statements(stack) if action in listed(s["Action"])]
    assert granting
    for id_, statement in granting:
        assert id_.startswith(("TasksHardenImage", "TasksReleaseImages", "TasksRetireImages"))
        ours = {f"aws:ResourceTag/{TAG_BAKE}": "*"}
        assert statement["Condition"]["StringLike"] == ours


TEMPLATES = {
    "arn:<AWS::Partition>:ec2:<AWS::Region>:<AWS::AccountId>:launch-template/lt-0000000000000000a",
    "arn:<AWS::Partition>:ec2:eu-central-1:<AWS::AccountId>:launch-template/lt-0000000000000000b",
}


def changing_templates(stack: Synthesized) -> dict[str, set[str]]:
    """Which launch templates may be changed, by action and function."""
    return {
        f"{id_.partition('Role')[0]} {action}": {flat(arn) for arn in listed(statement["Resource"])}
        for id_, statement in statements(stack)
        for action in listed(statement["Action"])
        if "LaunchTemplate" in action and not action.startswith("ec2:Describe")
    }


def test_only_launch_templates_that_recipes_name_are_changed_each_in_its_region(
    stack: Synthesized,
) -> None:
    assert changing_templates(stack) == {
        "TasksUpdateTemplates ec2:CreateLaunchTemplateVersion": TEMPLATES,
        "TasksUpdateTemplates ec2:ModifyLaunchTemplate": TEMPLATES,
        "MoverMovePointer ec2:CreateLaunchTemplateVersion": TEMPLATES,
        "MoverMovePointer ec2:DeleteLaunchTemplateVersions": TEMPLATES,
        "MoverMovePointer ec2:ModifyLaunchTemplate": TEMPLATES,
        "TasksCleanUp ec2:DeleteLaunchTemplateVersions": TEMPLATES,
        "TasksCleanUp ec2:ModifyLaunchTemplate": TEMPLATES,
    }


def test_recipes_that_name_no_launch_template_allow_none_to_be_changed(
    synthesize: Synthesize,
) -> None:
    assert changing_templates(synthesize({"web": RECIPES["web"]})) == {}


def test_the_janitor_looks_into_every_other_region_that_gets_images(stack: Synthesized) -> None:
    (janitor,) = [
        f["Properties"]["Environment"]["Variables"]
        for f in stack.of_type("AWS::Lambda::Function").values()
        if f["Properties"]["Handler"] == "bakery.jobs.remove_orphans.handler"
    ]
    assert json.loads(flat(janitor["REGIONS"])) == [*AWAY]


def test_tests_are_sent_to_test_instances_by_documents_of_tests_only(stack: Synthesized) -> None:
    sent = [
        flat(resource).rpartition("document/")[2]
        for _, statement in statements(stack, "run_test")
        if "ssm:SendCommand" in listed(statement["Action"])
        for resource in listed(statement["Resource"])
        if ":document/" in flat(resource)
    ]
    own = ["report-identity", "report-packages", "test-image"]
    assert sorted(sent) == [
        *(f"AmiBakery-{it}{platform}" for it in own for platform in ("", "-windows")),
        "AmiBakery.*.test.*",
    ]


def test_a_recipes_test_becomes_a_document_without_parameters(stack: Synthesized) -> None:
    documents = {
        d["Properties"]["Name"]: d["Properties"]
        for d in stack.of_type("AWS::SSM::Document").values()
    }
    script = documents["AmiBakery.everywhere.test.answers"]
    assert "parameters" not in script["Content"]
    assert script["Content"]["mainSteps"][0]["inputs"]["runCommand"] == ["curl -fsS localhost"]


SHARED = "arn:aws:ssm:eu-west-1:444455556666:document/Hardening"
NAMED = (
    "AWS-RunPatchBaseline",
    "AWSEC2-Configure",
    "AmazonCloudWatch-ManageAgent",
    "awsome",
    "Own",
)


@pytest.fixture(scope="module")
def naming(synthesize: Synthesize) -> Synthesized:
    """The stack of a recipe that names documents of AWS, of the account and of another one."""
    steps = [f"{{name: s{number}, document: '{name}'}}" for number, name in enumerate(NAMED)]
    text = f"description: d\nbase: {{ami: ami-0123456789abcdef0}}\ncustomize: [{', '.join(steps)}"
    return synthesize({"naming": f"{text}, {{name: shared, document: '{SHARED}'}}]"})


@pytest.mark.parametrize("action", ["ssm:SendCommand", "ssm:GetDocument"])
def test_documents_of_aws_have_no_account_and_shared_ones_their_owners(
    naming: Synthesized, action: str
) -> None:
    arns = {
        flat(resource).replace("<AWS::Partition>", "aws").replace("<AWS::Region>", "eu-west-1")
        for _, statement in statements(naming)
        if action in listed(statement["Action"])
        for resource in listed(statement["Resource"])
    }
    of_aws = {f"arn:aws:ssm:eu-west-1::document/{name}" for name in NAMED[:-1]}
    assert {*of_aws, "arn:aws:ssm:eu-west-1:<AWS::AccountId>:document/Own", SHARED} <= arns


def test_the_end_of_a_command_is_heard_by_the_name_that_it_was_sent_with(
    naming: Synthesized,
) -> None:
    patterns = [
        r["Properties"]["EventPattern"] for r in naming.of_type("AWS::Events::Rule").values()
    ]
    details = [pattern.get("detail", {}) for pattern in patterns]
    (names,) = [detail["document-name"] for detail in details if "document-name" in detail]
    assert {*NAMED, SHARED, "Hardening"} <= {name for name in names if isinstance(name, str)}
    assert {"prefix": "AmiBakery"} in names


def test_each_launching_function_passes_its_own_kind_of_role_and_only_to_ec2(
    stack: Synthesized,
) -> None:
    """A builder's may read a recipe's artefacts: no test instance gets it."""
    passed = {
        id_.partition("Role")[0]: statement
        for id_, statement in statements(stack)
        if "iam:PassRole" in listed(statement["Action"])
    }
    for statement in passed.values():
        to_ec2 = {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}
        assert statement["Condition"] == to_ec2
    roles = {
        name: [flat(role).rstrip("0123456789ABCDEF>") for role in listed(statement["Resource"])]
        for name, statement in passed.items()
    }
    assert roles == {
        "TasksLaunchBuilder": ["<BuilderHostBuilderRole", "<BuilderHostBuilderwebRole"],
        "TasksLaunchTest": ["<BuilderHostTestRole"],
    }


def test_plan_knows_whose_images_may_be_bases_and_whose_account_this_is(
    synthesize: Synthesize, stack: Synthesized
) -> None:
    def variables(made: Synthesized) -> dict[str, Any]:
        (plan,) = [
            f["Properties"]["Environment"]["Variables"]
            for f in made.of_type("AWS::Lambda::Function").values()
            if f["Properties"]["Handler"] == "bakery.tasks.plan.handler"
        ]
        return dict(plan)

    listing = variables(synthesize(context={"base_owners": "self, amazon,099720109477"}))
    assert json.loads(listing["BASE_OWNERS"]) == ["self", "amazon", "099720109477"]
    assert flat(listing["ACCOUNT"]) == "<AWS::AccountId>"
    assert json.loads(variables(stack)["BASE_OWNERS"]) == []


@pytest.mark.parametrize("owners", ["Canonical", "99720109477", "amazon;self", "*"])
def test_a_publisher_that_is_none_is_refused(synthesize: Synthesize, owners: str) -> None:
    with pytest.raises(ContextError, match=r"base_owners\[0\]: must be an account id"):
        synthesize(context={"base_owners": owners})


def test_a_test_instance_has_a_role_and_a_profile_of_its_own(stack: Synthesized) -> None:
    (plan,) = [
        f["Properties"]["Environment"]["Variables"]
        for f in stack.of_type("AWS::Lambda::Function").values()
        if f["Properties"]["Handler"] == "bakery.tasks.plan.handler"
    ]
    builder, test = plan["DEFAULT_INSTANCE_PROFILE"], plan["TEST_INSTANCE_PROFILE"]
    assert flat(builder).startswith("<BuilderHostBuilderProfile")
    assert flat(test).startswith("<BuilderHostTestProfile")
    profile = stack.of_type("AWS::IAM::InstanceProfile")[flat(test).strip("<>")]
    assert [flat(role)[:20] for role in profile["Properties"]["Roles"]] == ["<BuilderHostTestRole"]


MANAGED = {
    "logs:CreateLogStream",
    "logs:PutLogEvents",
    "logs:DescribeLogStreams",
    "logs:DescribeLogGroups",
    "ssm:DescribeDocument",
    "ssm:GetDocument",
    "ssm:UpdateInstanceInformation",
}
REPORTS = {
    "ssm:GetDeployablePatchSnapshotForInstance",
    "ssm:GetManifest",
    "ssm:PutComplianceItems",
    "ssm:PutConfigurePackageResult",
    "ssm:PutInventory",
}
"""What documents of others call, about any instance."""


def actions_of_instances(stack: Synthesized, role: str) -> set[str]:
    """What a role may do, beside listening for commands and reading its own artefacts."""
    return {
        action
        for id_, statement in statements(stack)
        if id_.startswith(role)
        for action in listed(statement["Action"])
        if not action.startswith(("ec2messages:", "ssmmessages:", "s3:"))
    }


@pytest.mark.parametrize("role", ["BuilderHostBuilderRole", "BuilderHostTestRole"])
def test_a_builder_and_a_test_instance_can_be_managed_and_write_their_log_and_nothing_else(
    stack: Synthesized, role: str
) -> None:
    assert actions_of_instances(stack, role) == MANAGED


def test_the_builder_of_a_recipe_that_names_a_document_of_others_can_report_besides(
    stack: Synthesized, naming: Synthesized
) -> None:
    """It has a role of its own only for artefacts or secrets: one has some here."""
    assert actions_of_instances(stack, "BuilderHostBuilderwebRole") == MANAGED | REPORTS
    assert actions_of_instances(naming, "BuilderHostBuilderRole") == MANAGED | REPORTS
    assert actions_of_instances(naming, "BuilderHostTestRole") == MANAGED


@pytest.mark.parametrize("action", ["ssm:GetDocument", "ssm:DescribeDocument"])
def test_an_instance_reads_documents_of_aws_only(stack: Synthesized, action: str) -> None:
    """Any other may be a recipe's script, and a step of another recipe must not read it."""
    read = [
        (id_, flat(resource))
        for id_, statement in statements(stack)
        if id_.startswith("BuilderHost") and action in listed(statement["Action"])
        for resource in listed(statement["Resource"])
    ]
    assert len(read) == 3
    of_aws = "arn:<AWS::Partition>:ssm:<AWS::Region>::document/*"
    assert {resource for _, resource in read} == {of_aws}


def test_no_role_has_what_somebody_else_may_add_to(stack: Synthesized) -> None:
    """A managed policy of AWS grows without a deployment of ours."""
    for id_, role in stack.of_type("AWS::IAM::Role").items():
        assert "ManagedPolicyArns" not in role["Properties"], id_


def test_a_recipes_artefacts_can_be_read_by_its_own_builder_only(stack: Synthesized) -> None:
    readers = {
        id_: listed(statement["Resource"])
        for id_, statement in statements(stack)
        if "s3:GetObject" in listed(statement["Action"]) and id_.startswith("BuilderHost")
    }
    ((id_, resources),) = readers.items()
    assert id_.startswith("BuilderHostBuilderwebRole")
    assert [flat(r) for r in resources] == ["arn:<AWS::Partition>:s3:::artefacts/app.tar.gz"]


def test_a_builder_can_ask_whether_its_artefact_is_a_folder_and_list_nothing_else(
    stack: Synthesized,
) -> None:
    (listing,) = [
        s
        for id_, s in statements(stack)
        if "s3:ListBucket" in listed(s["Action"]) and id_.startswith("BuilderHost")
    ]
    assert flat(listing["Resource"]) == "arn:<AWS::Partition>:s3:::artefacts"
    assert listing["Condition"] == {"StringLike": {"s3:prefix": ["app.tar.gz", "app.tar.gz/"]}}


def test_inventories_are_kept_where_nobody_else_can_read_them(stack: Synthesized) -> None:
    ((id_, bucket),) = stack.of_type("AWS::S3::Bucket").items()
    properties = bucket["Properties"]
    assert set(properties["PublicAccessBlockConfiguration"].values()) == {True}
    (encryption,) = properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert encryption["ServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    (rule,) = properties["LifecycleConfiguration"]["Rules"]
    assert (rule["Status"], rule["ExpirationInDays"]) == ("Enabled", 1095)
    assert bucket["DeletionPolicy"] == bucket["UpdateReplacePolicy"] == "Retain"
    (policy,) = stack.of_type("AWS::S3::BucketPolicy").values()
    assert policy["Properties"]["Bucket"] == {"Ref": id_}
    denied = policy["Properties"]["PolicyDocument"]["Statement"]
    assert {s["Effect"] for s in denied} == {"Deny"}
    assert {"Bool": {"aws:SecureTransport": "false"}} in [s["Condition"] for s in denied]


def test_inventories_are_written_by_the_task_that_records_them_alone(stack: Synthesized) -> None:
    writers = [
        (id_, statement["Resource"])
        for id_, statement in statements(stack)
        if "s3:PutObject" in listed(statement["Action"])
    ]
    ((id_, resource),) = writers
    assert id_.startswith("TasksRecordInventory")
    assert flat(resource).endswith("/inventories/*")


def test_a_key_is_in_the_policy_as_it_is(synthesize: Synthesize) -> None:
    text = RECIPES["web"].replace("artefacts/app.tar.gz", "artefacts/é (1)/a&b.zip")
    (arn,) = [
        flat(resource)
        for id_, statement in statements(synthesize({"web": text}))
        if "s3:GetObject" in listed(statement["Action"]) and id_.startswith("BuilderHost")
        for resource in listed(statement["Resource"])
    ]
    assert arn.endswith(":artefacts/é (1)/a&b.zip")


@pytest.fixture(scope="module")
def crowd(synthesize: Synthesize) -> Synthesized:
    """Recipes with long names, each with an application from S3: as many as a stack's 500 resources
    hold."""
    application = RECIPES["web"].partition("customize:")[2].partition("- name: app")[2]
    each = (
        "description: one of many\nbase: {ami: ami-0123456789abcdef0}\n"
        f"customize:\n  - name: app{application.partition('schedule')[0]}"
    )
    return synthesize({f"{'name-' * 8}{number}": each for number in range(55)})


def test_every_functions_environment_fits_into_lambdas_4_kib(crowd: Synthesized) -> None:
    longest_id, longest_arn = "x" * 64, "x" * 200
    for id_, function in crowd.of_type("AWS::Lambda::Function").items():
        variables = function["Properties"].get("Environment", {}).get("Variables", {})
        texts = [*variables, *map(flat, variables.values())]
        resolved = [text.replace("<", longest_arn).replace(">", longest_id) for text in texts]
        assert len("".join(resolved).encode()) < 4096, id_


def test_a_recipe_with_a_profile_of_its_own_has_it_in_a_parameter(stack: Synthesized) -> None:
    parameter = stack.only("AWS::SSM::Parameter")
    assert parameter["Name"] == "/ami-bakery-profiles/web"
    assert parameter["Type"] == "String"
    assert flat(parameter["Value"]).startswith("<BuilderHostBuilderwebProfile")


def test_nothing_may_connect_to_a_builder(stack: Synthesized) -> None:
    group = stack.only("AWS::EC2::SecurityGroup")
    assert "SecurityGroupIngress" not in group
    assert not stack.of_type("AWS::EC2::SecurityGroupIngress")


def test_a_recipes_script_becomes_a_document_without_parameters(stack: Synthesized) -> None:
    documents = {
        d["Properties"]["Name"]: d["Properties"]
        for d in stack.of_type("AWS::SSM::Document").values()
    }
    script = documents["AmiBakery.web.packages"]
    assert script["UpdateMethod"] == "NewVersion"
    assert "parameters" not in script["Content"]
    assert script["Content"]["mainSteps"][0]["inputs"]["runCommand"] == ["dnf -y install nginx"]


def test_a_schedule_passes_its_slot_and_forces_only_when_asked(stack: Synthesized) -> None:
    schedules = {
        flat(s["Properties"]["ScheduleExpression"]): s["Properties"]
        for s in stack.of_type("AWS::Scheduler::Schedule").values()
    }
    nightly = schedules["cron(0 3 * * ? *)"]
    assert nightly["ScheduleExpressionTimezone"] == "Europe/London"
    assert nightly["FlexibleTimeWindow"] == {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 15}
    assert json.loads(nightly["Target"]["Input"]) == {
        "recipe": "web",
        "slot": "<aws.scheduler.scheduled-time>",
    }
    always = schedules["cron(30 4 ? * MON-FRI *)"]
    assert always["FlexibleTimeWindow"] == {"Mode": "OFF"}
    assert json.loads(always["Target"]["Input"])["force"] is True
    for schedule in schedules.values():
        assert "DeadLetterConfig" in schedule["Target"]
        assert schedule["Target"]["RetryPolicy"]["MaximumEventAgeInSeconds"] <= 3600


def test_the_sweeper_runs_every_minute(stack: Synthesized) -> None:
    expressions = [
        s["Properties"]["ScheduleExpression"]
        for s in stack.of_type("AWS::Scheduler::Schedule").values()
    ]
    assert "rate(1 minute)" in expressions
    inputs = [
        s["Properties"]["Target"].get("Input")
        for s in stack.of_type("AWS::Scheduler::Schedule").values()
        if s["Properties"]["ScheduleExpression"] == "rate(1 minute)"
    ]
    # Without an input of its own, Scheduler sends what looks like an event to resume one wait.
    assert inputs == ['{"sweep":true}']


def test_old_images_go_once_a_day(stack: Synthesized) -> None:
    (daily,) = [
        s["Properties"]["Target"]
        for s in stack.of_type("AWS::Scheduler::Schedule").values()
        if s["Properties"]["ScheduleExpression"] == "rate(1 day)"
    ]
    assert "JobsRetireDaily" in flat(daily["Arn"])
    (start,) = [
        statement
        for _, statement in statements(stack, "retire_daily")
        if "lambda:InvokeFunction" in listed(statement["Action"])
    ]
    (function,) = listed(start["Resource"])
    assert flat(function).startswith("<TasksRetireImages")


def test_every_rule_has_a_dead_letter_queue(stack: Synthesized) -> None:
    for id_, rule in stack.of_type("AWS::Events::Rule").items():
        for target in rule["Properties"]["Targets"]:
            assert "DeadLetterConfig" in target, id_


def test_an_event_on_which_a_job_fails_is_kept_unless_a_later_run_makes_it_good(
    stack: Synthesized,
) -> None:
    """The sweeper looks at all waits every minute, the janitor at everything."""
    ((queue, _),) = stack.of_type("AWS::SQS::Queue").items()
    kept = {
        re.sub(r"[0-9A-F]{8}$", "", it["Properties"]["FunctionName"]["Ref"]): flat(
            it["Properties"]["DestinationConfig"]["OnFailure"]["Destination"]
        )
        for it in stack.of_type("AWS::Lambda::EventInvokeConfig").values()
    }
    assert kept == dict.fromkeys(["JobsAnnounceBake", "JobsBakeDependents"], f"<{queue}>")


def test_somebody_is_told_of_a_failed_bake_and_of_what_a_good_one_left_or_left_out(
    stack: Synthesized,
) -> None:
    patterns = [
        rule["Properties"]["EventPattern"]
        for rule in stack.of_type("AWS::Events::Rule").values()
        if rule["Properties"]["EventPattern"]["source"] == ["ami-bakery"]
    ]
    assert [(p["detail-type"], p.get("detail")) for p in patterns] == [
        (["Stage Slow"], None),  # back to the sweeper, which has sent it
        (["Bake Succeeded"], None),  # for what builds on the image
        (["Bake Failed"], None),
        (["Bake Succeeded"], {"everywhere": [False]}),
        (["Bake Succeeded"], {"clean": [False]}),
        (["Orphans Removed"], None),
        (["Bake Unchanged"], {"skipped": [True]}),
        (["Stage Slow"], None),
    ]


def alarms(stack: Synthesized) -> dict[str, dict[str, Any]]:
    """The alarms on one metric, by what they watch: metric and the resource it is of."""
    found = {}
    for alarm in stack.of_type("AWS::CloudWatch::Alarm").values():
        properties = alarm["Properties"]
        if "Metrics" in properties:
            continue
        (dimension,) = properties["Dimensions"]
        found[f"{properties['MetricName']} {flat(dimension['Value'])}"] = properties
    return found


def test_a_person_is_told_of_dead_letters_and_of_jobs_that_fail(stack: Synthesized) -> None:
    (topic,) = stack.of_type("AWS::SNS::Topic")
    watched = {re.sub(r"<(\w+?)[0-9A-F]{8}>", r"\1", key) for key in alarms(stack)}
    assert {re.sub(r"AmiBakery-Store-ScheduleGroup.*", "group", key) for key in watched} == {
        "ApproximateNumberOfMessagesVisible StoreDeadLetters",
        "InvocationsFailedToBeSentToDeadLetterCount group",
        "Errors JobsResumeWaits",
        "Errors JobsAnnounceBake",
        "Errors JobsBakeDependents",
        "Errors JobsRemoveOrphans",
        "Errors JobsRetireDaily",
    }
    for alarm in stack.of_type("AWS::CloudWatch::Alarm").values():
        properties = alarm["Properties"]
        assert [flat(action) for action in properties["AlarmActions"]] == [f"<{topic}>"]
        assert properties["Threshold"] == 1
        assert properties["ComparisonOperator"] == "GreaterThanOrEqualToThreshold"
        # No message and no run are no reason for an alarm.
        assert properties["TreatMissingData"] == "notBreaching"


def test_a_person_is_told_of_what_cannot_even_become_a_dead_letter(stack: Synthesized) -> None:
    """As when the key of the queue does not let the service in that delivers."""
    watched: set[tuple[str, str]] = set()
    for alarm in stack.of_type("AWS::CloudWatch::Alarm").values():
        summed, *metrics = alarm["Properties"].get("Metrics", [None])
        if summed is None:
            continue
        assert (summed["Expression"], summed["ReturnData"]) == ("SUM(METRICS())", True)
        assert 0 < len(metrics) <= 10
        for it in metrics:
            assert it["ReturnData"] is False
            assert it["MetricStat"]["Stat"] == "Sum"
            (dimension,) = it["MetricStat"]["Metric"]["Dimensions"]
            name = it["MetricStat"]["Metric"]["MetricName"]
            watched.add((name, flat(dimension["Value"]).strip("<>")))
    with_destination = {
        flat(it["Properties"]["FunctionName"]).strip("<>")
        for it in stack.of_type("AWS::Lambda::EventInvokeConfig").values()
        if "DestinationConfig" in it["Properties"]
    }
    assert watched == {
        *(("InvocationsFailedToBeSentToDlq", rule) for rule in stack.of_type("AWS::Events::Rule")),
        *(("DestinationDeliveryFailures", function) for function in with_destination),
    }


def test_an_alarm_can_see_a_job_fail_as_often_as_it_runs(stack: Synthesized) -> None:
    """The janitor runs every 15 minutes: twice in a row of five it never does."""
    rates = {"ResumeWaits": 60, "RemoveOrphans": 900}
    for job, every in rates.items():
        (errors,) = [
            found for key, found in alarms(stack).items() if key.startswith("Errors") and job in key
        ]
        assert errors["Period"] >= every, job
        assert errors["Statistic"] == "Sum"


def test_every_schedule_is_of_the_group_whose_metrics_are_watched(stack: Synthesized) -> None:
    ((group, made),) = stack.of_type("AWS::Scheduler::ScheduleGroup").items()
    roles = stack.of_type("AWS::IAM::Role")
    for id_, schedule in stack.of_type("AWS::Scheduler::Schedule").items():
        assert schedule["Properties"]["GroupName"] == made["Properties"]["Name"], id_
        # The group is named by text: the schedule is made after it because of its role's trust.
        role = roles[flat(schedule["Properties"]["Target"]["RoleArn"]).strip("<>")]
        assert f'"{group}", "Arn"' in json.dumps(role["Properties"]["AssumeRolePolicyDocument"])


def test_the_context_chooses_network_types_logs_and_recipient(synthesize: Synthesize) -> None:
    stack = synthesize(
        context={
            "vpc_id": "vpc-0123456789abcdef0",
            "subnet_ids": "subnet-0123456789abcdef0,subnet-0123456789abcdef1",
            "instance_types": ["m6i.large"],
            "log_retention_days": "30",
            "notification_email": "platform@example.com",
        }
    )
    assert stack.only("AWS::EC2::SecurityGroup")["VpcId"] == "vpc-0123456789abcdef0"
    (plan,) = [
        f["Properties"]["Environment"]["Variables"]
        for f in stack.of_type("AWS::Lambda::Function").values()
        if f["Properties"]["Handler"] == "bakery.tasks.plan.handler"
    ]
    assert json.loads(flat(plan["SUBNET_IDS"])) == [
        "subnet-0123456789abcdef0",
        "subnet-0123456789abcdef1",
    ]
    assert json.loads(plan["DEFAULT_INSTANCE_TYPES"]) == ["m6i.large"]
    groups = stack.of_type("AWS::Logs::LogGroup").values()
    assert {g["Properties"]["RetentionInDays"] for g in groups} == {30}
    subscription = stack.only("AWS::SNS::Subscription")
    assert subscription["Endpoint"] == "platform@example.com"
    lost = flat(subscription["RedrivePolicy"]["deadLetterTargetArn"])
    assert lost.startswith("<StoreDeadLetters")


@pytest.mark.parametrize(
    ("context", "named"),
    [
        ({"vpc_id": "my-vpc"}, "vpc_id"),
        ({"vpc_id": VPC, "subnet_ids": ["subnet-1", SUBNET]}, r"subnet_ids\[0\]: .*'subnet-1'"),
        ({"subnet_ids": "[subnet-1"}, "subnet_ids: is no JSON list .*; write a,b or"),
        ({"vpc_id": VPC}, f"vpc_id is {VPC}, but subnet_ids is empty: .* name the subnets"),
        ({"vpc_id": VPC, "subnet_ids": "[]"}, "but subnet_ids is empty"),
        ({"subnet_ids": SUBNET}, "subnet_ids is given without vpc_id: .* name the VPC"),
        ({"kms_key": "my key"}, r"kms_key: must be a key's alias \(alias/...\), id or ARN"),
        (
            {"permissions_boundary": "arn:aws:iam::1:policy/x"},
            "permissions_boundary: must be a man",
        ),
        ({"permissions_boundary": "*"}, "permissions_boundary: must be a managed policy's ARN"),
        ({"data_key": "alias/data"}, "data_key: must be the ARN of a key; an alias is not enough"),
        ({"role_path": "images"}, "role_path: must be a path that begins and ends with a slash"),
        ({"role_path": "/images"}, "role_path: must be a path that begins and ends with a slash"),
        ({"role_path": "/a*/"}, "role_path: must be a path"),
        ({"role_path": "//"}, "role_path: must be a path"),
        ({"role_path": "/aws-service-role/x/"}, "role_path: paths below /aws-... are AWS's own"),
        ({"permission_boundary": "x"}, "did you mean 'permissions_boundary'"),
        ({"log_retention_days": 10}, r"log_retention_days: .* \(is: 10\)"),
        ({"notification_emial": "a@example.com"}, "did you mean 'notification_email'"),
        ({"subnet-ids": SUBNET, "kms_key": "my key"}, "'subnet_ids'.*; kms_key: must be"),
        ({"instance_types": "big one"}, "instance_types"),
        ({"notification_email": "nobody"}, "notification_email"),
        ({"egress": "10.0.0.0/16"}, "egress can only be limited in a VPC of yours"),
        ({**NETWORK, "egress": "10.0.0.1/16"}, r"egress\[0\]: must be a network .*host bits set"),
        ({**NETWORK, "egress": "pl-6da54004,sg-x"}, r"egress\[1\]: must be a network .*'sg-x'"),
        (
            {"tags": "CostCenter=1"},
            'tags: is no JSON mapping .*; write {"CostCenter": "1234"} .is: C',
        ),
        ({"tags": ["CostCenter"]}, r"tags: must be a mapping of keys to values"),
        ({"tags": {"CostCenter": 1234}}, r"tags.CostCenter: must be a text \(is: 1234\)"),
        ({"tags": {"aws:x": "y"}}, "tags: 'aws:x' begins with aws:"),
        ({"tags": {"AWS:x": "y"}}, "tags: 'AWS:x' begins with aws:"),
        ({"tags": {"ami-bakery:bake": "y"}}, "tags: 'ami-bakery:bake' begins with ami-bakery:"),
        ({"tags": {"AMI-Bakery:x": "y"}}, "tags: 'AMI-Bakery:x' begins with ami-bakery:"),
        ({"tags": {"Name": "x"}}, "tags: 'Name' is given by the bakery"),
        ({"tags": {"": "x"}}, "tags: '' must have 1 to 128 characters"),
        ({"tags": {"k" * 129: "x"}}, "tags: 'k.* must have 1 to 128 characters"),
        ({"tags": {"k": "v" * 257}}, "tags: 'k' must have a value of 1 to 256 characters"),
        ({"tags": {"k": ""}}, "tags: 'k' must have a value of 1 to 256 characters"),
        ({"tags": {"k": "a\nb"}}, r"tags: 'k' has '\\n'; tags have letters"),
        ({"tags": {"k<": "a"}}, "tags: 'k<' has '<'; tags have letters"),
        ({"tags": {"k": "1", "K": "2"}}, "tags: 'k' is there in upper and in lower case"),
        ({"tags": {f"k{it}": "v" for it in range(21)}}, "tags: must have at most 20 entries"),
        ({"tags": {f"k{it}": "v" * 200 for it in range(12)}}, "at most 2048 bytes together, as JS"),
        ({"tags": {"aws:x": "y", "Name": "z"}}, "'aws:x' begins .*; 'Name' is given"),
        ({"tag": {"k": "v"}}, "tag: is not a known key; did you mean 'tags'"),
    ],
)
def test_a_bad_context_value_is_named(
    synthesize: Synthesize, context: dict[str, Any], named: str
) -> None:
    with pytest.raises(ContextError, match=named):
        synthesize(RECIPES, context)


@pytest.mark.parametrize(
    "tags",
    [
        {"CostCenter": "1234"},
        {"Kosten-Stelle/Ä 1": "a b_c.d:e/f=g+h-i@j"},
        {"k" * 128: "v" * 256},
        {f"k{it}": "v" for it in range(20)},
    ],
)
def test_tags_are_given_as_they_are_in_json_or_in_cdk_json(tags: dict[str, str]) -> None:
    for given in (tags, json.dumps(tags)):
        app = App(context={**project_context(), "tags": given})
        assert Settings.from_context(app.node).tags == tags


def test_builders_may_reach_only_what_the_context_says(synthesize: Synthesize) -> None:
    egress = ["10.0.0.0/16", "2001:db8::/32", "pl-6da54004", "sg-0123456789abcdef0"]
    stack = synthesize(context={**NETWORK, "egress": ",".join(egress)})
    group = stack.only("AWS::EC2::SecurityGroup")
    https = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443}
    assert group["SecurityGroupEgress"] == [
        {**https, "CidrIp": egress[0]},
        {**https, "CidrIpv6": egress[1]},
        {**https, "DestinationPrefixListId": egress[2]},
        {**https, "DestinationSecurityGroupId": egress[3]},
    ]
    assert "SecurityGroupIngress" not in group


def test_context_of_others_is_left_alone() -> None:
    context = {"environment": "production", "aws:cdk:bundling-stacks": [], "owner": "web"}
    app = App(context={**project_context(), **context})
    assert Settings.from_context(app.node) == Settings()
