"""What report-packages prints, parts of lists of real hosts."""

SENTINEL = "ami-bakery: bake-1 done"


def printed(facts: dict[str, str], packages: list[str]) -> str:
    """The document's output; a package is given as its fields, ``|`` between."""
    lines = [f"{name}\t{value}" for name, value in facts.items()]
    lines += ["\t".join(("package", *package.split("|"))) for package in packages]
    return "\n".join([*lines, f"packages\t{len(packages)}", SENTINEL, ""])


DEBIAN = printed(
    {
        "os-id": "debian",
        "os-version": "12",
        "os-name": "Debian GNU/Linux 12 (bookworm)",
        "kernel": "6.1.0-37-cloud-amd64",
        "machine": "x86_64",
    },
    [
        "deb|adduser|3.134|all|adduser|",
        "deb|bash|5.2.15-2+b8|amd64|bash|",
        "deb|bsdutils|1:2.38.1-5+deb12u3|amd64|util-linux|",
        "deb|gcc-12-base|12.2.0-14+deb12u1|amd64|gcc-12|",
        "deb|libc6|2.36-9+deb12u10|amd64|glibc|",
        "deb|libssl3|3.0.17-1~deb12u2|amd64|openssl|",
        "deb|linux-image-6.1.0-37-cloud-amd64|6.1.140-1|amd64|linux-signed-amd64|",
        "deb|nginx|1.28.0-1~bookworm|amd64|nginx|nginx",
        "deb|openssl|3.0.17-1~deb12u2|amd64|openssl|",
        "deb|tzdata|2025b-0+deb12u1|all|tzdata|",
    ],
)

AL2023 = printed(
    {
        "os-id": "amzn",
        "os-version": "2023",
        "os-name": "Amazon Linux 2023.8.20250721",
        "kernel": "6.1.144-170.251.amzn2023.x86_64",
        "machine": "x86_64",
    },
    [
        "rpm|amazon-ssm-agent|3.3.2299.0-1.amzn2023|x86_64"
        "|amazon-ssm-agent-3.3.2299.0-1.amzn2023.src.rpm|Amazon Linux",
        "rpm|bash|5.2.15-1.amzn2023.0.2|x86_64|bash-5.2.15-1.amzn2023.0.2.src.rpm|Amazon Linux",
        "rpm|ca-certificates|2024.2.76-1.0.amzn2023.0.2|noarch"
        "|ca-certificates-2024.2.76-1.0.amzn2023.0.2.src.rpm|Amazon Linux",
        "rpm|glibc|2.34-196.amzn2023.0.1|x86_64|glibc-2.34-196.amzn2023.0.1.src.rpm|Amazon Linux",
        "rpm|house-tools|1.0-1|noarch|(none)|(none)",
        "rpm|kernel|6.1.144-170.251.amzn2023|x86_64"
        "|kernel-6.1.144-170.251.amzn2023.src.rpm|Amazon Linux",
        "rpm|openssl-libs|1:3.2.2-1.amzn2023.0.1|x86_64"
        "|openssl-3.2.2-1.amzn2023.0.1.src.rpm|Amazon Linux",
    ],
)
