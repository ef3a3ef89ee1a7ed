"""Files that are made from code, and the check that none of them is stale."""
