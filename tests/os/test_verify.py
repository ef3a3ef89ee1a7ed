"""verify-identity names what is left, changes nothing, and fails the bake."""

from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.local import opsworks_past
from scripts.local.runner import StepOutcome
from scripts.local.sandbox import Sandbox
from tests.os.conftest import Run
from tests.os.trees import fingerprint

pytestmark = [pytest.mark.os, pytest.mark.timeout(900)]

KEY = (
    "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEA\n-----END OPENSSH PRIVATE KEY-----\n"
)
SECRETS = {
    "/home/debian/.ssh/id_ed25519": KEY,
    "/root/.aws/credentials": "[default]\naws_secret_access_key = wJalrXUtnFEMI/K7MDENG\n",
    "/srv/app/.env": "export DB_PASSWORD=hunter2\n",
    "/srv/shop/.env.production": "APP_KEY=base64:aHVudGVyMg==\n",
    "/etc/chef-validator/validation.pem": KEY.replace("OPENSSH", "RSA"),
    "/opt/app/config.py": 'TOKEN = "ghp_0123456789abcdefghijklmnopqrstuvwxyz"\n',
    "/root/.netrc": "machine example.com login x password y\n",
    "/var/www/app/.npmrc": "//registry.example.com/:_authToken=abcdef0123456789\n",
    "/root/.docker/config.json": '{"auths": {"x": {"auth": "dXNlcjpwYXNz"}}}\n',
    "/var/backups/key.pem": KEY.replace("OPENSSH ", ""),
    "/usr/local/etc/keys": "AKIAIOSFODNN7EXAMPLE\n",
    "/home/debian/.git-credentials": "https://x:y@example.com\n",
    "/root/.my.cnf": "[client]\npassword = x\n",
}
INNOCENT = {
    "/srv/app/.env.example": "DB_PASSWORD=\nLANG=C\nKEYBOARD=us\nPUBLIC_KEY=abc\n",
    "/srv/app/public.pem": "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----\n",
    "/srv/app/README": "put aws_secret_access_key into the vault; AKIA is a prefix\n",
    "/opt/app/.npmrc": "//registry.example.com/:_authToken=${NPM_TOKEN}\n",
    "/opt/app/config.json": '{"auth": ""}\n',
}


def plant(host: Sandbox, path: str, text: str) -> None:
    opsworks_past.place(host.root, path.lstrip("/"), text)


@pytest.fixture
def ready(run: Run, boot: Callable[..., Sandbox]) -> Sandbox:
    """A host that was generalized; it passes."""
    host = boot(start=False)
    for path, text in INNOCENT.items():
        plant(host, path, text)
    host.start()
    run(host, "generalize-linux")
    run(host, "verify-identity")
    return host


def test_a_secret_in_each_of_many_places_is_named(ready: Sandbox, run: Run) -> None:
    for path, text in SECRETS.items():
        ready.write(path, text.encode(), 0o600)
    assert named(run(ready, "verify-identity", fails=True)) == sorted(SECRETS)

    # Each is found for itself, and allowed by its own path or a folder above it only.
    for path in SECRETS:
        others = [other for other in SECRETS if other != path]
        allowed = ",".join([*others, path[:-1], f"{path}/x"])
        assert named(run(ready, "verify-identity", fails=True, AllowSecrets=allowed)) == [path]
    run(ready, "verify-identity", AllowSecrets=",".join(SECRETS))
    folders = {path.rpartition("/")[0] for path in SECRETS}
    run(ready, "verify-identity", AllowSecrets=",".join(sorted(folders)))


def named(outcomes: list[StepOutcome]) -> list[str]:
    """Files with secrets; stderr, which becomes the bake's cause, has them too."""
    lines = [line.split("\t") for line in outcomes[-1].stdout.splitlines()]
    failed = sorted(line[3] for line in lines if line[0] == "check" and line[2] == "fail")
    assert all(f"identity left: secret: {path}\n" in outcomes[-1].stderr for path in failed)
    return failed


def test_many_secrets_fit_into_the_output(ready: Sandbox, run: Run) -> None:
    ready.write("/srv/key.pem", KEY.encode(), 0o600)
    ready.sh("cd /srv; for i in $(seq 1 300); do cp key.pem $(printf '%0100d' $i).pem; done")
    [outcome] = run(ready, "verify-identity", fails=True)

    assert "--output truncated--" not in outcome.stdout + outcome.stderr
    assert "281 more files with secrets" in outcome.stderr


