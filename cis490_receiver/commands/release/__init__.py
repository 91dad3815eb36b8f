"""``cis490-receiver release``: frozen tables of contents, for papers and training runs to name."""

from __future__ import annotations

import click

from cis490_receiver.commandline.options import example
from cis490_receiver.commands.release import create, diff, tell, verify


@click.group("release", epilog=example("cis490-receiver release create 2026-11 --until 2026-12-01"))
def command() -> None:
    """Freeze the table of contents that a paper or a training run names; list and compare such tables, verify them."""


for one in (create.command, tell.list_, tell.show, diff.command, verify.command):
    command.add_command(one)
