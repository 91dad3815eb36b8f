"""bin/install-receiver on the machine itself, whose folders lie under overlays in a mount namespace of the
test's own: users, owners and modes are real, and nothing stays."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.support.receiver import ROOT

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# Everything that the installation writes to lies in these folders; without each overlay nothing is installed.
OVERLAYS = """
set -eu
mount --make-rprivate /
mount -t tmpfs none "$1"
for folder in /etc /opt /usr/local /var/lib; do
    upper=$1$folder
    mkdir -p "$upper/upper" "$upper/work"
    mount -t overlay overlay -o "lowerdir=$folder,upperdir=$upper/upper,workdir=$upper/work" "$folder"
done
mount -t tmpfs none /run
"""

INSTALL_AND_SERVE = """
[ -n "$2" ] || exit 0
cd "$2"
getent passwd caddy >/dev/null || useradd --system caddy
bin/install-receiver >&2
bin/install-receiver
stat -c '%a %U:%G %n' /etc/cis490-receiver/* /var/lib/cis490-receiver /run/cis490-receiver
export CIS490_CONFIG=/etc/cis490-receiver/receiver.toml
as() { setpriv --reuid="$1" --regid="$1" --init-groups -- "${@:2}"; }
opt=/opt/cis490-receiver
setpriv --reuid=cis490-receiver --regid=cis490-receiver --init-groups -- \\
    $opt/venv/bin/gunicorn -c $opt/etc/gunicorn.conf.py 'cis490_receiver:create_app()' >&2 &
server=$!
for _ in $(seq 200); do [ ! -S /run/cis490-receiver/http.sock ] || break; sleep 0.05; done
ask='import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect("/run/cis490-receiver/http.sock")
s.sendall(b"GET /v1/ready HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n")
print("ready", s.recv(12).decode())'
as caddy /usr/bin/python3 -c "$ask"
! as daemon /usr/bin/python3 -c "$ask" 2>/dev/null || echo "daemon connected"
! as caddy cat /etc/cis490-receiver/token 2>/dev/null || echo "caddy read the token"
cis490-receiver config --json | tr -d '\\n'; echo
kill $server; wait $server || true
find /var/lib/cis490-receiver ! -user cis490-receiver
bin/install-receiver --uninstall >&2
bin/install-receiver --uninstall
"""


def in_namespace(folder: Path, checkout: str) -> subprocess.CompletedProcess[str]:
    script = OVERLAYS + INSTALL_AND_SERVE
    return subprocess.run(
        [
            "unshare",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "bash",
            "-c",
            script,
            "install",
            str(folder),
            checkout,
        ],
        env={name: value for name, value in os.environ.items() if not name.startswith("CIS490_")}
        | {"PATH": SYSTEM_PATH},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
    )


@pytest.mark.slow
def test_an_installation_gives_each_file_to_whom_it_belongs(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    enough = "import ensurepip, sys; sys.exit(sys.version_info < (3, 11))"
    if subprocess.run(["/usr/bin/python3", "-c", enough], capture_output=True).returncode != 0:
        pytest.skip("needs the system's Python 3.11: apt-get install python3-venv")
    if in_namespace(tmp_path, "").returncode != 0:
        pytest.skip("needs leave to mount overlays")
    done = in_namespace(tmp_path, str(ROOT))
    assert done.returncode == 0, done.stderr
    *lines, config, gone = done.stdout.splitlines()
    assert lines == [
        "nothing changed: this version is installed",
        "640 root:cis490-receiver /etc/cis490-receiver/receiver.toml",
        "640 root:cis490-receiver /etc/cis490-receiver/token",
        "750 cis490-receiver:cis490-receiver /var/lib/cis490-receiver",
        "750 cis490-receiver:cis490-http /run/cis490-receiver",
        "ready HTTP/1.1 200",
    ]
    assert json.loads(config)["data_dir"] == "/var/lib/cis490-receiver"
    assert gone == "nothing changed: it is not installed"
