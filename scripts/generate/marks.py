"""Generated parts of hand-written pages: between two comments, the rest is left alone."""

from pathlib import Path


def filled(page: Path, **parts: str) -> str:
    """The page with each part between ``<!-- name: made by `make generate` -->`` and
    ``<!-- /name -->``; raises ValueError when the page has no such place."""
    text = page.read_text(encoding="utf-8")
    for name, content in parts.items():
        begin, end = f"<!-- {name}: made by `make generate` -->", f"<!-- /{name} -->"
        before, found, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if not (found and closed):
            raise ValueError(f"{page.name} has no place for {name}: {begin} … {end}")
        text = f"{before}{begin}\n\n{content.strip()}\n\n{end}{after}"
    return text
