"""Synthesize the stack: ``python app.py`` or ``cdk synth``. No AWS call, no Docker, no git."""

import sys

from infra.synthesize import main

if __name__ == "__main__":
    sys.exit(main())
