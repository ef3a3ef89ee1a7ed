"""The table of settings in the PowerShell documents, applied to files of each launch agent.

The documents apply it with .NET's regular expressions and these tests with Python's: what both
read alike is all that the table may use.
"""

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from functools import partial
from typing import Any
from xml.sax.saxutils import escape

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bakery.documents import script_of
from scripts.local import powershell
from tests.documents.conftest import FOLDER

Row = Mapping[str, str]
USERS = ("generalize-windows-without-sysprep", "sysprep-windows", "verify-windows")


def table_of(stem: str) -> list[Row]:
    document = yaml.safe_load((FOLDER / f"{stem}.yaml").read_text())
    (text,) = powershell.here_strings(script_of(document["mainSteps"][0]))
    rows: list[Row] = json.loads(text)
    return rows


TABLE = table_of("verify-windows")


def rows_of(file: str, *, base_name: bool = False, specified: bool = False) -> list[Row]:
    """Get-Setting, for one file."""
    rows = [row for row in TABLE if row["file"].endswith(f"\\{file}")]
    left_out = {"password", "no password in clear text"} if specified else {"specified password"}
    left_out |= {"name"} if base_name else set()
    return [row for row in rows if row["about"] not in left_out]


def quoted(password: str, file: str) -> str:
    """Get-Quoted."""
    if file.endswith(".xml"):
        text = escape(password, {'"': "&quot;", "'": "&apos;"})
    elif file.endswith(".json"):
        text = '"' + password.replace("\\", "\\\\").replace('"', '\\"') + '"'
    else:
        text = "'" + password.replace("'", "''") + "'"
    return text.replace("$", "$$")


def expanded(replacement: str, found: re.Match[str]) -> str:
    """What .NET puts in place of a match."""
    parts = {"$$": "$", **{f"${{{n}}}": text or "" for n, text in enumerate(found.groups(), 1)}}
    return re.sub(r"\$\$|\$\{\d\}", lambda part: parts[part[0]], replacement)


def edited(text: str, rows: list[Row], password: str = "") -> str:
    """What Set-AgentSetting makes of a file; raises ValueError where it throws."""
    for row in rows:
        replacement = row["replace"].replace("@PASSWORD@", quoted(password, row["file"]))
        text = re.sub(row["find"], partial(expanded, replacement), text)
        if problem := problem_of(row, text):
            raise ValueError(problem)
    return text


def problem_of(row: Row, text: str) -> str:
    """Get-SettingProblem."""
    if row["must"] and not re.search(row["must"], text):
        return f"{row['about']}: not as it must be"
    if row["never"] and re.search(row["never"], text):
        return f"{row['about']}: as it must never be"
    return ""


def problems_of(text: str, rows: list[Row]) -> list[str]:
    """What verify-windows has to say."""
    return [problem for row in rows if (problem := problem_of(row, text))]


# --- the table itself ---------------------------------------------------------------------------


def test_every_document_has_the_same_table() -> None:
    assert [table_of(stem) for stem in USERS] == [TABLE] * len(USERS)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row['agent']} {row['about']}")
def test_a_row_reads_alike_in_net_and_python(row: Row) -> None:
    assert row.keys() == {"agent", "about", "file", "find", "replace", "must", "never"}
    assert row["must"] or row["never"], "nothing would be verified"
    for pattern in (row["find"], row["must"], row["never"]):
        re.compile(pattern)
        # Groups by name, look-behind, anchors, classes and quantifiers that only one of them has.
        assert not re.search(r"\(\?[<P#>'ax-]|\\[zZGApPwdbKR]|[*+?}]\+|\[\[|\[.*&&", pattern)
        assert re.findall(r"\(\?[a-z]+\)", pattern) in ([], [pattern[:4]])
    assert re.fullmatch(r"(\$\{\d\}|[^$\\])*", row["replace"])


# --- EC2Config ------------------------------------------------------------------------------------

