"""The one run-time package: everything here ships to Lambda, nothing else does."""

VERSION = "0.1.0"
