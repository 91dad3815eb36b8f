"""``cis490-receiver config``: the configuration in force."""

from __future__ import annotations

import dataclasses
import json
import os
import textwrap
from collections.abc import Mapping
from typing import Any, Final

import click

from cis490_receiver.commands.shared import json_option
from cis490_receiver.config import ENV_CONFIG, FIELDS, load_with_sources
from cis490_receiver.keys import as_it_is

_MASK: Final = "********"
_COMMENT_COLUMNS: Final = 79


@click.command("config")
@json_option
@click.option(
    "--explain", is_flag=True, help="Say what each key means and may be, its default, and who set it."
)
def command(as_json: bool, explain: bool) -> None:
    """Print the configuration in force, as it would stand in the file; secrets are masked."""
    settings, sources = load_with_sources()
    if as_json:
        shown = explained(settings, FIELDS, sources) if explain else values(settings, FIELDS)
        click.echo(json.dumps(shown, indent=2))
        return
    if explain:
        file = os.environ.get(ENV_CONFIG)
        click.echo(f"# read from {file}\n" if file else f"# no file is read: {ENV_CONFIG} is not set\n")
    for name, told in explained(settings, FIELDS, sources).items():
        if explain:
            click.echo(_comment(told))
        # TOML has no null; a basic string of TOML is one of JSON.
        line = f"{name} = {json.dumps(told['written'] if told['written'] is not None else '')}"
        click.echo(f"# {line}" if told["written"] is None else line)
        if explain:
            click.echo()


def values(settings: object, fields: Mapping[str, dataclasses.Field[Any]]) -> dict[str, Any]:
    """The settings as plain values, each secret that is set as stars."""
    return {name: _masked(field, as_it_is(getattr(settings, name))) for name, field in fields.items()}


def explained(
    settings: object, fields: Mapping[str, dataclasses.Field[Any]], sources: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    """All that is known of each key: its value, also as a person would write it, its default as one would, what is
    allowed, where the value came from and what it means."""
    plain = values(settings, fields)
    return {
        name: {
            "value": plain[name],
            "written": _masked(field, _written(field, getattr(settings, name))),
            "default": _written(field, field.default),
            "allowed": field.metadata["kind"].allowed,
            "source": sources.get(name, "default"),
            "doc": field.metadata["doc"],
        }
        for name, field in fields.items()
    }


def _written(field: dataclasses.Field[Any], value: Any) -> Any:
    return None if value is None else field.metadata["kind"].write(value)


def _masked(field: dataclasses.Field[Any], value: Any) -> Any:
    return _MASK if field.metadata["secret"] and value else value


def _comment(told: Mapping[str, Any]) -> str:
    default = "none" if told["default"] is None else json.dumps(told["default"])
    source = "not set" if told["source"] == "default" else f"set in {told['source']}"
    facts = f"{told['allowed']}; default {default}; {source}"
    return "\n".join(
        textwrap.fill(
            text, _COMMENT_COLUMNS, initial_indent="# ", subsequent_indent="#   ", break_on_hyphens=False
        )
        for text in (told["doc"], facts)
    )