# Names: EC2 user guide, "Configure a Windows instance using the EC2Config service".
PLUGINS = {
    "Ec2SetPassword": "Disabled",
    "Ec2SetComputerName": "Enabled",
    "Ec2InitializeDrives": "Enabled",
    "Ec2EventLog": "Disabled",
    "Ec2ConfigureRDP": "Disabled",
    "Ec2OutputRDPCert": "Enabled",
    "Ec2SetDriveLetter": "Enabled",
    "Ec2WindowsActivate": "Enabled",
    "Ec2DynamicBootVolumeSize": "Disabled",
    "Ec2HandleUserData": "Disabled",
    "Ec2ElasticGpuSetup": "Enabled",
    "Ec2FeatureLogging": "Enabled",
    "AWS.EC2.Windows.CloudWatch.PlugIn": "Disabled",
}
GLOBALS = """  <GlobalSettings>
    <ManageShutdown>true</ManageShutdown>
    <SetDnsSuffixList>true</SetDnsSuffixList>
    <WaitForMetaDataAvailable>true</WaitForMetaDataAvailable>
    <ShouldAddRoutes>true</ShouldAddRoutes>
    <RemoveCredentialsfromSyspreponStartup>true</RemoveCredentialsfromSyspreponStartup>
  </GlobalSettings>
"""


def config_xml(states: Mapping[str, str]) -> str:
    plugins = "".join(
        f"    <Plugin>\n      <Name>{name}</Name>\n      <State>{state}</State>\n    </Plugin>\n"
        for name, state in states.items()
    )
    return (
        '<?xml version="1.0" standalone="yes"?>\n<Ec2ConfigurationSettings>\n'
        f"  <Plugins>\n{plugins}  </Plugins>\n{GLOBALS}</Ec2ConfigurationSettings>\n"
    )


def states_in(text: str) -> dict[str, str]:
    plugins = ET.fromstring(text).iter("Plugin")
    return {str(it.findtext("Name")): str(it.findtext("State")).strip() for it in plugins}


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("before", ["Enabled", "Disabled", "", " Disabled\n "])
def test_config_xml_is_as_the_guide_says_and_nothing_else_changes(before: str, ending: str) -> None:
    names = ("Ec2SetPassword", "Ec2HandleUserData", "Ec2SetComputerName")
    text = config_xml({**PLUGINS, **dict.fromkeys(names, before)}).replace("\n", ending)
    rows = rows_of("Config.xml")

    after = edited(text, rows)

    wanted = {"Ec2SetPassword": "Enabled", "Ec2HandleUserData": "Enabled"}
    assert states_in(after) == {**PLUGINS, **wanted, "Ec2SetComputerName": "Disabled"}
    assert problems_of(after, rows) == []
    assert edited(after, rows) == after
    assert after.count("\r") == after.count("\n") * (ending == "\r\n")


def test_config_xml_that_is_not_right_yet_is_no_proof() -> None:
    assert problems_of(config_xml(PLUGINS), rows_of("Config.xml")) == [
        "user data: not as it must be",
        "password: not as it must be",
        "name: as it must never be",
    ]


def test_the_computer_name_stays_as_in_the_base_if_the_recipe_says_so() -> None:
    after = edited(config_xml(PLUGINS), rows_of("Config.xml", base_name=True))

    assert states_in(after)["Ec2SetComputerName"] == "Enabled"


@pytest.mark.parametrize("missing", ["Ec2SetPassword", "Ec2HandleUserData"])
def test_config_xml_without_a_plugin_is_refused(missing: str) -> None:
    states = {name: state for name, state in PLUGINS.items() if name != missing}
    commented = config_xml(states).replace(
        "</Plugins>",
        f"<!-- <Plugin><Name>{missing}</Name><State>Enabled</State></Plugin> --></Plugins>",
    )

    for text in (config_xml(states), commented):
        with pytest.raises(ValueError, match="must"):
            edited(text, rows_of("Config.xml"))


def test_bundle_config_sets_a_password_after_sysprep() -> None:
    text = """<?xml version="1.0"?>
<BundleConfig>
  <Property><Name>AutoSysprep</Name><Value>No</Value></Property>
  <Property><Name>SetRDPCertificate</Name><Value>No</Value></Property>
  <Property><Name>SetPasswordAfterSysprep</Name><Value>No</Value></Property>
</BundleConfig>
"""
    after = edited(text, rows_of("BundleConfig.xml"))

    values = {str(it.findtext("Name")): it.findtext("Value") for it in ET.fromstring(after)}
    assert values == {
        "AutoSysprep": "No",
        "SetRDPCertificate": "No",
        "SetPasswordAfterSysprep": "Yes",
    }


