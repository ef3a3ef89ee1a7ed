"""The logger of every function; the bottom layer, it imports nothing of ours."""

from aws_lambda_powertools import Logger

logger = Logger(service="ami-bakery")
