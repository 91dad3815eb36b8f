"""``cis490-receiver serve``: the receiver itself."""

from __future__ import annotations

import os
from typing import Final

import click

from cis490_receiver.commandline.options import example
from cis490_receiver.config import TABLE, Settings, load

_WELCOME: Final = """
cis490_receiver is up.

  listens on   {bind}
  stores in    {stores}
  token        {token}
  gate         {gate}

Ship an episode (any .tar.zst) from another terminal:

  f=episode.tar.zst
  curl {options}-H "X-Content-SHA256: $(sha256sum "$f" | cut -d' ' -f1)" \\
       -T "$f" {base}/v1/episodes/my-host/$(basename "$f")

Stop with Ctrl-C.
"""

_ON_THIS_MACHINE: Final = "{settings.data_dir}"
_IN_A_CLUSTER: Final = "{settings.objects_url}, and a database"


@click.command(
    "serve", epilog=example("cis490-receiver serve --bind 127.0.0.1:8491 --data-dir /tmp/episodes")
)
@click.option("--bind", metavar="ADDRESS", help="HOST:PORT, [IPV6]:PORT or unix:/path; default: `bind`.")
@click.option("--data-dir", metavar="FOLDER", help="Where everything is stored; default: `data_dir`.")
@click.option("--demo", is_flag=True, help="Ship an episode to it, show what happens, and stop.")
@click.option("--cluster", is_flag=True, help="Run three receivers on PostgreSQL and SeaweedFS, for a look.")
def command(bind: str | None, data_dir: str | None, demo: bool, cluster: bool) -> None:
    """Run the receiver: gunicorn with the receiver's own worker and settings.

    All else comes from the configuration, as `cis490-receiver config --explain` tells it; SIGHUP reads `workers`,
    `threads` and their like again. SIGTERM and ^C let uploads under way finish. Exit status 2: the configuration cannot
    be used.
    """
    for name, value in (("bind", bind), ("data_dir", data_dir)):
        if value is not None:
            # Where a reload finds it again.
            os.environ[TABLE.variable(name)] = value
    if demo and cluster:
        raise click.UsageError("give --demo or --cluster, not both")
    settings = load()
    if cluster:
        from cis490_receiver.commands.show_cluster import show

        show(settings)
        return
    if demo:
        if settings.bind.endswith(":0"):
            raise click.UsageError("--demo needs to know the port; name one in --bind")
        from cis490_receiver.commands.demonstration import demonstrate

        raise SystemExit(demonstrate(settings))
    from cis490_receiver import create_app
    from cis490_receiver.serving.application import Server

    Server(create_app, lambda address: click.echo(welcome(settings, address))).run()


def welcome(settings: Settings, address: str) -> str:
    """What a newcomer does next, at a receiver that listens on `address`."""
    on_socket = address.startswith("unix:")
    options = f"--unix-socket {address.removeprefix('unix:')} " if on_socket else ""
    guarded = settings.bearer_token or settings.tokens_file
    return _WELCOME.format(
        bind=address if on_socket else f"http://{address}",
        stores=(_IN_A_CLUSTER if settings.is_cluster else _ON_THIS_MACHINE).format(settings=settings),
        token="set" if guarded else "none (only this machine can reach it)",
        gate="on" if settings.gate_enabled else "off",
        options=options + ('-H "Authorization: Bearer $TOKEN" ' if guarded else ""),
        base="http://localhost" if on_socket else f"http://{address}",
    )
