"""EC2 images at the end of their lives: disabled, protected, and who uses them."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.bench import Bench, refused
from tests.local.test_images import available, image_of, record

ACCOUNT = "111122223333"


@pytest.fixture
def image(ec2: Bench) -> str:
    return available(ec2, image_of(ec2))


def launched(bench: Bench, image: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = bench.aws.client("ec2").describe_image_references(
        ImageIds=[image], IncludeAllResourceTypes=True
    )["ImageReferences"]
    return found


# Disabled


def test_a_disabled_image_is_hidden_launches_nothing_and_is_shared_with_nobody(
    ec2: Bench, image: str
) -> None:
    client = ec2.aws.client("ec2")
    share = {"LaunchPermission": {"Add": [{"UserId": ACCOUNT}]}}
    client.modify_image_attribute(ImageId=image, **share)
    ec2.aws.events.recorded.clear()
    assert client.disable_image(ImageId=image)["Return"]
    assert record(ec2, image)["State"] == "disabled"
    assert image not in {it["ImageId"] for it in client.describe_images(Owners=["self"])["Images"]}
    for call, code in (
        (lambda: ec2.launch(image), "InvalidAMIID.Unavailable"),
        (lambda: client.modify_image_attribute(ImageId=image, **share), "IncorrectState"),
    ):
        with pytest.raises(ClientError) as error:
            call()
        assert refused(error) == code
    snapshot = record(ec2, image)["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
    with pytest.raises(ClientError) as error:
        client.delete_snapshot(SnapshotId=snapshot)
    assert refused(error) == "InvalidSnapshot.InUse"
    # Once more changes nothing, and is no event.
    client.disable_image(ImageId=image)
    states = [it["detail"]["State"] for it in ec2.aws.events.of("EC2 AMI State Change")]
    assert states == ["disabled"]


def test_an_image_that_is_enabled_again_launches_and_is_not_shared_as_before(
    ec2: Bench, image: str
) -> None:
    client = ec2.aws.client("ec2")
    client.modify_image_attribute(
        ImageId=image, LaunchPermission={"Add": [{"UserId": ACCOUNT}, {"Group": "all"}]}
    )
    client.disable_image(ImageId=image)
    client.enable_image(ImageId=image)
    assert ec2.in_state(ec2.launch(image), "running")
    found = client.describe_image_attribute(ImageId=image, Attribute="launchPermission")
    assert found["LaunchPermissions"] == []
    assert record(ec2, image)["Public"] is False


def test_an_image_that_is_being_made_cannot_be_disabled(ec2: Bench) -> None:
    ec2.aws.ec2.durations.image = 10_000
    with pytest.raises(ClientError) as error:
        ec2.aws.client("ec2").disable_image(ImageId=image_of(ec2))
    assert refused(error) == "IncorrectState"


# Protected


def test_a_protected_image_is_not_deregistered(ec2: Bench, image: str) -> None:
    client = ec2.aws.client("ec2")
    assert record(ec2, image)["DeregistrationProtection"] == "disabled"
    client.enable_image_deregistration_protection(ImageId=image)
    assert record(ec2, image)["DeregistrationProtection"] == "enabled-without-cooldown"
    with pytest.raises(ClientError) as error:
        client.deregister_image(ImageId=image)
    assert refused(error) == "OperationNotPermitted"
    client.disable_image_deregistration_protection(ImageId=image)
    client.deregister_image(ImageId=image)


def test_protection_with_a_cooldown_lasts_a_day_longer(ec2: Bench, image: str) -> None:
    client = ec2.aws.client("ec2")
    client.enable_image_deregistration_protection(ImageId=image, WithCooldown=True)
    client.disable_image_deregistration_protection(ImageId=image)
    ec2.aws.clock.advance(hours=23)
    with pytest.raises(ClientError) as error:
        client.deregister_image(ImageId=image)
    assert refused(error) == "OperationNotPermitted"
    ec2.aws.clock.advance(hours=1)
    client.deregister_image(ImageId=image)


# In use


def test_its_last_launch_is_told_a_day_later_to_its_owner(ec2: Bench, image: str) -> None:
    client = ec2.aws.client("ec2")
    ec2.launch(image)
    assert "LastLaunchedTime" not in record(ec2, image)
    ec2.aws.clock.advance(hours=25)
    told = record(ec2, image)["LastLaunchedTime"]
    found = client.describe_image_attribute(ImageId=image, Attribute="lastLaunchedTime")
    assert found["LastLaunchedTime"]["Value"] == told


def test_references_are_found_by_kind_and_to_the_depth_that_is_asked_for(
    ec2: Bench, image: str
) -> None:
    client, ssm = ec2.aws.client("ec2"), ec2.aws.client("ssm")
    instance = ec2.launch(image)
    template = client.create_launch_template(
        LaunchTemplateName="web", LaunchTemplateData={"ImageId": image}
    )["LaunchTemplate"]["LaunchTemplateId"]
    ssm.put_parameter(Name="/web/image", Value=image, Type="String")
    prefix = "arn:aws:ec2:us-east-1:123456789012"
    assert launched(ec2, image) == [
        {
            "ImageId": image,
            "ResourceType": "ec2:Instance",
            "Arn": f"{prefix}:instance/{instance}",
        },
        {
            "ImageId": image,
            "ResourceType": "ec2:LaunchTemplate",
            "Arn": f"{prefix}:launch-template/{template}",
        },
        {
            "ImageId": image,
            "ResourceType": "ssm:Parameter",
            "Arn": "arn:aws:ssm:us-east-1:123456789012:parameter/web/image",
        },
    ]
    for _ in range(10):
        client.create_launch_template_version(
            LaunchTemplateId=template, LaunchTemplateData={"ImageId": "resolve:ssm:/web/image"}
        )
    kinds = [it["ResourceType"] for it in launched(ec2, image)]
    assert kinds == ["ec2:Instance", "ssm:Parameter"]
    deep = {"OptionName": "version-depth", "OptionValues": ["11"]}
    found = client.describe_image_references(
        ImageIds=[image],
        ResourceTypes=[{"ResourceType": "ec2:LaunchTemplate", "ResourceTypeOptions": [deep]}],
    )["ImageReferences"]
    assert [it["ResourceType"] for it in found] == ["ec2:LaunchTemplate"]


def test_a_check_of_references_says_what_to_check(ec2: Bench, image: str) -> None:
    with pytest.raises(ClientError) as error:
        ec2.aws.client("ec2").describe_image_references(ImageIds=[image])
    assert refused(error) == "MissingParameter"


def test_a_report_takes_its_time_and_is_gone_after_a_month(ec2: Bench, image: str) -> None:
    client = ec2.aws.client("ec2")
    ec2.aws.ec2.usage.elsewhere[image] = [(ACCOUNT, "ec2:Instance", 3)]
    ec2.aws.ec2.usage.report_seconds = 86_400
    given = {
        "ImageId": image,
        "ResourceTypes": [{"ResourceType": "ec2:Instance"}],
        "ClientToken": "once",
    }
    report = client.create_image_usage_report(**given)["ReportId"]
    assert client.create_image_usage_report(**given)["ReportId"] == report
    (found,) = client.describe_image_usage_reports(ImageIds=[image])["ImageUsageReports"]
    assert (found["ReportId"], found["State"]) == (report, "pending")
    asked = {"ReportIds": [report]}
    assert client.describe_image_usage_report_entries(**asked)["ImageUsageReportEntries"] == []
    ec2.aws.clock.advance(days=2)
    ec2.aws.until(
        lambda: (
            client.describe_image_usage_reports(**asked)["ImageUsageReports"][0]["State"]
            == "available"
        )
    )
    (entry,) = client.describe_image_usage_report_entries(**asked)["ImageUsageReportEntries"]
    assert (entry["AccountId"], entry["UsageCount"]) == (ACCOUNT, 3)
    ec2.aws.clock.advance(days=30)
    assert client.describe_image_usage_reports(**asked)["ImageUsageReports"] == []


# Named by what EC2 does not look at


def test_the_newest_and_default_versions_of_all_templates_are_told_at_once(ec2: Bench) -> None:
    client = ec2.aws.client("ec2")
    made = [
        client.create_launch_template(
            LaunchTemplateName=name, LaunchTemplateData={"ImageId": "resolve:ssm:/web/image:1"}
        )["LaunchTemplate"]["LaunchTemplateId"]
        for name in ("web", "api")
    ]
    for _ in range(2):
        client.create_launch_template_version(
            LaunchTemplateId=made[0], LaunchTemplateData={"ImageId": "resolve:ssm:/web/image"}
        )
    found = client.describe_launch_template_versions(Versions=["$Latest", "$Default"])
    assert [
        (it["LaunchTemplateId"], it["VersionNumber"]) for it in found["LaunchTemplateVersions"]
    ] == [(made[0], 3), (made[0], 1), (made[1], 1)]
    for wanted in ({}, {"Versions": ["1"]}):
        with pytest.raises(ClientError) as error:
            client.describe_launch_template_versions(**wanted)
        assert refused(error) == "MissingParameter"


def test_a_group_is_shown_as_it_was_made_and_launches_nothing(ec2: Bench) -> None:
    client = ec2.aws.client("autoscaling")
    policy = {
        "LaunchTemplate": {
            "LaunchTemplateSpecification": {"LaunchTemplateId": "lt-1", "Version": "2"},
            "Overrides": [{"InstanceType": "t4g.small", "ImageId": "ami-0123456789abcdef0"}],
        }
    }
    given = {"AutoScalingGroupName": "web", "MinSize": 0, "MixedInstancesPolicy": policy}
    client.create_auto_scaling_group(**given, MaxSize=0)
    with pytest.raises(ClientError) as error:
        client.create_auto_scaling_group(**given, MaxSize=0)
    assert refused(error) == "AlreadyExists"
    (shown,) = client.describe_auto_scaling_groups()["AutoScalingGroups"]
    assert shown["MixedInstancesPolicy"] == policy
    client.delete_auto_scaling_group(AutoScalingGroupName="web")
    assert client.describe_auto_scaling_groups()["AutoScalingGroups"] == []
