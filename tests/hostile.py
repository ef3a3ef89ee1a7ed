"""Texts that have broken other tools, and a strategy for more of the kind.

Each names a language that a bakery's texts come near to: shells, PowerShell, Systems Manager,
CloudFormation and the CDK, the states language, YAML, terminals, logs, paths, templates.
"""

import re
from itertools import product
from typing import Any

from hypothesis import strategies as st

CANARY = "canary"
"""What an executed text makes a file of."""

_TOUCH = f"touch {CANARY}"

SHELL = [
    f"{before}{_TOUCH}{after}"
    for before, after in (
        *(("$(", ")"), ("`", "`"), ("; ", ";"), ("&& ", ""), ("|| ", ""), ("| ", ""), ("|& ", "")),
        *(("\n", "\n"), ("\r\n", "\r\n"), ("'; ", "; '"), ('"; ', '; "'), ("'\"$(", ")\"'")),
        *(("x' || ", " || '"), ("'$(", ")'"), ('"$(', ')"'), ("${x:-$(", ")}"), ("$((`", "`))")),
        *(("\\'; ", "; #"), ("x\t", ""), ("$'\\n'", ""), ("(", ")"), ("{ ", "; }"), ("!", "")),
        *(("%0a", ""), ("x\u2028", ""), ("\u2018; ", "; \u2018"), ("'}}; ", "; {{'")),
        *(("none' ]; ", "; [ '"), ("'; fi; ", "; if true; then x='"), ("x\nEND\n", "\n")),
        *(("<(", ")"), (">(", ")"), ("eval ", ""), ("() { :; }; ", ""), ("env x='() { :;}; ", "'")),
        *(("a[$(", ")]"), ("${x@P}$(", ")"), ("\\$(", ")"), ("\\\n$(", ")"), ("#\n", "")),
        *(("<<X\nX\n", ""), ("case x in x) ", ";; esac"), ("trap '", "' EXIT"), ("exec ", "")),
        *(("coproc ", ""), ("time ", ""), ("$\\(", ")"), ("';'", "';'"), ("\x0c", ""), ("&", "&")),
    )
]
SHELL_WORDS = [
    *("${IFS}", f"touch${{IFS}}{CANARY}", f">{CANARY}", f">>{CANARY}", f"2>{CANARY}", "$0", "$$"),
    *("~root", "*", "?", "[a-z]", "-rf", "--help", "--", "-", "-e", "-n", "=", "a=b", "!!", "!$"),
    *("$PATH", "$SSM_Bake", "$@", "$*", "${!x}", "{a,b}", "{1..9}", "\\", "\\\\", "'", '"', "`"),
    *("'\"'\"'", "\\'", '\\"', "$", "$(", "${", ";", "&", "|", "<", ">", "(", ")", "#", "%"),
    *("%s%n", "%x%x%x%x", "%1000000000d", "\\x00", "\\0", "\\e[2J", "$'\\x24'", "<<<x", "EOF"),
]
POWERSHELL = [
    f"$(New-Item {CANARY})",
    f"; New-Item {CANARY} #",
    f'"; New-Item {CANARY}; "',
    f"'; New-Item {CANARY}; '",
    f"& {{New-Item {CANARY}}}",
    f"`nNew-Item {CANARY}",
    f"@(New-Item {CANARY})",
    f"Invoke-Expression 'New-Item {CANARY}'",
    f"| iex New-Item {CANARY}",
    f"\u2019; New-Item {CANARY}; \u2019",
    f"\u201d; New-Item {CANARY}; \u201d",
    "$env:SSM_Bake",
    "${env:PATH}",
    "%PATH%",
    "^&calc^&",
    "[System.IO.File]::Create('canary')",
    "@'\n'@\nNew-Item canary",
]
STATES = [
    *("$", "$$", "$.", "$.plan", "$$.Execution.Input", "$.plan.description", "$['plan']", "$..*"),
    *("$[?(@.x)]", "States.Format('{}', $.plan)", "States.JsonToString($)", "States.UUID()"),
    *("States.StringToJson($.x)", "States.ArrayGetItem($.x, 0)", "{% $states.input %}", "{% %}"),
    *("{% $eval('1') %}", "{%$states.context%}", "{}", "{0}", "\\{\\}", "<$.detail.recipe>"),
    *("<aws.events.event.json>", "<<x>>", '{"$.a": 1}', '{"x.$": "$.y"}', "States.ALL"),
    *("$states.result", "States.Timeout", '{"Error": "x", "Cause": "y"}', "null", "true"),
]
SYSTEMS_MANAGER = [
    *("{{ Bake }}", "{{Bake}}", "{{ ssm:secret }}", "{{ssm:/a/b}}", "{{ssm:a:3}}", "{{ssm:a:v1}}"),
    *("{{ssm-secure:pw}}", "{{ ssm-secure:/pw:2 }}", "{{ global:DATE }}", "{{ automation:ID }}"),
    *("{{{{ Bake }}}}", "{{ Bake", "Bake }}", "{{}}", "{{ }}", "{ { Bake } }", "{{\nBake\n}}"),
    *("{{ platformType }}", "{{.State}}", "{{ a b }}", "$$$$", "resolve:ssm:/a", "arn:aws:ssm:::x"),
]
CLOUDFORMATION = [
    *("{{resolve:ssm:/a:1}}", "{{resolve:ssm-secure:/pw:1}}", "{{resolve:secretsmanager:db}}"),
    *("x{{resolve:secretsmanager:db:SecretString:password}}y", "{{ resolve:ssm:a }}"),
    *("${AWS::AccountId}", "!Ref x", "!Sub ${x}", '{"Ref": "x"}', '{"Fn::Sub": "${x}"}'),
    *("Fn::ImportValue", "AWS::NoValue", "${Token[TOKEN.1]}", "#{Token[TOKEN.1]}"),
    *("x${Token[AWS.Region.9]}y", "${Token[]}", "${aws:username}", "${*}", "-1.8881545897087e+289"),
]
YAML = [
    *("!!python/object/apply:os.system [id]", "!!python/name:os.system", "!!binary x", "!x y"),
    *("&a [*a]", "*a", "<<: {a: b}", "--- x", "...", "%YAML 9", "key: value", "- item", "? x : y"),
    *(
        "yes",
        "no",
        "on",
        "~",
        "012",
        "0x1f",
        "1e3",
        ".inf",
        ".nan",
        "2026-01-31",
        "1:30",
        "@x",
        "`x",
    ),
    *("[a, b]", "{a: b}", "|\n  x", ">\n  x", "# comment", "'x", '"x', "\t", " x", "x ", ""),
]
TERMINAL = [
    *(
        "\x1b[2J",
        "\x1b[31mred",
        "\x1b]0;title\x07",
        "\x1b]8;;https://x\x1b\\link",
        "\x1b[1A\x1b[2K",
    ),
    *("\x1bPq\x1b\\", "\x1b]52;c;eA==\x07", "\x9b2J", "\x9d0;x\x9c", "\x90x\x9c", "a\rb", "a\x08b"),
    *(
        "\x07",
        "\x0b",
        "\x0c",
        "\x0e",
        "\x7f",
        "\x05",
        "\x1b[6n",
        "\x1bc",
        "\x1b[8m",
        "[red]x[/red]",
    ),
    *("[/x]", "[link=https://x]y[/link]", "[bold", ":skull:", "[[", "\\[x]", "[@click=x]y[/]"),
]
UNICODE = [
    *(
        "\u202etxt.exe",
        "a\u202db",
        "\u2066x\u2069",
        "\u2067x",
        "\u2068x",
        "\u200f",
        "\u200e",
        "\u061c",
    ),
    *(
        "\u200b",
        "\ufeff",
        "\u2028",
        "\u2029",
        "\x85",
        "\xa0",
        "\u3000",
        "\u0660\u0661",
        "\uff11\uff12",
    ),
    *(
        "\u0430dmin",
        "\ufb01",
        "\u017f",
        "\u212a",
        "e\u0301" * 50,
        "\U0001f480",
        "\U000e0041",
        "\uffff",
    ),
    *("\ud800", "a\udfffb", "\U0010ffff", "\u0000", "a\x00b", "\u2044", "\uff0f\uff0e\uff0e\uff0f"),
]
LOGS = [
    *("x\n- recipe: all is well", "x\n{'level':'INFO'}", '"}\n{"level":"INFO","message":"forged'),
    *("x\r\n[ERROR] forged", "x\nEND RequestId: 1", "${jndi:ldap://x/a}", "${${lower:j}ndi:x}"),
    *("%(message)s", "%s %d", "%(__class__)s", "\nTraceback (most recent call last):", "x\u2028y"),
]
TEMPLATES = [
    *("{recipe.__class__}", "{recipe!r}", "{0.__init__.__globals__}", "{}", "{", "}", "{{", "}}"),
    *(
        "{recipe:>9999999}",
        "{recipe}{",
        "{time",
        "{x}",
        "{ recipe }",
        "{{7*7}}",
        "${7*7}",
        "#{7*7}",
    ),
    *("<%= 7*7 %>", "{% include x %}", "{{ config }}", "{{''.__class__}}", "__import__('os')"),
    *("<script>alert(1)</script>", "' OR 1=1 --", "${{ github.token }}", "$((7*7))", "@{x}"),
]
PATHS = [
    *("../../etc/passwd", "/etc/shadow", "..", ".", "/", "//", "\\..\\x", "C:\\x", "file:///etc"),
    *("/srv/../etc", "/srv/./x", "%2e%2e%2f", "..%2f", "/proc/self/environ", "/dev/null", "~/.ssh"),
    *(
        "s3://b/../k",
        "http://169.254.169.254/",
        "https://user:pw@x/y",
        "x/\x00.txt",
        "CON",
        "/a//b",
    ),
]
TAGS = [
    *(
        "aws:x",
        "aws:cloudformation:stack-name",
        "AWS:x",
        "ami-bakery:recipe",
        "ami-bakery:",
        "Name",
    ),
    *("ssm:x", "aws", "amazon", "self", "AmiBakery-prepare-linux", "AWS-RunShellScript"),
]
LONG = [*("a" * 300, "a" * 5_000, "$(" * 2_000, "{{" * 2_000, "a\n" * 1_000, "\x1b[" * 900)]
_OPENINGS = ("$(", "`", "{{", "{{ssm:", "{%", "\x1b]0;", "'; ", '"\n', "$.", "!!", "../", "\u202e")
_MIDDLES = ("Bake", "touch canary", "resolve:ssm:/a", "$.plan", "\x00", "aws:x", "%s", "\ud800")
_ENDINGS = (")", "`", "}}", "%}", "\x07", "; '", "\r\n")
MIXED = [f"{a}{b}{c}" for a, b, c in product(_OPENINGS, _MIDDLES, _ENDINGS)]
"""What opens something, what it could be, and what closes something: they need not fit."""

