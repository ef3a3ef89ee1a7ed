"""Applications that no document may harm, as they lie on hosts that OpsWorks ran."""

import subprocess
from pathlib import Path

from scripts.local.opsworks_past import place
from scripts.local.sandbox import Sandbox

_SERVER = '#!/bin/sh\necho "$$" >/run/shop.pid\nexec sleep 100000\n'
_UNIT = "[Unit]\nDescription=shop\n[Service]\nExecStart=/srv/www/shop/current/server\n"
_INIT = (
    "#!/bin/sh\n### BEGIN INIT INFO\n# Provides: shop\n# Required-Start: $remote_fs\n"
    "# Required-Stop: $remote_fs\n# Default-Start: 2 3 4 5\n# Default-Stop: 0 1 6\n"
    '### END INIT INFO\n[ "$1" != start ] || setsid /srv/www/shop/current/server '
    "</dev/null >/dev/null 2>&1 &\n"
)

FILES = {
    "srv/www/shop/current/server": (_SERVER, 0o755),
    "srv/www/shop/current/public/index.html": ("<h1>shop</h1>\n", 0o644),
    "srv/www/shop/current/opsworks-notes.txt": ("we came from OpsWorks\n", 0o644),
    "srv/www/shop/shared/config/settings.yml": ("currency: EUR\n", 0o644),
    "srv/www/shop/shared/log/production.log": ("GET /\n", 0o644),
    "etc/apache2/ssl/dhparams.pem": ("-----BEGIN DH PARAMETERS-----\n", 0o644),
    "etc/nginx/sites-enabled/shop": ("server { server_name shop; }\n", 0o644),
    "etc/cron.d/shop": ("0 3 * * * deploy /srv/www/shop/current/nightly\n", 0o644),
    "etc/sudoers.d/shop": ("deploy ALL=(root) NOPASSWD: /usr/sbin/service shop restart\n", 0o440),
    "etc/environment": ("http_proxy=http://proxy.example.com:3128\n", 0o644),
    "etc/logrotate.d/shop": ("/srv/www/shop/shared/log/*.log { weekly }\n", 0o644),
    "etc/init.d/shop": (_INIT, 0o755),
    "etc/monit/conf.d/node_web_app_shop.monitrc": (
        "check process shop with pidfile /run/shop.pid\n",
        0o600,
    ),
    "etc/monit.d/node_web_app_shop.monitrc": (
        "check process shop with pidfile /run/shop.pid\n",
        0o600,
    ),
    "home/alice/notes.txt": ("alice\n", 0o644),
    "home/alice/.ssh/config": ("Host shop\n  User deploy\n", 0o600),
    "opt/aws/bin/cfn-init": ("#!/bin/sh\n", 0o755),
    "opt/shop/data.db": ("rows\n", 0o640),
    "usr/local/lib/libshop.so": ("library\n", 0o755),
    "var/lib/shop/state": ("state\n", 0o640),
    "var/log/mysql/mysql-bin.000001": ("binary log\n", 0o640),
    "vol/data/keep": ("data\n", 0o644),
    "var/spool/cron/crontabs/deploy": ("@daily true\n", 0o600),
}


def install(root: Path, *, systemd: bool) -> None:
    """Lay them down before the first boot, with users of their own and a service.

    `debian` is cloud-init's default user, which every host had before OpsWorks came.
    """
    for name, uid in (("debian", 1000), ("deploy", 1500), ("alice", 1501)):
        subprocess.run(
            ["chroot", str(root), "useradd", "--create-home", "--uid", str(uid), name], check=True
        )
    # As Amazon's images come; else generalize-linux would do it, and write backups anew.
    subprocess.run(["chroot", str(root), "usermod", "--lock", "root"], check=True)
    # cloud-init made it at the first boot, long before.
    (root / "root/.ssh").mkdir(mode=0o700, exist_ok=True)
    # Folders of the layouts that Debian stands in for.
    for folder in ("etc/httpd", "etc/init"):
        (root / folder).mkdir(exist_ok=True)
    for path, (content, mode) in FILES.items():
        place(root, path, content, mode)
    subprocess.run(["chroot", str(root), "chown", "-R", "deploy", "/srv/www/shop"], check=True)
    if systemd:
        place(root, "etc/systemd/system/shop.service", _UNIT)
        wants = root / "etc/systemd/system/multi-user.target.wants"
        wants.mkdir(parents=True, exist_ok=True)
        (wants / "shop.service").symlink_to("/etc/systemd/system/shop.service")
        (root / "etc/init.d/shop").unlink()
    else:
        subprocess.run(["chroot", str(root), "update-rc.d", "shop", "defaults"], check=True)


def lost(root: Path) -> list[str]:
    """Files of the applications that are no longer as they were."""
    changed = []
    for path, (content, mode) in FILES.items():
        file = root / path
        if path == "etc/init.d/shop" and not file.exists():
            continue
        if not file.is_file() or file.read_text() != content:
            changed.append(path)
        elif file.stat().st_mode & 0o7777 != mode:
            changed.append(f"{path}: mode {file.stat().st_mode & 0o7777:o}")
    return changed


def serves(host: Sandbox) -> bool:
    """Whether the service runs, as its own user's files say."""
    alive = host.sh(
        'test "$(stat -c %U /srv/www/shop/current/server)" = deploy && '
        'kill -0 "$(cat /run/shop.pid)"'
    )
    return alive.exit_code == 0
