"""The user data of a Windows test instance, by which its test knows what its first boot did. Pure.

Whether user data has run is known only by what it does: it writes a mark. In the mark stands also
when the instance was launched at the earliest, so that a password that was set on the builder is
told from one that was set on the instance. ``documents/test-image-windows.yaml`` reads it.
"""

from datetime import UTC, datetime

MARK = r"$env:ProgramData\ami-bakery\user-data"
"""Where it is: as PowerShell names it."""


def user_data(bake: str, entered: datetime) -> str:
    """A script that writes the mark; the same for all tries of a launch, as its client token asks.

    The file is moved to its place when it is complete. ``bake`` has letters, digits, ``.``, ``_``
    and ``-`` only: Plan takes no other.
    """
    mark = f"{bake} {entered.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    return "\n".join(
        [
            "<powershell>",
            "$ErrorActionPreference = 'Stop'",
            r'New-Item -ItemType Directory -Force -Path "$env:ProgramData\ami-bakery" | Out-Null',
            f"[IO.File]::WriteAllText(\"{MARK}.new\", '{mark}')",
            f'[IO.File]::Move("{MARK}.new", "{MARK}")',
            "</powershell>",
            "",
        ]
    )