# --- EC2Launch v1 -------------------------------------------------------------------------------

# Source: EC2 user guide, "Configure EC2Launch v1 on your Windows instance".
LAUNCH_CONFIG = {
    "setComputerName": False,
    "setMonitorAlwaysOn": True,
    "setWallpaper": True,
    "addDnsSuffixList": True,
    "extendBootVolumeSize": True,
    "handleUserData": True,
    "adminPasswordType": "Random",
    "adminPassword": "",
}


@pytest.mark.parametrize("indent", [None, 4, "\t"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"handleUserData": False, "adminPasswordType": "DoNothing", "setComputerName": True},
        {"adminPasswordType": "Specify", "adminPassword": 'pa"ss\\word'},
        {"adminPasswordType": "Specify", "adminPassword": "C:\\"},
    ],
)
def test_launch_config_runs_user_data_and_makes_a_password(
    changes: dict[str, Any], indent: int | str | None
) -> None:
    text = json.dumps({**LAUNCH_CONFIG, **changes}, indent=indent)
    rows = rows_of("LaunchConfig.json")

    after = edited(text, rows)

    assert json.loads(after) == LAUNCH_CONFIG
    assert problems_of(after, rows) == []
    assert (problems_of(text, rows) == []) == (changes == {})


def test_launch_config_may_be_written_with_capitals_as_the_agent_takes_it() -> None:
    text = json.dumps({key[0].upper() + key[1:]: value for key, value in LAUNCH_CONFIG.items()})

    assert edited(text, rows_of("LaunchConfig.json")) == text


@pytest.mark.parametrize("missing", ["handleUserData", "adminPasswordType"])
def test_launch_config_without_a_setting_is_refused(missing: str) -> None:
    text = json.dumps({key: value for key, value in LAUNCH_CONFIG.items() if key != missing})

    with pytest.raises(ValueError, match="not as it must be"):
        edited(text, rows_of("LaunchConfig.json"))


# --- EC2Launch v2 -------------------------------------------------------------------------------

# Source: EC2 user guide, "EC2Launch v2 task configuration", the file that the agent comes with.
AGENT_CONFIG = """version: 1.1
config:
  - stage: boot
    tasks:
      - task: extendRootPartition
  - stage: preReady
    tasks:
      - task: activateWindows
        inputs:
          activation:
            type: amazon
      - task: setDnsSuffix
        inputs:
          suffixes:
            - $REGION.ec2-utilities.amazonaws.com
      - task: setAdminAccount
        inputs:
          password:
            type: random
      - task: setWallpaper
        inputs:
          path: C:\\ProgramData\\Amazon\\EC2Launch\\wallpaper\\Ec2Wallpaper.jpg
          attributes:
            - hostName
            - instanceId
  - stage: postReady
    tasks:
      - task: startSsm
"""
AGENT_ROWS = rows_of("agent-config.yml")
PASSWORD = "        inputs:\n          password:\n            type: random\n"


