"""What people and cron run: one file a command, a plain function underneath, click at the edge.

May import all of ours but `views` and `client`; flask nowhere at the top of a module, nor anything heavy: a
command starts every five minutes on a Raspberry Pi. A command's module is imported when it is run.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import click

from cis490_receiver.errors import ConfigError, ReceiverError

if TYPE_CHECKING:
    from flask import Flask

#: Command name to the module that has it as `command`.
MODULES: Final = {
    "config": "cis490_receiver.commands.config",
    "export": "cis490_receiver.commands.export",
    "gate-check": "cis490_receiver.commands.gate_check",
    "gate-refresh": "cis490_receiver.commands.gate_refresh",
    "gate-show": "cis490_receiver.commands.gate_show",
    "health-check": "cis490_receiver.commands.health_check",
    "host": "cis490_receiver.commands.host",
    "mirror": "cis490_receiver.commands.mirror",
    "mute": "cis490_receiver.commands.mute",
    "reindex": "cis490_receiver.commands.reindex",
    "stats": "cis490_receiver.commands.stats",
    "token": "cis490_receiver.commands.token",
    "verify": "cis490_receiver.commands.verify",
}

EXIT_FOUND: Final = 1
EXIT_USAGE: Final = 2


class CommandGroup(click.Group):
    """A group that imports a command when it is asked for, and reports our own errors in one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, without importing anything."""
        return sorted(MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name."""
        return load_command(cmd_name) if cmd_name in MODULES else None

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what goes wrong is one sentence."""
        with errors_in_a_sentence():
            return super().invoke(ctx)


@contextlib.contextmanager
def errors_in_a_sentence() -> Iterator[None]:
    """End the process with one sentence: exit status 2 when the configuration cannot be used, 1 when anything else
    that was to be reckoned with went wrong."""
    try:
        yield
    except ConfigError as exc:
        click.echo(f"cis490-receiver: {exc.message}", err=True)
        sys.exit(EXIT_USAGE)
    except BrokenPipeError:
        # Whoever read the output has enough: click's affair.
        raise
    except (ReceiverError, OSError) as exc:
        reason = exc.__cause__ or exc
        missing_index = isinstance(reason, FileNotFoundError) and str(reason.filename).endswith("index.jsonl")
        remedy = "; run: cis490-receiver reindex" if missing_index else ""
        click.echo(f"cis490-receiver: {reason}{remedy}", err=True)
        sys.exit(EXIT_FOUND)


def load_command(name: str) -> click.Command:
    """Import the command `name`."""
    command = importlib.import_module(MODULES[name]).command
    assert isinstance(command, click.Command)
    return command


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="cis490-receiver", message="%(prog)s %(version)s")
def main() -> None:
    """The intake for the lab hosts' episodes.

    Reads the file that CIS490_CONFIG names and CIS490_* from the environment; `config` shows the result.
    Exit status: 0 fine, 1 something is wrong, 2 wrong usage or configuration.
    """
    # What a command makes is as private as the episodes: files 0640, folders 0750.
    os.umask(0o027)


def register(app: Flask) -> None:
    """Make the same commands available as `flask --app cis490_receiver COMMAND`."""
    for name in MODULES:
        app.cli.add_command(_Reporting(load_command(name)), name)


class _Reporting(click.Command):
    """A command as it is, whose configuration errors are reported as under `main`."""

    def __init__(self, command: click.Command) -> None:
        super().__init__(command.name, help=command.help, short_help=command.short_help)
        self._command = command

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """See `click.Command.make_context`."""
        context = self._command.make_context(info_name, args, parent, **extra)
        # click invokes the command that the context names.
        context.command = self
        return context

    def invoke(self, ctx: click.Context) -> Any:
        """See `click.Command.invoke`."""
        with errors_in_a_sentence():
            return self._command.invoke(ctx)
