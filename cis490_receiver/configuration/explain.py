"""The command ``config``: the configuration in force, and what there is to know of each key. Secrets are masked."""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Callable, Mapping
from typing import Any, Final

import click

from cis490_receiver.commandline.options import example, json_option
from cis490_receiver.configuration.keys import REQUIRED, Key, as_it_is
from cis490_receiver.configuration.loader import Loaded, Table

_MASK: Final = "********"
_DEFAULT: Final = "default"
_COMMENT_COLUMNS: Final = 79


def config_command(table: Table[Any], load: Callable[[], Loaded[Any]]) -> click.Command:
    """The command that shows what `load` gives, an object of `table`. What `load` raises is the caller's business."""

    @click.command("config", epilog=example(f"{table.command} --explain"))
    @json_option
    @click.option(
        "--explain", is_flag=True, help="Say what each key means and may be, its default, and who set it."
    )
    @click.option(
        "--defaults",
        is_flag=True,
        help="Explain each key at its default, whatever is set: the beginning of a file of your own.",
    )
    def command(as_json: bool, explain: bool, defaults: bool) -> None:
        """Print the configuration in force, as it would stand in the file; secrets are masked."""
        if explain and defaults:
            raise click.UsageError("give --explain or --defaults, not both")
        told = default_keys(table.keys) if defaults else explained(table.keys, load())
        if as_json:
            full = explain or defaults
            shown = told if full else {name: key["value"] for name, key in told.items()}
            click.echo(json.dumps(shown, indent=2))
        elif defaults:
            click.echo("\n".join(_default_lines(name, key) for name, key in told.items()), nl=False)
        elif explain:
            click.echo(_read_from(table))
            click.echo("\n".join(_explained_lines(name, key) for name, key in told.items()), nl=False)
        else:
            click.echo("\n".join(_line(name, key["written"]) for name, key in told.items()))

    return command


def explained(keys: Mapping[str, Key], loaded: Loaded[Any]) -> dict[str, dict[str, Any]]:
    """All that is known of each key: its value, also as a person would write it, its default as one would, what is
    allowed, where the value came from and what it means."""
    return {
        name: _told(key, getattr(loaded.settings, name), loaded.sources.get(name, _DEFAULT))
        for name, key in keys.items()
    }


def default_keys(keys: Mapping[str, Key]) -> dict[str, dict[str, Any]]:
    """As `explained`, of a configuration in which nothing is set."""
    return {
        name: _told(key, None if key.default is REQUIRED else key.default, _DEFAULT)
        for name, key in keys.items()
    }


def _told(key: Key, value: Any, source: str) -> dict[str, Any]:
    return {
        "value": _masked(key, as_it_is(value)),
        "written": _masked(key, _written(key, value)),
        "default": None if key.default is REQUIRED else _written(key, key.default),
        "allowed": key.kind.allowed,
        "source": source,
        "required": key.default is REQUIRED,
        "doc": key.doc,
    }


def _written(key: Key, value: Any) -> Any:
    return None if value is None else key.kind.write(value)


def _masked(key: Key, value: Any) -> Any:
    return _MASK if key.secret and value else value


def _read_from(table: Table[Any]) -> str:
    file = table.file(os.environ)
    if file is None:
        return f"# no file is read: {table.file_variable} is not set\n"
    if not os.access(file, os.F_OK):
        return f"# no file is read: there is no {file}, and {table.file_variable} names no other\n"
    return f"# read from {file}\n"


def _explained_lines(name: str, told: Mapping[str, Any]) -> str:
    source = "not set" if told["source"] == _DEFAULT else f"set in {told['source']}"
    return (
        f"{_comment(told['doc'])}\n{_comment(f'{_facts(told)}; {source}')}\n{_line(name, told['written'])}\n"
    )


def _default_lines(name: str, told: Mapping[str, Any]) -> str:
    line = _line(name, told["written"])
    commented = line if line.startswith("#") else f"# {line}"
    return f"{_comment(told['doc'])}\n{_comment(_facts(told))}\n{commented}\n"


def _line(name: str, written: Any) -> str:
    # TOML has no null; a basic string of TOML is one of JSON.
    line = f"{name} = {json.dumps(written if written is not None else '')}"
    return f"# {line}" if written is None else line


def _facts(told: Mapping[str, Any]) -> str:
    if told["required"]:
        return f"{told['allowed']}; must be set"
    return f"{told['allowed']}; default {'none' if told['default'] is None else json.dumps(told['default'])}"


def _comment(text: str) -> str:
    return textwrap.fill(
        text,
        _COMMENT_COLUMNS,
        initial_indent="# ",
        subsequent_indent="#   ",
        # A path can be copied.
        break_long_words=False,
        break_on_hyphens=False,
    )
