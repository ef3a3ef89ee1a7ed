"""The only place that talks to AWS: one module per service, methods named by intention.

Errors leave here as ``bakery.errors``, never as botocore's.
"""

SERVICES = (
    "autoscaling",
    "dynamodb",
    "ec2",
    "events",
    "kms",
    "lambda",
    "logs",
    "s3",
    "ssm",
    "stepfunctions",
)
"""The services, as botocore names them, that the Lambda asset must carry."""
