"""What texts of a recipe look like: for the model as a pattern, for the reader in words.

Digits are ``[0-9]``: to Pydantic, ``\\d`` is any digit of Unicode.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Format:
    """A pattern, and what a text that fits it is; ``must be`` goes before it."""

    pattern: str
    words: str


ACCOUNT_ID = Format(r"^[0-9]{12}$", "an account id: 12 digits, in quotes")
AMI_ID = Format(
    r"^ami-([0-9a-f]{8}|[0-9a-f]{17})$",
    "an image id: ami- and 8 or 17 hexadecimal digits in lower case",
)
# EC2 refuses others when the image is made: "Character sets beyond ASCII are not supported".
DESCRIPTION = Format(
    r"^[\x20-\x7e]*$", "one line of plain ASCII, which is all that EC2 takes to describe an image"
)
DIRECTORY = Format(
    r"^(/[A-Za-z0-9._-]+)+$",
    "an absolute directory of letters, digits and . _ - without a slash at its end",
)
DOCUMENT = Format(
    # Lengths and characters: SSM API reference, DescribeDocument, Name.
    r"^([A-Za-z0-9_.-]{3,128}"
    r"|arn:aws[a-z-]*:ssm:[a-z0-9-]+:([0-9]{12})?:document/[A-Za-z0-9_.-]{3,128})$",
    "a document's name (3 to 128 letters, digits and . _ -), or the whole ARN of a shared one",
)
# Goes into the shell that starts a step.
ENVIRONMENT_NAME = Format(
    r"^[A-Za-z_][A-Za-z0-9_]{0,63}$",
    "the name of an environment variable: at most 64 letters, digits and _ without a digit first",
)
EMAIL = Format(r"^[^@\s]+@[^@\s]+$", "an e-mail address")
INSTANCE_ID = Format(
    r"^i-([0-9a-f]{8}|[0-9a-f]{17})$", "an instance id such as i-0123456789abcdef0"
)
INSTANCE_TYPE = Format(r"^[a-z0-9-]+\.[a-z0-9-]+$", "an instance type such as t3.medium")
KMS_KEY = Format(
    r"^(alias/[A-Za-z0-9/_-]+|arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:(key|alias)/[A-Za-z0-9/_-]+"
    r"|[0-9a-f-]{36}|mrk-[0-9a-f]{32})$",
    "a key's alias (alias/...), id or ARN",
)
KMS_KEY_ARN = Format(
    r"^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/(mrk-)?[0-9a-f-]{32,36}$",
    "the ARN of a key; an alias is not enough, log groups take none",
)
LABEL = Format(
    r"^[a-z][a-z0-9-]{0,30}[a-z0-9]$",
    "a label: 2 to 32 lower-case letters, digits and hyphens, a letter first",
)
LAUNCH_TEMPLATE_ID = Format(
    r"^lt-([0-9a-f]{8}|[0-9a-f]{17})$", "a launch template's id such as lt-0123456789abcdef0"
)
IMAGE_SEARCH = Format(
    r"^[\x20-\x7e]*[A-Za-z0-9][\x20-\x7e]*$",
    "a name in one line of plain ASCII, with a letter or digit besides its wildcards",
)
ORGANIZATION = Format(
    # Source: Organizations API reference, Organization and OrganizationalUnit, Arn.
    r"^arn:aws[a-z-]*:organizations::[0-9]{12}:"
    r"(organization/o-[a-z0-9]{10,32}|ou/o-[a-z0-9]{10,32}/ou-[0-9a-z]{4,32}-[0-9a-z]{8,32})$",
    "the ARN of an organization or of a unit of one",
)
OWNER_ID = Format(
    r"^([0-9]{12}|self|amazon)$", "an account id (12 digits, in quotes), self or amazon"
)
PARAMETER = Format(
    r"^(/[A-Za-z0-9_.-]+){1,15}$",
    "a parameter's full name: at most 15 parts of letters, digits and . _ - with a slash before "
    "each",
)
POLICY = Format(
    # Source: IAM API reference, CreatePolicy, PolicyName and Path.
    r"^(arn:aws[a-z-]*:iam::([0-9]{12}|aws):policy/)?([A-Za-z0-9_+=,.@-]+/)*[A-Za-z0-9_+=,.@-]{1,128}$",
    "a managed policy's ARN, or its name with its path: team/boundary",
)
RECIPE_NAME = Format(
    r"^[a-z][a-z0-9-]{0,46}[a-z0-9]$",
    "a recipe's name: 2 to 48 lower-case letters, digits and hyphens, a letter first",
)
REGION = Format(r"^[a-z]{2,4}(-[a-z]+)+-[0-9]$", "a Region such as eu-west-1")
RELEASE = Format(
    r"^[0-9]{4}\.[0-9]{1,2}(\.[0-9]{8})?$",
    "a release such as '2018.03' or '2023.6.20250115', in quotes",
)
ROLE_PATH = Format(
    # IAM takes more characters, but * and ? would stand for others where a policy names the role.
    # Source: IAM API reference, CreateRole, Path.
    r"^/([A-Za-z0-9_+=,.@-]{1,64}/){1,7}$",
    "a path that begins and ends with a slash: /team/bakery/",
)
SECRET = Format(
    # Source: Secrets Manager API reference, CreateSecret, Name; an ARN ends with six characters
    # that Secrets Manager adds to the name.
    r"^([A-Za-z0-9/_+=.@-]{1,512}"
    r"|arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[A-Za-z0-9/_+=.@-]{1,512}-[A-Za-z0-9]{6})$",
    "a secret's name (letters, digits and / _ + = . @ -), or its whole ARN",
)
SECRET_KEY = Format(
    r"^[A-Za-z0-9_.-]{1,128}$", "a key of the secret's JSON: letters, digits and . _ -"
)
SECRETS_PATH = Format(
    r"^(/[A-Za-z0-9._@+-]{1,80}){1,12}$",
    "an absolute path of at most 12 parts of letters, digits and . _ @ + -",
)
SHA256 = Format(r"^[0-9a-f]{64}$", "64 hexadecimal digits in lower case")
SOURCE = Format(
    # In a policy's resource, * ? and $ would stand for other keys; and a policy is of Latin-1, so
    # for another letter it would need such a ?. Source: IAM API reference, PutRolePolicy.
    r"^(s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/"
    r"[ -#%-)+->@-~\xa0-\xff]*[ -#%-)+-.0->@-~\xa0-\xff]"
    r"|https://[A-Za-z0-9.-]+(:[0-9]+)?/[A-Za-z0-9._~/%=+@,-]{1,900})$",
    "s3://BUCKET/KEY (a key of letters that Western Europe writes with, without * ? $ and without "
    "a slash at its end), or an https:// address without user, query and fragment",
)
STEP_NAME = Format(
    r"^[A-Za-z0-9][A-Za-z0-9 ._()/-]{0,59}$",
    "a name of at most 60 ASCII letters, digits, blanks and . _ ( ) / - "
    "with a letter or digit first",
)
SUBNET_ID = Format(
    r"^subnet-([0-9a-f]{8}|[0-9a-f]{17})$", "a subnet's id such as subnet-0123456789abcdef0"
)
VPC_ID = Format(r"^vpc-([0-9a-f]{8}|[0-9a-f]{17})$", "a VPC's id such as vpc-0123456789abcdef0")

WORDS = {each.pattern: each.words for each in list(vars().values()) if isinstance(each, Format)}
"""By pattern."""
