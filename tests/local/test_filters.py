"""The local AWS takes the filters that EC2 documents, and no others: what it takes and EC2 refuses
would let the product ask for what it cannot have."""

import re
from collections.abc import Mapping
from typing import Any

import pytest
from botocore.session import get_session

from scripts.local import ec2_images, ec2_instances, ec2_spot, ec2_templates, ec2_volumes


def documented(operation: str) -> set[str]:
    """The names that botocore's model of EC2 lists for the operation."""
    shape: Any = get_session().get_service_model("ec2").operation_model(operation).input_shape
    return set(re.findall(r"<code>([a-z0-9.-]+)</code>", shape.members["Filters"].documentation))


@pytest.mark.parametrize(
    ("operation", "taken"),
    [
        ("DescribeImages", ec2_images.IMAGE_FILTERS),
        ("DescribeInstances", ec2_instances.INSTANCE_FILTERS),
        ("DescribeNetworkInterfaces", ec2_instances.INTERFACE_FILTERS),
        ("DescribeSpotInstanceRequests", ec2_spot.REQUEST_FILTERS),
        ("DescribeLaunchTemplates", ec2_templates.TEMPLATE_FILTERS),
        ("DescribeVolumes", ec2_volumes.VOLUME_FILTERS),
        ("DescribeSnapshots", ec2_volumes.SNAPSHOT_FILTERS),
    ],
)
def test_no_filter_is_taken_that_ec2_does_not_document(
    operation: str, taken: Mapping[str, Any]
) -> None:
    assert set(taken) - documented(operation) == set()
