"""The logger of every function; the bottom layer, it imports nothing of ours."""

import json
from functools import partial

from aws_lambda_powertools import Logger

# In ASCII: a character that ends a line somewhere, or that UTF-8 has not, costs no record.
_serialized = partial(json.dumps, default=str, separators=(",", ":"))

logger: Logger = Logger(service="ami-bakery", json_serializer=_serialized)
