"""Functions outside the machine: they react to events or run on a schedule."""
