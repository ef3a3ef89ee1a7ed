"""Archives, as recipes name them."""

import io
import tarfile
import zipfile
from typing import Any

Member = tuple[str, bytes | None, dict[str, Any]]


def tar(*members: Member, kind: str = "gz") -> bytes:
    """A tar of (name, content, attributes)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=f"w:{kind}") as archive:  # type: ignore[call-overload]
        for name, content, attributes in members:
            info = tarfile.TarInfo(name)
            info.mode, info.uid, info.gid = 0o755, 1234, 1234
            for key, value in attributes.items():
                setattr(info, key, value)
            info.size = len(content or b"")
            archive.addfile(info, io.BytesIO(content or b""))
    return out.getvalue()


def zipped(*names: str) -> bytes:
    """A zip of empty files."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in names:
            archive.writestr(name, "x\n")
    return out.getvalue()
