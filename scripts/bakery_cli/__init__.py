"""The command line ``bakery``: bake, follow, check, plan, recipes; on AWS or on the local AWS."""
