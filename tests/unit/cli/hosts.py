"""Hosts as `inspect-host` tells of them, for tests that look at none."""

from bakery.resources import HostVolume
from scripts.bakery_cli.host import SENTINEL, HostReport, Instance, read

CHEF_12 = """\
os-id\tubuntu
os-version\t18.04
os-name\tUbuntu 18.04.6 LTS
init\tsystemd
hostname\tweb1
release-lock\t
first-boot\t
opsworks\t/etc/aws/opsworks
chef\tchef-12
chef-version\t12.18.31-1
agent\truns
agent-version\t4045
mount\t/dev/nvme0n1p1\t/\text4\t16777216\t400000
mount\t/dev/nvme1n1\t/data\txfs\t104857600\t52428800
fstab\tLABEL=cloudimg-rootfs\t/\text4\tdefaults\t/dev/nvme0n1p1
fstab\t/dev/nvme1n1\t/data\txfs\tdefaults\t/dev/nvme1n1
fstab\t/dev/nvme2n1\t/mnt\tauto\tdefaults,nofail\t/dev/nvme2n1
fstab\t/dev/xvdz\t/old\text4\tdefaults\tmissing
fstab\tfs.example.com:/shop\t/shared\tnfs4\t_netdev\t-
fstab\ttmpfs\t/cache\ttmpfs\tdefaults\t-
fstab\t/var/swapfile\tnone\tswap\tsw\t/var/swapfile
disk\t/dev/nvme0n1\t16\tAmazon Elastic Block Store\tvol0aaa
disk\t/dev/nvme1n1\t100\tAmazon Elastic Block Store\tvol0bbb
disk\t/dev/nvme2n1\t75\tAmazon EC2 NVMe Instance Storage\tAWS1
stack\tShop
layer\tweb\tWeb servers
cookbooks\tgit\tgit@git.example.com:shop/cookbooks.git\tv7
run-list\tsetup\tshop::packages,shop::web
run-list\tdeploy\tshop::release
attributes\tshop
application\tshop\tother\tarchive\thttps://files.example.com/shop.zip\t\t/srv/www/shop\tyes
remove\t-\tpackage\topsworks-agent-ruby
remove\tchef\tpackage\tchef
remove\tchef\tfolder\t/opt/chef
remove\tusers\tuser\tcarol
remove\tusers\tfile\t/var/spool/cron/crontabs/carol
remove\t-\tfolder\t/etc/aws/opsworks
remove\thosts\tlines\t/etc/hosts\tmembers of the stack
stays\t/etc/hosts\tmentions OpsWorks, is not known to be its own
stays\t/etc/passwd\tmentions OpsWorks, is not known to be its own
stays\t/etc/aws/opsworks/instance-agent.yml\thas the name of this host, web1
stays\t/etc/ganglia/gmond.conf\thas the name of this host, web1
user\tubuntu\t1000\t/home/ubuntu\tother\t2
user\tcarol\t2001\t/home/carol\topsworks\t1
service\tshop\tenabled,runs
service\tmysql\tenabled,runs
service\tssh\tenabled,runs
service\tshop-worker\tenabled
cron\t/etc/cron.d/e2scrub_all
cron\t/etc/cron.d/shop
cron\t/var/spool/cron/crontabs/carol
secret\t/etc/aws/opsworks/instance-agent.yml
secret\t/etc/ssh/ssh_host_rsa_key
secret\t/srv/www/shop/.env
more\tsecret\t3
"""
PLAIN = """\
os-id\tamzn
os-version\t2023
os-name\tAmazon Linux 2023.6
init\tsystemd
hostname\tapi1
release-lock\t2023.6.20250115
first-boot\t
opsworks\t
chef\tnone
chef-version\t
mount\t/dev/nvme0n1p1\t/\txfs\t16777216\t8388608
fstab\tUUID=1234\t/\txfs\tdefaults\t/dev/nvme0n1p1
disk\t/dev/nvme0n1\t8\tAmazon Elastic Block Store\tvol0aaa
user\tec2-user\t1000\t/home/ec2-user\tother\t1
service\tsshd\tenabled,runs
"""


def host(told: str = CHEF_12, *more: str) -> HostReport:
    """What a report says, with some more lines."""
    return read("".join([told, *(f"{line}\n" for line in more), SENTINEL, "\n"]))


def instance(**more: object) -> Instance:
    """The instance that both are, with its root and a volume of data."""
    volumes = (
        HostVolume("/dev/sda1", "vol-0aaa", 16),
        HostVolume("/dev/sdf", "vol-0bbb", 100, "arn:aws:kms:x:1:key/2"),
    )
    known: dict[str, object] = {
        "id": "i-0123456789abcdef0",
        "name": "web1",
        "state": "running",
        "instance_type": "m5.large",
        "architecture": "x86_64",
        "virtualization": "hvm",
        "root_device_type": "ebs",
        "root_device": "/dev/sda1",
        "boot_mode": None,
        "ena": True,
        "tpm": None,
        "platform": "Linux/UNIX",
        "image_id": "ami-0123456789abcdef0",
        "launched": "2019-01-31T00:00:00+00:00",
        "volumes": volumes,
        "agent": "3.3.1",
        "ping": "Online",
        **more,
    }
    return Instance(**known)  # type: ignore[arg-type]
