"""What people and cron run: one file a command, a plain function underneath, click at the edge.

May import all of ours but `views` and `client`; flask nowhere at the top of a module, nor anything heavy: a
command starts every five minutes on a Raspberry Pi. A command's module is imported when it is run.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any, Final

import click
from click.shell_completion import CompletionItem

from cis490_receiver.commandline.failures import reported, wants_json
from cis490_receiver.commandline.program import AS_JSON, ReportingGroup

if TYPE_CHECKING:
    from flask import Flask

PROGRAM: Final = "cis490-receiver"

#: Each command, which the module of the same name has as `command`, and what it does in less than a line: a list of
#: commands imports none of them.
COMMANDS: Final = {
    "collect": "Delete what failed uploads left in an object store.",
    "config": "Print the configuration in force; --explain tells of keys.",
    "doctor-cluster": "Try what the database and object store of a cluster keep.",
    "export": "Write the index as CSV, JSON lines or Parquet.",
    "gate-check": "Say what a host on a given commit would be told.",
    "gate-refresh": "Read the accepted commits from git.",
    "gate-show": "Print the accepted commits and how old the list is.",
    "health-check": "Look at every host and the receiver; raise what is wrong.",
    "host": "Say that a host is gone for good; list the hosts.",
    "inspect": "Look at new episodes; withdraw what does not open.",
    "migrate": "Move everything from a data folder to a cluster, or back.",
    "migrate-schema": "Make the database's tables what this version needs.",
    "mirror": "Keep a folder in step with a receiver's episodes.",
    "mute": "Raise nothing about a host for a while.",
    "reindex": "Make the index agree with the episodes on disk.",
    "release": "Freeze and compare the episodes that a paper names.",
    "serve": "Run the receiver.",
    "stats": "Print how many episodes there are: by host, type, day.",
    "token": "Add, list and revoke tokens of hosts and readers.",
    "uploads": "List the uploads in pieces that are under way.",
    "withdraw": "Take episodes out of the training set, or back into it.",
    "verify": "Read stored episodes back and look for damage.",
}


class CommandGroup(ReportingGroup):
    """A group that imports a command when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, without importing anything."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name."""
        return load_command(cmd_name) if cmd_name in COMMANDS else None

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """What may follow, without importing anything."""
        names = sorted(name for name in COMMANDS if name.startswith(incomplete))
        options = click.Command.shell_complete(self, ctx, incomplete)
        return [CompletionItem(name, help=COMMANDS[name]) for name in names] + options

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, each in one line, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))


def load_command(name: str) -> click.Command:
    """Import the command `name`."""
    command = importlib.import_module(f"{__name__}.{name.replace('-', '_')}").command
    assert isinstance(command, click.Command)
    return command


@click.group(
    cls=CommandGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="\b\nExample:\n  cis490-receiver serve --demo",
)
@click.version_option(package_name="cis490-receiver", message="%(prog)s %(version)s")
def main() -> None:
    """The intake for the lab hosts' episodes.

    Reads the file that CIS490_CONFIG names and CIS490_* from the environment; `config` shows the result.
    Exit status: 0 fine, 1 something is wrong, 2 wrong usage or configuration.
    """
    _open_standard_streams()
    # What a command makes is as private as the episodes: files 0640, folders 0750.
    os.umask(0o027)


def _open_standard_streams() -> None:
    """See to it that no file which is opened later becomes standard output, because the caller closed that."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def register(app: Flask) -> None:
    """Make the same commands available as `flask --app cis490_receiver COMMAND`."""
    for name, summary in COMMANDS.items():
        app.cli.add_command(_Reporting(load_command(name), summary), name)


class _Reporting(click.Command):
    """A command as it is, whose failures are told as under `main`."""

    def __init__(self, command: click.Command, summary: str) -> None:
        super().__init__(command.name, help=command.help, short_help=summary)
        self._command = command

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """See `click.Command.make_context`."""
        as_json = wants_json(args)
        with reported(PROGRAM, as_json=as_json):
            context = self._command.make_context(info_name, args, parent, **extra)
        context.meta[AS_JSON] = as_json
        # click invokes the command that the context names.
        context.command = self
        return context

    def invoke(self, ctx: click.Context) -> Any:
        """See `click.Command.invoke`."""
        with reported(PROGRAM, as_json=ctx.meta[AS_JSON]):
            return self._command.invoke(ctx)
