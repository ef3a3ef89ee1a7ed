"""The stack, defined with the CDK. Synthesis is offline, deterministic and calls no AWS."""

from infra.node import use_bundled_node

use_bundled_node()