CLASSICS = list(
    dict.fromkeys(
        [
            *(*SHELL, *SHELL_WORDS, *POWERSHELL, *STATES, *SYSTEMS_MANAGER, *CLOUDFORMATION),
            *(*YAML, *TERMINAL, *UNICODE, *LOGS, *TEMPLATES, *PATHS, *TAGS, *LONG),
        ]
    )
)
"""All but the mixed ones, each once."""

_NOT_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")

TAGGED = [it for it in CLASSICS if 0 < len(it) <= 256 and not _NOT_IN_XML.search(it)]
"""Those that EC2 takes as the value of a tag."""

_PARTS = [*(part for part in CLASSICS if len(part) < 60), *_OPENINGS, *_MIDDLES, *_ENDINGS]

texts: st.SearchStrategy[str] = st.lists(
    st.one_of(
        st.sampled_from(_PARTS),
        st.text(st.characters(codec=None), max_size=8),
        st.text("aZ9 .,-_/@+'\"`$(){}[];&|<>\\\n\t*?!#~^%=:\x00\x1b\u202e", max_size=12),
    ),
    min_size=1,
    max_size=5,
).map("".join)
"""Any characters, half pairs of UTF-16 included, between parts of the above."""


def ascii_only(strings: list[str], most: int) -> list[str]:
    """Those that are one line of plain ASCII, none too long."""
    return [it for it in strings if it.isascii() and it.isprintable() and len(it) <= most]


def is_plain(text: str) -> bool:
    """Whether it is one line that a terminal and a log show as it is."""
    return text.isprintable()


def strings_in(value: Any) -> list[str]:
    """Every text in plain data, keys included."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [it for pair in value.items() for part in pair for it in strings_in(part)]
    return [it for part in value for it in strings_in(part)] if isinstance(value, list) else []
