"""Planted secrets of many kinds, and a look for them in whatever form they may have leaked."""

import base64
import hashlib
import html
import json
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import quote, quote_plus

SAY_ALL = """
for name in $(env | sed -n 's/^\\(IT_[0-9]*\\)=.*/\\1/p'); do
  eval "value=\\$$name"
  printf '%s=' "$name"; printf %s "$value" | sha256sum
  printf '%s\\n' "$value"
  printf '%s\\n' "$value" >&2
done
"""
"""A script as careless as can be with secrets in ``IT_1``, ``IT_2``, ...: it prints each, and its
digest."""

_TOKENS = {
    n: "cnry" + hashlib.sha256(f"canary {n}".encode()).hexdigest()[:12] for n in range(1, 31)
}


def _pem(token: str) -> str:
    # Put together here: a scan of the repository for keys shall not find one.
    lines = [base64.b64encode(f"{token} line {n:02} of a key".encode()).decode() for n in range(12)]
    body = "\n".join(lines)
    return f"-----BEGIN {'PRIVATE'} KEY-----\n{body}\n{token}\n-----END {'PRIVATE'} KEY-----"


_SHAPES: Mapping[str, str] = {
    "plain word": "{t}",
    "base64": "{b}",
    "hex": "{x}",
    "url-encoded": "a%2F{t}%3D%26%20z",
    "key in pem": "{pem}",
    "json": '{{"user": "admin", "password": "{t}", "nested": {{"a": [1, "{t}"]}}}}',
    "single quotes": "it's '{t}' isn't",
    "double quotes": 'say "{t}" now',
    "dollars": "$HOME$$${{{t}}}$(touch pwned)$((1+1))",
    "backslashes": "\\n\\t\\{t}\\\\x\\",
    "double braces": "{{{{ Bake }}}}{t}{{{{ssm-secure:/x}}}}{{{{ {t} }}}}",
    "unicode": "pässwörd-{t}-日本語",
    "emoji": "🔑{t}🔒",
    "long": "{t}-{long}",
    "newline at the end": "{t}\n",
    "newlines everywhere": "\n\n{t}\n\n{t}2\n\n",
    "blanks around": "  \t{t} \t ",
    "carriage returns": "{t}\r\nsecond {t}\r\n",
    "backticks": "`touch pwned`{t}`id`",
    "percent signs": "%s%n%d{t}%%%",
    "wildcards": "*?[a-z]{t}~root/*",
    "operators": "; touch pwned && {t} | cat > pwned & #",
    "option": "--password={t}",
    "address": "postgres://admin:{t}@db.internal:5432/app?ssl=1",
    "token of three parts": "eyJhbGciOiJIUzI1NiJ9.{b}.{x}",
    "control characters": "\x1b[31m{t}\x07\x7f\x01",
    "markup": "<a href='x'>{t}&amp;</a>",
    "mark of a here-document": "{t}\nEND-OF-STEP\nEND-OF-PROGRAM\n{t}",
    "another's beginning": "{other}",
    "another's beginning and more": "{other}{t}",
}

SECRETS: Mapping[str, str] = {
    kind: shape.format(
        t=_TOKENS[n],
        b=base64.b64encode(f"{_TOKENS[n]} in base64".encode()).decode(),
        x=f"{_TOKENS[n]} in hex".encode().hex(),
        pem=_pem(_TOKENS[n]),
        long=(_TOKENS[n] * 4000)[:50_000],
        other=_TOKENS[30],
    )
    for n, (kind, shape) in enumerate(_SHAPES.items(), start=1)
}
"""By kind; each has something in it that nothing else has."""


def leaks(secret: str, places: Iterable[tuple[str, object]]) -> set[str]:
    """In which of the places the secret is, whole or a telling part of it, plain or encoded."""
    forms = set(_forms(secret))
    return {place for place, content in places if any(form in _text(content) for form in forms)}


def _text(content: object) -> str:
    if isinstance(content, bytes):
        return content.decode(errors="replace")
    return content if isinstance(content, str) else repr(content)


def _forms(secret: str) -> Iterator[str]:
    parts = {secret, secret.strip(), *(line for line in secret.splitlines() if len(line) >= 16)}
    parts |= {token for token in _TOKENS.values() if token in secret}
    for part in parts:
        yield part
        yield from _as_json(part)
        yield html.escape(part)
        yield repr(part)[1:-1]
        yield quote(part, safe="")
        yield quote_plus(part)
        data = part.encode()
        yield data.hex()
        yield data.hex().upper()
        yield from _as_base64(data)


def _as_json(text: str) -> Iterator[str]:
    """In JSON, and in JSON within JSON, as Step Functions has it."""
    for ascii_only in (True, False):
        once = json.dumps(text, ensure_ascii=ascii_only)[1:-1]
        yield once
        yield json.dumps(once, ensure_ascii=ascii_only)[1:-1]


def _as_base64(data: bytes) -> Iterator[str]:
    """Wherever it begins in what was encoded; of its ends, what does not depend on neighbours."""
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + data).decode().rstrip("=")
        first = 4 if before else 0
        inner = encoded[first:-2] if (before + len(data)) % 3 else encoded[first:]
        yield inner
        yield inner.replace("+", "-").replace("/", "_")