def admin_accounts(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    tasks = [task for stage in config["config"] for task in stage["tasks"] or []]
    return [task.get("inputs") or {} for task in tasks if task["task"] == "setAdminAccount"]


def names_set(config: Mapping[str, Any]) -> bool:
    tasks = [task for stage in config["config"] for task in stage["tasks"] or []]
    return any(task["task"] == "setHostName" for task in tasks)


def test_the_agents_own_configuration_is_right_as_it_is() -> None:
    assert edited(AGENT_CONFIG, AGENT_ROWS) == AGENT_CONFIG
    assert problems_of(AGENT_CONFIG, AGENT_ROWS) == []


@pytest.mark.parametrize(
    "inputs",
    [
        ["password:", "  type: static", "  data: s3cr3t"],
        ["password:", "  data: s3cr3t # x", "  type: static"],
        ["name: Admin", "password:", "  type: doNothing"],
        ["", "# the account", "password:", "    ", '  type: "static"'],
        ["\n# far left", "password:", "  type: static # why"],
    ],
)
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_another_password_becomes_a_random_one(inputs: list[str], ending: str) -> None:
    lines = "".join(f"          {line}\n" for line in inputs)
    text = AGENT_CONFIG.replace(PASSWORD, f"        inputs:\n{lines}").replace("\n", ending)
    assert problems_of(text, AGENT_ROWS) != []

    after = edited(text, AGENT_ROWS)

    found, before = yaml.safe_load(after), yaml.safe_load(text)
    (account,) = admin_accounts(found)
    assert account["password"] == {"type": "random"}
    assert "s3cr3t" not in after
    assert {**account, "password": 0} == {**admin_accounts(before)[0], "password": 0}
    assert after.count("\r") == after.count("\n") * (ending == "\r\n")


def test_an_account_without_inputs_has_a_random_password_anyway() -> None:
    text = AGENT_CONFIG.replace(PASSWORD, "")

    assert edited(text, AGENT_ROWS) == text


@pytest.mark.parametrize(
    "task",
    [
        "      - task: setHostName\n        inputs:\n          reboot: true\n",
        "      - task: setHostName\n",
        "      - task: setHostName\n\n        # why\n        inputs:\n\n          reboot: false\n",
    ],
)
@pytest.mark.parametrize("after_task", ["activateWindows", "startSsm"])
def test_the_computer_name_is_left_alone(task: str, after_task: str) -> None:
    place = f"      - task: {after_task}\n"
    text = AGENT_CONFIG.replace(place, task + place)
    last = AGENT_CONFIG + task
    rows = AGENT_ROWS

    for given_text in (text, last, last.rstrip("\n")):
        assert problems_of(given_text, rows) == ["name: as it must never be"]
        after = edited(given_text, rows)
        assert yaml.safe_load(after) == yaml.safe_load(AGENT_CONFIG)


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(yaml.safe_load(AGENT_CONFIG)),
        AGENT_CONFIG.replace("task: setAdminAccount", "task: setWallpaper"),
        AGENT_CONFIG.replace("- task: setAdminAccount", "- # task: setAdminAccount\n        a: b"),
        AGENT_CONFIG.replace(PASSWORD, "        inputs: {password: {type: static, data: x}}\n"),
        AGENT_CONFIG.replace(
            PASSWORD, '        inputs:\n          password:\n            "type": static\n'
        ),
        AGENT_CONFIG.replace(PASSWORD, PASSWORD + '            "data": s3cr3t\n'),
        AGENT_CONFIG.replace("      - task: startSsm", "      - {task: setHostName}"),
    ],
)
def test_a_form_that_is_not_known_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must"):
        edited(text, AGENT_ROWS)


@settings(deadline=None)
@given(data=st.data())
def test_whatever_the_file_looks_like_it_is_right_or_refused(data: st.DataObject) -> None:
    """Never does a file pass with another password than a random one, or with a name that is set;
    and what was not to be changed is not."""
    config = yaml.safe_load(AGENT_CONFIG)
    kind = data.draw(st.sampled_from(["random", "static", "doNothing"]))
    password = {"type": kind} | ({"data": "s3cr3t"} if kind == "static" else {})
    order = data.draw(st.permutations(sorted(password)))
    account = {"name": "Admin", "password": {key: password[key] for key in order}}
    keys = data.draw(st.permutations(sorted(account)))
    config["config"][1]["tasks"][2]["inputs"] = {key: account[key] for key in keys}
    if data.draw(st.booleans()):
        stage = config["config"][data.draw(st.sampled_from([1, 2]))]["tasks"]
        stage.insert(
            data.draw(st.integers(0, len(stage))),
            {"task": "setHostName", "inputs": {"reboot": True}},
        )
    flow, sort_keys = data.draw(st.sampled_from([None, False])), data.draw(st.booleans())
    text = yaml.safe_dump(
        config,
        sort_keys=sort_keys,
        default_flow_style=flow,
        indent=data.draw(st.sampled_from([2, 4])),
    )
    lines = text.split("\n")
    noises = data.draw(st.lists(st.sampled_from(["", "# x", "            # type: static"])))
    for noise in noises:
        lines.insert(data.draw(st.integers(0, len(lines) - 1)), noise)
    text = data.draw(st.sampled_from(["\n", "\r\n"])).join(lines)
    wanted = yaml.safe_load(text)

    try:
        after = edited(text, AGENT_ROWS)
    except ValueError:
        # Keys in another order, a part in braces, or a comment that looks like a setting.
        assert sort_keys or flow is None or any("static" in noise for noise in noises)
        return
    found = yaml.safe_load(after)
    (account,) = admin_accounts(found)
    assert account["password"] == {"type": "random"}
    assert not names_set(found)
    admin_accounts(wanted)[0]["password"] = {"type": "random"}
    for stage in wanted["config"]:
        stage["tasks"] = [task for task in stage["tasks"] if task["task"] != "setHostName"]
    assert found == wanted


