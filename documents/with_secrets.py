"""Runs a step's script with its secrets in the environment, and keeps them out of its output.

Put into the document of each step that names secrets, at synthesis, and run as root on the builder:

    python with_secrets.py SCRIPT NAME=secret:ID[#KEY] NAME=parameter:ID ...

Values come from Secrets Manager and Parameter Store by the instance's own role. They are in the
memory of this process and in the environment of the script, in no argument and in no file; in what
the script prints, each is replaced by ***.

The base image decides which Python there is. cloud-init is written in it, so there is one; 2.7 on
the oldest. Hence no package, not even an SDK, and the syntax that both understand.
"""

from __future__ import print_function

import hashlib
import hmac
import json
import os
import re
import resource
import signal
import ssl
import subprocess
import sys
import threading
import time

try:
    from urllib.error import HTTPError
    from urllib.request import HTTPSHandler, ProxyHandler, Request, build_opener
except ImportError:
    from urllib2 import HTTPError, HTTPSHandler, ProxyHandler, Request, build_opener

MASK = b"***"
TEXT = type(b"".decode("ascii"))
TRIES = 5
SECONDS = 10
SHORTEST_LINE = 8
"""Of a value of many lines, shorter ones (a brace, a word) are not masked by themselves."""


class CannotResolve(Exception):
    """A value cannot be had; the text says why and never has a value in it."""


# --- asking AWS ------------------------------------------------------------------------------


def opened(request, proxies=None):
    """The body of an answer; every server but the metadata service is reached as the host says."""
    handlers = [HTTPSHandler(context=ssl.create_default_context())]
    if proxies is not None:
        handlers.append(ProxyHandler(proxies))
    return build_opener(*handlers).open(request, timeout=SECONDS).read()


def metadata(path, token=None):
    """What the metadata service says, by IMDSv2; without a token, a token."""
    server = os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://169.254.169.254")
    request = Request(server.rstrip("/") + "/latest/" + path)
    if token is None:
        request.get_method = lambda: "PUT"
        request.add_header("X-aws-ec2-metadata-token-ttl-seconds", "60")
    else:
        request.add_header("X-aws-ec2-metadata-token", token)
    try:
        return again(lambda: opened(request, proxies={})).decode("utf-8")
    except Exception as error:
        raise CannotResolve("the instance's metadata service: %s" % error)


class Instance(object):
    """Where this is, and what the instance's role may."""

    def __init__(self):
        token = metadata("api/token")
        self.region = metadata("meta-data/placement/region", token)
        self.domain = metadata("meta-data/services/domain", token)
        role = metadata("meta-data/iam/security-credentials/", token).split("\n")[0]
        found = json.loads(metadata("meta-data/iam/security-credentials/" + role, token))
        self.key, self.secret, self.token = (
            found[name] for name in ("AccessKeyId", "SecretAccessKey", "Token")
        )


def call(instance, service, region, target, content):
    """One call of an API that speaks JSON, signed with Signature Version 4."""
    host = "%s.%s.%s" % (service, region, instance.domain)
    setting = "AWS_ENDPOINT_URL_" + {"ssm": "SSM", "secretsmanager": "SECRETS_MANAGER"}[service]
    url = os.environ.get(setting, "https://" + host).rstrip("/") + "/"
    body = json.dumps(content).encode("utf-8")

    def once():
        headers = signed(instance, service, region, url.split("/")[2], target, body)
        return json.loads(opened(Request(url, body, headers)).decode("utf-8"))

    try:
        return again(once)
    except HTTPError as error:
        raise CannotResolve(reason(error))
    except Exception as error:
        raise CannotResolve("%s: %s" % (url, error))


def signed(instance, service, region, host, target, body):
    """The headers of a request. Source: IAM user guide, "Create a signed AWS API request"."""
    now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    headers = {
        "content-type": "application/x-amz-json-1.1",
        "host": host,
        "x-amz-date": now,
        "x-amz-security-token": instance.token,
        "x-amz-target": target,
    }
    names = ";".join(sorted(headers))
    lines = ["%s:%s" % (name, headers[name]) for name in sorted(headers)]
    request = ["POST", "/", ""] + lines + ["", names, hashlib.sha256(body).hexdigest()]
    scope = [now[:8], region, service, "aws4_request"]
    digest = hashlib.sha256("\n".join(request).encode("utf-8")).hexdigest()
    text = "\n".join(["AWS4-HMAC-SHA256", now, "/".join(scope), digest])
    key = ("AWS4" + instance.secret).encode("utf-8")
    for part in scope + [text]:
        key = hmac.new(key, part.encode("utf-8"), hashlib.sha256).digest()
    signature = "".join("%02x" % byte for byte in bytearray(key))
    credential = "%s/%s" % (instance.key, "/".join(scope))
    headers["authorization"] = "AWS4-HMAC-SHA256 Credential=%s, SignedHeaders=%s, Signature=%s" % (
        credential,
        names,
        signature,
    )
    return headers


def again(attempt):
    """What an attempt returns; one that fails for a reason that passes is repeated."""
    for number in range(TRIES):
        try:
            return attempt()
        except HTTPError as error:
            error.text = error.read().decode("utf-8", "replace")
            passes = error.code >= 500 or error.code == 429 or "Throttling" in error.text
            if not passes or number == TRIES - 1:
                raise
        except Exception:
            if number == TRIES - 1:
                raise
        time.sleep(2**number)
    return None