# ruff: noqa: E501
LEFTOVERS = {
    "opsworks-packages": "mkdir -p /tmp/d/DEBIAN; printf 'Package: opsworks-agent-ruby\\nVersion: 1\\n"
    "Architecture: all\\nMaintainer: x\\nDescription: x\\n' >/tmp/d/DEBIAN/control; "
    "dpkg-deb -b /tmp/d /tmp/d.deb; dpkg -i /tmp/d.deb",
    "opsworks-agent": "mkdir -p /var/lib/aws/opsworks",
    "opsworks-services": "touch /etc/rc2.d/S99opsworks-agent",
    "opsworks-processes": "bash -c 'exec -a \"opsworks-agent: master\" sleep 1000' >/dev/null 2>&1 &",
    "opsworks-cron": "echo '* * * * * root /opt/opsworks' >>/etc/crontab",
    "opsworks-users": "useradd -c 'OpsWorks user eve' eve",
    "opsworks-sudoers": "touch /etc/sudoers.d/opsworks",
    "opsworks-hosts": "echo '# OpsWorks Layer State' >>/etc/hosts",
    "opsworks-motd": "rm -f /etc/motd; echo OpsWorks >/etc/motd",
    "opsworks-autofs": "echo '/- /etc/auto.opsworks' >/etc/auto.master",
    "opsworks-swap": "touch /var/swapfile",
    "opsworks-settings": "touch /etc/sysctl.d/70-opsworks-defaults.conf",
    "opsworks-logs-agent": "mkdir -p /opt/aws/cloudwatch; touch /opt/aws/cloudwatch/cwlogs.cfg",
    "opsworks-ecs": "mkdir -p /etc/ecs; echo ECS_LOGFILE=/log/ecs-agent.log >/etc/ecs/ecs.config",
    "opsworks-deploy-keys": "mkdir -p /root/.ssh; touch /root/.ssh/id_dsa",
    "opsworks-app-secrets": "mkdir -p /srv/www/a/shared/config; touch /srv/www/a/shared/config/ssl.key",
    "chef-secrets": "mkdir -p /var/chef/runs",
    "ssh-host-keys": "touch /etc/ssh/ssh_host_rsa_key.pub",
    "authorized-keys": "mkdir -p /root/.ssh; touch /root/.ssh/authorized_keys",
    "machine-id": "systemd-machine-id-setup",
    "cloud-init-state": "mkdir -p /var/lib/cloud/instances",
    "first-boot": "touch /etc/cloud/cloud-init.disabled",
    "hostname": "echo web1 >/etc/hostname",
    "network": "mkdir -p /etc/udev/rules.d; touch /etc/udev/rules.d/70-persistent-net.rules",
    "ssm-registration": "mkdir -p /var/lib/amazon/ssm/Vault",
    "ssm-commands": "mkdir -p /var/lib/amazon/ssm/i-1/document/orchestration/c/run",
    "registrations": "mkdir -p /var/lib/yum; touch /var/lib/yum/uuid",
    "histories": "touch /root/.bash_history",
    "root-password": "echo root:x | chpasswd",
    "apt-timers": "mkdir -p /var/lib/systemd/timers; touch /var/lib/systemd/timers/stamp-apt-daily.timer",
    "bakery": "mkdir -p /var/lib/ami-bakery",
}


def test_each_check_fails_when_its_residue_is_there(ready: Sandbox, run: Run) -> None:
    """A few residues more each time: what fails are their own checks and no others."""
    waiting = list(LEFTOVERS)
    left: set[str] = set()
    while waiting:
        few, waiting = waiting[:4], waiting[4:]
        for check in few:
            assert ready.sh(LEFTOVERS[check]).exit_code == 0, check
        left |= set(few)
        assert checks(run(ready, "verify-identity", fails=True)) == left


def checks(outcomes: list[StepOutcome]) -> set[str]:
    """Names of the checks that failed; stderr, which becomes the bake's cause, has them too."""
    lines = (line.split("\t") for line in outcomes[-1].stdout.splitlines())
    failed = {line[1] for line in lines if line[0] == "check" and line[2] == "fail"}
    assert all(f"identity left: {name}: " in outcomes[-1].stderr for name in failed)
    return failed


def test_it_only_reads(ready: Sandbox, run: Run, tmp_path: Path) -> None:
    def disk() -> dict[str, tuple[object, ...]]:
        ignored = ("run/.*", "tmp/.*", "var/log/.*", "var/lib/amazon/.*")
        return fingerprint(ready.root, ready.folder / "upper", ignored)

    before = disk()
    run(ready, "verify-identity")

    assert disk() == before


def test_a_known_past_asks_for_its_chef(ready: Sandbox, run: Run) -> None:
    ready.sh("mkdir -p /opt/chef /etc/chef")
    run(ready, "verify-identity")
    run(ready, "verify-identity", Opsworks="chef-12", fails=True)
    run(ready, "verify-identity", Opsworks="chef-12", Keep="chef")
    run(ready, "verify-identity", Opsworks="none")
