"""``cis490-receiver serve --cluster``: a whole cluster on this machine, for a look."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import click

from cis490_receiver.backends import needs_extra
from cis490_receiver.commandline.failures import fail
from cis490_receiver.config import Settings
from cis490_receiver.errors import StorageFailed

_NAME_COLUMNS: Final = 12
_PID_COLUMNS: Final = 8
_SHOWN: Final = """
A cluster is up.

{table}

  logs and pids    {folder}/logs, {folder}/pids
  token            none (only this machine can reach it)

Ship an episode (any .tar.zst) from another terminal:

  f=episode.tar.zst
  curl -H "X-Content-SHA256: $(sha256sum "$f" | cut -d' ' -f1)" \\
       -T "$f" {url}/v1/episodes/my-host/$(basename "$f")

Then kill something, and ship again:

  kill -9 $(cat {folder}/pids/receiver-2)
  kill -9 $(cat {folder}/pids/primary)

Stop with Ctrl-C. Started again, it goes on with what it has.
"""


def show(settings: Settings) -> None:
    """Run it until somebody ends it.

    Raises:
        ConfigError: a program is missing, or a port is taken.
        Failure: a part does not start.
    """
    with needs_extra():
        # What receivers need: said before anything is started.
        from cis490_receiver.backends import cluster as _  # noqa: F401
    from cis490_receiver.local_cluster.show import LocalCluster

    address = urlsplit(f"http://{settings.bind}")
    if address.hostname not in ("127.0.0.1", "localhost") or not address.port:
        raise click.UsageError("--cluster is for this machine alone; give --bind 127.0.0.1:PORT, or nothing")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    haproxy_file = Path(__file__).resolve().parents[2] / "etc" / "haproxy" / "haproxy.cfg"
    if not haproxy_file.exists():
        raise click.UsageError("--cluster needs a checkout, for etc/haproxy/haproxy.cfg; run bin/serve there")
    cluster = LocalCluster(settings.cluster_folder, address.port, haproxy_file, click.echo)
    try:
        with cluster.running():
            folder, url = _short(cluster.folder), f"http://{settings.bind}"
            click.echo(_SHOWN.format(table=_table(cluster.table()), folder=folder, url=url))
            cluster.look_after()
    except StorageFailed as exc:
        fail("the cluster ended", exc)
    except KeyboardInterrupt:
        click.echo("stopped")


def _short(folder: Path) -> Path:
    """As it is typed here."""
    here = Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder


def _table(rows: list[tuple[str, str, str]]) -> str:
    head = f"  {'part'.ljust(_NAME_COLUMNS)} {'pid'.rjust(_PID_COLUMNS)}  where"
    lines = [f"  {name.ljust(_NAME_COLUMNS)} {pid.rjust(_PID_COLUMNS)}  {where}" for name, pid, where in rows]
    return "\n".join([click.style(head, bold=True), *lines])