def reason(error):
    """AWS's code and message. Its messages name the secret, the role and the action."""
    try:
        answer = json.loads(error.text)
        code = answer.get("__type", "").split("#")[-1]
        text = "%s: %s" % (code, answer.get("message") or answer.get("Message") or "")
        return text.encode("ascii", "replace").decode("ascii")
    except ValueError:
        return "HTTP %s" % error.code


# --- values ----------------------------------------------------------------------------------


def value_of(instance, source):
    """The text of a secret or parameter, as bytes."""
    kind, id_ = source.split(":", 1)
    if kind == "parameter":
        asked = {"Name": id_, "WithDecryption": True}
        found = call(instance, "ssm", instance.region, "AmazonSSM.GetParameter", asked)["Parameter"]
        if found["Type"] != "SecureString":
            raise CannotResolve("the parameter is a %s, no SecureString" % found["Type"])
        text = found["Value"]
    else:
        id_, _, key = id_.partition("#")
        region = id_.split(":")[3] if id_.startswith("arn:") else instance.region
        asked = {"SecretId": id_}
        found = call(instance, "secretsmanager", region, "secretsmanager.GetSecretValue", asked)
        if "SecretString" not in found:
            raise CannotResolve("the secret is binary; store it as text, in Base64 if need be")
        text = part_of(found["SecretString"], key) if key else found["SecretString"]
    if "\0" in text:
        raise CannotResolve("the value has a NUL character, which no environment variable can hold")
    return text.encode("utf-8")


def part_of(text, key):
    """One value of a secret that is a JSON object."""
    try:
        whole = json.loads(text)
    except ValueError:
        whole = None
    if not isinstance(whole, dict):
        raise CannotResolve("the secret is no JSON object, so it has no key %s" % key)
    if key not in whole:
        raise CannotResolve("the secret has no key %s" % key)
    value = whole[key]
    return value if isinstance(value, TEXT) else json.dumps(value)


# --- the script's output ---------------------------------------------------------------------


def masked_texts(values):
    """What is not printed: each value, also without blanks around it, and its longer lines."""
    texts = set()
    for value in values:
        lines = [line.strip() for line in value.splitlines()]
        texts.update([value, value.strip()])
        texts.update(line for line in lines if len(line) >= SHORTEST_LINE)
    return sorted((text for text in texts if text.strip()), key=len, reverse=True)


class Masked(object):
    """Passes on what a stream says, without the texts, however it comes in pieces."""

    def __init__(self, texts, target):
        self.texts = texts
        self.target = target
        self.pattern = re.compile(b"|".join(re.escape(text) for text in texts) or b"(?!)")
        self.rest = b""

    def feed(self, data):
        self.rest += data
        pieces, at = [], 0
        safe = self.safe(at)
        while True:
            found = self.pattern.search(self.rest, at)
            if found is None or found.start() >= safe:
                break
            pieces += [self.rest[at : found.start()], MASK]
            at = found.end()
            if at > safe:
                safe = self.safe(at)
        pieces.append(self.rest[at:safe])
        self.rest = self.rest[safe:]
        self.write(b"".join(pieces))

    def safe(self, at):
        """Where the first piece after ``at`` begins that may go on as one of the texts."""
        first = len(self.rest)
        for text in self.texts:
            start = self.rest.find(text[:1], max(at, len(self.rest) - len(text) + 1), first)
            while start >= 0 and not text.startswith(self.rest[start:]):
                start = self.rest.find(text[:1], start + 1, first)
            first = start if start >= 0 else first
        return first

    def end(self):
        self.write(self.pattern.sub(MASK, self.rest))

    def write(self, data):
        while data:
            data = data[os.write(self.target, data) :]

    def copy(self, source):
        """Until the last process that holds the stream has closed it, as the agent waits too."""
        while True:
            data = os.read(source, 65536)
            if not data:
                break
            self.feed(data)
        self.end()


# --- together --------------------------------------------------------------------------------


def resolved(arguments):
    """Name to value. Raises CannotResolve, with the name in its text."""
    instance = Instance()
    values = {}
    for argument in arguments:
        name, source = argument.split("=", 1)
        try:
            values[name.encode("utf-8")] = value_of(instance, source)
        except CannotResolve as error:
            raise CannotResolve("%s (%s): %s" % (name, source.replace(":", " ", 1), error))
    return values


def prepare():
    """What Python has changed for itself is not the script's; a dump would hold the values.

    One byte is too little for a file, and is the one limit at which Linux starts no program to
    take a dump either; at none it does, and systemd's and Ubuntu's write down environment and
    memory all the same. Source: fs/coredump.c of Linux.
    """
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (1, 1))


def run(script, values):
    """The script's exit code; it runs as the agent would run it."""
    environment = dict(getattr(os, "environb", os.environ))
    environment.update(values)
    process = subprocess.Popen(
        ["sh", "-c", script],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=prepare,
        close_fds=True,
    )
    texts = masked_texts(values.values())
    copies = [
        threading.Thread(target=Masked(texts, target).copy, args=(source.fileno(),))
        for source, target in ((process.stdout, 1), (process.stderr, 2))
    ]
    for copy in copies:
        copy.start()
    for copy in copies:
        copy.join()
    code = process.wait()
    return code if code >= 0 else 128 - code


def main(arguments):
    prepare()
    try:
        values = resolved(arguments[1:])
    except CannotResolve as error:
        print("ami-bakery: cannot resolve a secret of this step: %s" % error, file=sys.stderr)
        return 1
    return run(arguments[0], values)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
