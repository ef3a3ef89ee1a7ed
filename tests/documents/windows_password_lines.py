"""Every line of sysprep-windows that has to do with what may be, or hold, a password.

The script never runs where the tests run: no search for a planted password could fail. So a person
reads instead, and this is what was read. By function (the script's own part: no name), each line
with, before it, why it tells nobody a password. Lines that are long go on in an indented one.
"""

import re
from collections import Counter
from collections.abc import Iterator

NAMES = re.compile(
    # The answer, what it is cut from, settings and files that it gets into. Whatever else a value
    # was put into would be set in a line with one of these.
    r"\$\{?(?:\w+:)?(?:after|answer|before|bytes|object|parsed|settings?|text|value)(?!\w)"
    # The functions that return one of them.
    r"|\b(?:Get-Quoted|Get-SecretText|Get-Setting|Get-SpecifiedPassword|Read-Json|Read-Text)"
    r"(?![\w-])"
    # Errors quote what they are about.
    r"|\$_(?!\w)|\bcatch\b"
    # Files, and variables as a drive.
    r"|\bReadAll\w+|\bvariable:",
    re.IGNORECASE,
)

LINES = {
    "": r"""
# The last word of an error. What quotes a value or a file is caught before: Read-Json's callers.
[Console]::Error.WriteLine("sysprep-windows: $($_.Exception.Message)")
# The table of this document, before there is a password.
$settings = ConvertFrom-Json @'
# A reason for a restart.
$pending = @(Get-PendingRestart | Where-Object { $_ -cne 'files to be renamed' })
# The only place with the password outside of functions: it goes into the settings, and is cleared.
$value = Get-SpecifiedPassword
foreach ($setting in @(Get-Setting $agent)) { $setting.replace =
    $setting.replace.Replace('@PASSWORD@', (Get-Quoted $value $setting.file)) }
$value = ''
# The phase shutdown: what is wrong with a file is said in words of the table.
foreach ($setting in @(Get-Setting $agent)) {
$path = [Environment]::ExpandEnvironmentVariables($setting.file)
$problem = Get-SettingProblem $setting (Read-Text $path)
""",
    "Write-Problem": r"""
# Prints what its callers say: of folders and files of the SSM agent.
function Write-Problem($text) { [Console]::Error.WriteLine("sysprep-windows: $text") }
""",
    "Remove-EarlierCommand": r"""
# Errors of deletions, which name files.
catch { if ($try -eq 3) { Write-Problem "$folder stays: $($_.Exception.Message)" } else {
    Start-Sleep -Seconds 5 } }
try { [IO.File]::Delete($file) } catch { Write-Problem "$file stays: $($_.Exception.Message)" }
""",
    "Get-Setting": r"""
# Compares, and returns the setting with its `replace`: each caller is in this list.
function Get-Setting($agent) {
foreach ($setting in $settings) {
if ($setting.agent -cne $agent) { continue }
if ($setting.about -ceq 'name' -and $env:SSM_ComputerName -cne 'off') { continue }
if ($setting.about -ceq 'specified password' -and $env:SSM_PasswordKind -cne 'specified') {
    continue }
if ($setting.about -cmatch '^(?:no )?password' -and $env:SSM_PasswordKind -ceq 'specified') {
    continue }
$setting
""",
    "Get-SettingProblem": r"""
# Returns words of the table, nothing of the file.
function Get-SettingProblem($setting, $text) {
if ($setting.must -and -not [regex]::IsMatch($text, $setting.must)) { "$($setting.about): not as
    it must be" }
elseif ($setting.never -and [regex]::IsMatch($text, $setting.never)) { "$($setting.about): as it
    must never be" }
""",
    "Get-FileEncoding": r"""
# Looks at the first three bytes of a file.
$bytes = [IO.File]::ReadAllBytes($path)
if ($bytes.Length -gt 1 -and $bytes[0] -eq 255 -and $bytes[1] -eq 254) { return New-Object
    -TypeName Text.UnicodeEncoding -ArgumentList $false, $true, $true }
$marked = $bytes.Length -gt 2 -and $bytes[0] -eq 239 -and $bytes[1] -eq 187 -and $bytes[2] -eq
    191
""",
    "Read-Text": r"""
# Returns the file; an error that could quote it is not passed on.
function Read-Text($path) {
try { return [IO.File]::ReadAllText($path, (Get-FileEncoding $path)) }
catch { throw "$path is neither UTF-8 nor UTF-16; save it as UTF-8 in the base image or in a
    step" }
""",
    "Read-Json": r"""
# A method, which is not logged as a cmdlet is. Both callers keep its error to themselves.
function Read-Json($text) {
return ,(New-Object -TypeName
    Web.Script.Serialization.JavaScriptSerializer).DeserializeObject($text)
""",
    "Assert-Readable": r"""
# Parses the file and drops it, and the error with it.
$text = Read-Text $path
if ($path -like '*.xml') { $parsed = [xml]$text }
if ($path -like '*.json') { $parsed = Read-Json $text }
} catch { throw "$path is not what its agent can read; correct it in the base image or in a
    step" }
""",
    "Set-AgentSetting": r"""
# The agent's own file gets the password: this is what a specified one is for.
foreach ($setting in @(Get-Setting $agent)) {
$path = [Environment]::ExpandEnvironmentVariables($setting.file)
$before = Read-Text $path
$after = [regex]::Replace($before, $setting.find, $setting.replace)
$problem = Get-SettingProblem $setting $after
if ($after -cne $before) {
[IO.File]::WriteAllText($path, $after, (Get-FileEncoding $path))
# `about` is a word of the table.
Write-Output "set $($setting.about) in $path"
""",
    "Get-Utf8": r"""
# Of the request, which has the name of the secret.
function Get-Utf8($text) { return ,[Text.Encoding]::UTF8.GetBytes($text) }
""",
    "Get-Hex": r"""
# Of the request.
function Get-Hex($bytes) { return [BitConverter]::ToString($bytes).Replace('-',
    '').ToLowerInvariant() }
""",
    "Get-Digest": r"""
# Of the request.
function Get-Digest($bytes) { return Get-Hex ((New-Object -TypeName
    Security.Cryptography.SHA256CryptoServiceProvider).ComputeHash($bytes)) }
""",
    "Get-Mac": r"""
# Of the request.
function Get-Mac($key, $text) {
return ,$mac.ComputeHash((Get-Utf8 $text))
""",
    "Get-SecretText": r"""
# The answer is returned, and not said when it is none.
function Get-SecretText($id) {
$answer = Invoke-RestMethod -Method Post -Uri "https://$server/" -ContentType
    'application/x-amz-json-1.1' -Body $body -Headers $headers
if (-not $answer.psobject.Properties['SecretString']) { throw 'it is binary; store it as text' }
return $answer.SecretString
""",
    "Get-SpecifiedPassword": r"""
function Get-SpecifiedPassword {
# An error of the request: AWS's message, or that of the connection. There is no value yet.
try { $value = Get-SecretText $id }
catch { throw "secret $id cannot be read: $($_.Exception.Message) $($_.ErrorDetails)" }
# The error of the text that is no JSON quotes it, and is not passed on.
try { $object = Read-Json $value }
catch { throw "secret $id is no JSON object, so it has no key $key" }
# `key` is the name of one.
if ($object -isnot [Collections.IDictionary] -or -not $object.ContainsKey($key)) { throw "secret
    $id has no key $key" }
$value = "$($object[$key])"
# What a password must be is said with the secret's name.
if ($value -cnotmatch '^[\x20-\x7e]{6,127}\z') { throw "secret $id is no password: one line of 6
    to 127 ASCII characters" }
# The pipe has the four patterns; the value is read within the block.
$kinds = @('[A-Z]', '[a-z]', '[0-9]', '[^A-Za-z0-9]' | Where-Object { [regex]::IsMatch($value,
    $_) }).Count
if ([regex]::IsMatch($value, '(?i)administrator')) { throw "secret $id is no password for
    Windows: it has the name of the account in it" }
# To the script's own part, its only caller.
return $value
""",
    "Get-Quoted": r"""
# Methods of texts; the result is for the settings, in the script's own part.
function Get-Quoted($value, $file) {
if ($file -like '*.xml') { $text = [Security.SecurityElement]::Escape($value) }
elseif ($file -like '*.json') { $text = '"' + $value.Replace('\', '\\').Replace('"', '\"') + '"'
    }
else { $text = "'" + $value.Replace("'", "''") + "'" }
return $text.Replace('$', '$$')
""",
}

Line = tuple[str, str]
"""A function's name and a line of it."""


def known() -> Counter[Line]:
    """The lines above, and how often each may be there."""
    return Counter(
        (function, line)
        for function, block in LINES.items()
        for line in block.replace("\n    ", " ").strip().split("\n")
        if not line.startswith("#")
    )


def used(script: str) -> Counter[Line]:
    """The lines of a script that the names are in."""
    return Counter((where, line) for where, line in _lines(script) if NAMES.search(line))


def _lines(script: str) -> Iterator[Line]:
    """Without comments. Functions begin and end at the left, as all of ours do."""
    where = ""
    for line in script.split("\n"):
        begins = re.match(r"function ([\w-]+)", line)
        where = begins[1] if begins else where
        if not line.lstrip().startswith("#"):
            yield where, line.strip()
        if line == "}" or (begins and line.endswith("}")):
            where = ""