# --- a password that the recipe specifies -------------------------------------------------------

PASSWORDS = [
    "s3cr3t",
    "pa ss: #word",
    "it's 'quoted' and \"so\"",
    "$1${1}$$&`~ $_",
    "back\\slash\\\\ \\n \\u0041",
    "<a & b>]]>-->",
    "p\u00e4ssw\u00f6rd-\u65e5\u672c",
    "@PASSWORD@",
    "- {x: [y]} !tag %",
]
SPECIFIED = {
    file: rows_of(file, specified=True)
    for file in (
        *("Config.xml", "BundleConfig.xml", "sysprep2008.xml"),
        *("LaunchConfig.json", "agent-config.yml"),
    )
}
UNATTEND = """<?xml version="1.0" encoding="utf-8"?>
<unattend xmlns="urn:schemas-microsoft-com:unattend">
  <settings pass="specialize">
    <component name="Microsoft-Windows-Shell-Setup"><CopyProfile>true</CopyProfile></component>
  </settings>
  <settings pass="oobeSystem">
    <component name="Microsoft-Windows-Shell-Setup">
      <OOBE>
        <HideEULAPage>true</HideEULAPage>
        <ProtectYourPC>3</ProtectYourPC>
      </OOBE>
      <TimeZone>UTC</TimeZone>
    </component>
  </settings>
</unattend>
"""
SPACE = "{urn:schemas-microsoft-com:unattend}"


def answered(text: str) -> list[tuple[str | None, str | None]]:
    """Each administrator's password in an answer file, and whether it is plain."""
    return [
        (it.findtext(f"{SPACE}Value"), it.findtext(f"{SPACE}PlainText"))
        for it in ET.fromstring(text).iter(f"{SPACE}AdministratorPassword")
    ]


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize(
    "before",
    [
        "",
        "<UserAccounts></UserAccounts>",
        "<UserAccounts>\n<AdministratorPassword><Value>old</Value><PlainText>true</PlainText>"
        "</AdministratorPassword>\n</UserAccounts>",
        "<UserAccounts><AdministratorPassword><Value /></AdministratorPassword></UserAccounts>",
    ],
)
def test_ec2config_gets_it_in_the_answer_file_of_sysprep(password: str, before: str) -> None:
    text = UNATTEND.replace("</OOBE>", f"</OOBE>{before}")
    rows = SPECIFIED["sysprep2008.xml"]

    after = edited(text, rows, password)

    assert answered(after) == [(password, "true")]
    assert problems_of(after, rows) == []
    assert edited(after, rows, password) == after
    assert ET.fromstring(after).find(f".//{SPACE}TimeZone") is not None


@pytest.mark.parametrize(
    "text",
    [
        UNATTEND.replace("OOBE>", "Other>"),
        UNATTEND.replace("</OOBE>", "</OOBE><!-- <UserAccounts> -->"),
        UNATTEND.replace("<TimeZone>", "<UserAccounts><LocalAccounts/></UserAccounts><TimeZone>"),
        UNATTEND.replace("</OOBE>", "</OOBE><UserAccounts><LocalAccounts/></UserAccounts>"),
    ],
)
def test_an_answer_file_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="specified password"):
        edited(text, SPECIFIED["sysprep2008.xml"], "s3cr3t")


