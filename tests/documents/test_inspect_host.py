"""inspect-host tells what other documents would do to a host, and writes nothing."""

import ast
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from bakery.documents import script_of

Documents = Mapping[str, dict[str, Any]]


def script(documents: Documents, stem: str) -> str:
    (step,) = documents[stem]["mainSteps"]
    return script_of(step)


@pytest.fixture
def inspecting(documents: Documents) -> str:
    return script(documents, "inspect-host")


def block(text: str, first: str, last: str) -> str:
    """The lines from one that begins so to the first that is ``last``, both included."""
    lines = text.split("\n")
    start = next(i for i, line in enumerate(lines) if line.startswith(first))
    end = next(i for i in range(start, len(lines)) if lines[i] == last)
    return "\n".join(lines[start : end + 1])


@pytest.mark.parametrize(
    ("other", "first", "last"),
    [
        ("remove-opsworks-identity", "has_package() {", "}"),
        ("remove-opsworks-identity", "marker=", "marker=/var/lib/ami-bakery/opsworks"),
        ("remove-opsworks-identity", "opsworks_trace() {", "}"),
        ("remove-opsworks-identity", 'if [ -f "$marker" ] && [ "$variant" = auto ]', "fi"),
        ("remove-opsworks-identity", 'if [ "$variant" = auto ]; then', "fi"),
        ("remove-opsworks-identity", "agent_processes() {", "}"),
        ("verify-identity", "secret_files() {", "}"),
        ("verify-identity", "named_secrets() {", "}"),
    ],
)
def test_what_it_knows_is_what_they_know(
    documents: Documents, inspecting: str, other: str, first: str, last: str
) -> None:
    assert block(inspecting, first, last) == block(script(documents, other), first, last)


@pytest.mark.parametrize(
    ("mounts", "place", "here"),
    [
        ("", "PLACE", True),
        ("server:/srv PLACE nfs4 rw 0 0", "PLACE", False),
        ("server:/srv PLACE nfs rw 0 0", "PLACE/below", False),
        ("server:/srv PLACE/below fuse.glusterfs rw 0 0", "PLACE", True),
        ("server:/srv PLACE/bel cifs rw 0 0", "PLACE/below", True),
        ("auto.home PLACE autofs rw 0 0", "PLACE", False),
        ("/dev/xvdf PLACE ext4 rw 0 0", "PLACE", True),
        ("", "PLACE/missing", False),
    ],
)
def test_nothing_is_looked_for_on_a_server(
    inspecting: str, tmp_path: Path, mounts: str, place: str, here: bool
) -> None:
    (tmp_path / "host/below").mkdir(parents=True)
    told = tmp_path / "mounts"
    told.write_text(f"/dev/xvda1 / ext4 rw 0 0\n{mounts}\n".replace("PLACE", f"{tmp_path}/host"))
    function = block(inspecting, "here() {", "}").replace("/proc/self/mounts", str(told))
    asked = place.replace("PLACE", f"{tmp_path}/host")
    ran = subprocess.run(
        ["sh", "-ec", f'{function}\nif here "$0"; then echo here; fi', asked],
        capture_output=True,
        text=True,
    )
    assert (ran.stdout, ran.stderr) == ("here\n" if here else "", "")


def test_it_has_the_rules_for_secrets_that_verification_has(
    documents: Documents, inspecting: str
) -> None:
    (rules,) = re.findall(r"^token='.*'$", script(documents, "verify-identity"), re.M)
    assert rules in inspecting.split("\n")
    for exempt in re.findall(r"^    (/\S+)\) return 0", script(documents, "verify-identity"), re.M):
        assert exempt in inspecting


_REMOVES = re.compile(r"(?:^|[;|{]|then|do|\|\|)\s*(?:drop_tree|drop|wipe|settle) ([^;|}]*)", re.M)


def removed(text: str) -> Iterator[str]:
    """Every path that the document removes or edits."""
    for words in _REMOVES.findall(text):
        for word in words.split():
            path = word.strip('"')
            if "/" in path and not path.endswith(".ami-bakery"):
                yield path.replace("$1/", "$home/")


def test_every_path_that_goes_is_one_that_it_looks_at(
    documents: Documents, inspecting: str
) -> None:
    paths = set(removed(script(documents, "remove-opsworks-identity")))
    assert len(paths) > 60
    looked_at = inspecting.replace('"$1/', '"$home/')
    folders = tuple(f"{path}/" for path in paths)
    missing = {it for it in paths if it not in looked_at and not it.startswith(folders)}
    assert missing == set()


def test_every_name_under_which_a_recipe_may_keep_something_is_told(
    documents: Documents, inspecting: str
) -> None:
    keep = documents["remove-opsworks-identity"]["parameters"]["Keep"]["allowedPattern"]
    names = set(re.findall(r"[a-z-]+", keep)) - {"none"}
    calls = r"\b(?:files|folders|lines_of|line remove|deploy_keys) ([a-z-]+)"
    assert names <= set(re.findall(calls, inspecting))


def test_it_writes_no_file(inspecting: str) -> None:
    shell = inspecting.partition("read_chef='")[0] + inspecting.partition("chef_files() {")[2]
    code = re.sub(r"'[^']*'", "''", re.sub(r"^\s*#.*$", "", shell, flags=re.M))
    assert "<<" not in code, "bash keeps a here-document in a file"
    assert set(re.findall(r">+\s*([^&\s;)}]+)", code)) == {"/dev/null"}
    command = r"(?:^|[;|&({{]|then|do|else)\s*(?:{}) ".format
    for word in ("rm", "mv", "cp", "ln", "dd", "tee", "touch", "mkdir", "mktemp", "chmod", "chown"):
        assert not re.search(command(word), code, re.M), word
    for word in ("kill", "mount", "umount", "sync", "truncate", "install", "sed -i", "service"):
        assert not re.search(command(word), code, re.M), word
    asked = set(re.findall(r"systemctl ([a-z-]+)", code))
    assert asked == {"is-enabled", "list-units", "list-unit-files"}


def chef_reader(inspecting: str) -> str:
    return inspecting.partition("read_chef='")[2].partition("\n'\n")[0]


def test_the_reader_of_chefs_files_is_python_2_and_3_and_opens_to_read_only(
    inspecting: str,
) -> None:
    """Python 2.6 to 3: RHEL 7 and Amazon Linux 1 have no other."""
    reader = chef_reader(inspecting)
    assert "'" not in reader, "it stands in single quotes"
    tree = ast.parse(reader)
    for node in ast.walk(tree):
        assert not isinstance(node, ast.JoinedStr | ast.NamedExpr | ast.AnnAssign | ast.SetComp)
        assert not isinstance(node, ast.Dict) or not node.keys or all(node.keys)
    calls = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    opened = [it for it in calls if it.startswith(("io.open", "open"))]
    assert opened == ["io.open(path, encoding='utf-8', errors='replace')"]
    assert not re.search(r"os\.(remove|unlink|mkdir|rename|system|popen|write)", reader)


def test_it_fits_into_what_systems_manager_shows(inspecting: str) -> None:
    (room,) = re.findall(r"room = (\d+)", inspecting)
    # Beside it: one line for each kind of which some did not fit, and the last line.
    assert int(room) + 25 * 30 + 100 < 24_000
