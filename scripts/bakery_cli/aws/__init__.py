"""What the command line asks of AWS, as an operator; the only place here that imports boto3.

It is not ``bakery.aws``: that ships to Lambda and acts in the tasks' roles; this acts as a person,
with a profile, a Region and credentials that may be missing.
"""