def test_ec2config_makes_no_other_password_then() -> None:
    rows, before = SPECIFIED["Config.xml"], config_xml({**PLUGINS, "Ec2SetPassword": "Enabled"})
    assert "specified password: not as it must be" in problems_of(before, rows)

    assert states_in(edited(before, rows))["Ec2SetPassword"] == "Disabled"
    bundle = "<BundleConfig><Property><Name>SetPasswordAfterSysprep</Name><Value>{}</Value>"
    assert edited(bundle.format("Yes"), SPECIFIED["BundleConfig.xml"]) == bundle.format("No")


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize("indent", [None, 4])
def test_ec2launch_v1_gets_it_in_its_configuration(password: str, indent: int | None) -> None:
    text = json.dumps({**LAUNCH_CONFIG, "adminPassword": "old\\"}, indent=indent)
    rows = SPECIFIED["LaunchConfig.json"]
    assert problems_of(text, rows) != []

    after = edited(text, rows, password)

    wanted = {"adminPasswordType": "Specify", "adminPassword": password}
    assert json.loads(after) == {**LAUNCH_CONFIG, **wanted}
    assert problems_of(after, rows) == []
    assert edited(after, rows, password) == after


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize(
    "inputs",
    [
        ["password:", "  type: random"],
        ["password:", "  type: random # why"],
        ["password:", "  type: static", "  data: old"],
        ["name: Admin", "password:", "  type: doNothing"],
    ],
)
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_ec2launch_v2_gets_it_in_its_configuration(
    password: str, inputs: list[str], ending: str
) -> None:
    lines = "".join(f"          {line}\n" for line in inputs)
    text = AGENT_CONFIG.replace(PASSWORD, f"        inputs:\n{lines}").replace("\n", ending)
    rows = SPECIFIED["agent-config.yml"]

    after = edited(text, rows, password)

    found, before = yaml.safe_load(after), yaml.safe_load(text)
    (account,) = admin_accounts(found)
    assert account.pop("password") == {"type": "static", "data": password}
    admin_accounts(before)[0].pop("password")
    assert found == before
    assert problems_of(after, rows) == []
    assert edited(after, rows, password) == after


@pytest.mark.parametrize(
    "text",
    [
        AGENT_CONFIG.replace(PASSWORD, ""),
        AGENT_CONFIG.replace(PASSWORD, "        inputs: {password: {type: random}}\n"),
        AGENT_CONFIG.replace("      type: random", "      data: old\n            type: static"),
        AGENT_CONFIG.replace("task: setAdminAccount", "task: setWallpaper"),
    ],
)
def test_a_configuration_of_another_form_is_refused_then_too(text: str) -> None:
    with pytest.raises(ValueError, match="specified password"):
        edited(text, SPECIFIED["agent-config.yml"], "s3cr3t")


@pytest.mark.parametrize("file", SPECIFIED)
def test_what_is_verified_is_what_the_recipe_says(file: str) -> None:
    texts = {
        "Config.xml": config_xml({**PLUGINS, "Ec2SetPassword": "Enabled"}),
        "LaunchConfig.json": json.dumps(LAUNCH_CONFIG),
        "agent-config.yml": AGENT_CONFIG,
        "sysprep2008.xml": UNATTEND,
        "BundleConfig.xml": "<Name>SetPasswordAfterSysprep</Name><Value>Yes</Value>",
    }
    rows = [it for it in SPECIFIED[file] if it["about"] == "specified password"]
    after = edited(texts[file], rows, "s3cr3t")

    assert problems_of(texts[file], rows) != []
    # Whether an answer file has a password, verify-windows looks for itself.
    if file != "sysprep2008.xml":
        assert [it for it in problems_of(after, rows_of(file)) if "password" in it]


def test_a_password_is_in_nothing_that_the_documents_print() -> None:
    """Nor in the text of an error: where one would quote it, another is thrown. That no cmdlet is
    given it, whatever PowerShell logs, is a rule of `scripts/local/powershell.py`."""
    script = script_of(
        yaml.safe_load((FOLDER / "sysprep-windows.yaml").read_text())["mainSteps"][0]
    )
    said = r"(?:Write-(?:Output|Problem)|throw) .*\$(?:value|answer|found|text|setting\.replace)\b"
    assert re.findall(said, script) == []
    assert re.findall(said, 'throw "it is $value"') != []
    for call in (
        "Read-Json $value",
        "Read-Json $text",
        "[xml]$text",
        "Get-SecretText $id",
    ):
        (at,) = [
            n for n, it in enumerate(script.split("\n")) if call in it and "function" not in it
        ]
        before = script.split("\n")[at - 2 : at + 1]
        assert any("try {" in it for it in before), call
