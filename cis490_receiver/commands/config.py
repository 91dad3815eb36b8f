"""``cis490-receiver config``: the configuration in force."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from cis490_receiver.config import FIELDS, Settings, load


@click.command("config")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--explain", is_flag=True, help="Say what each key means.")
def command(as_json: bool, explain: bool) -> None:
    """Print the effective configuration; secrets are masked."""
    values = masked(load())
    if as_json:
        click.echo(json.dumps(values, indent=2))
        return
    for key, value in values.items():
        if explain:
            click.echo(f"# {FIELDS[key].metadata['doc']}")
        prefix = "# " if value is None else ""
        click.echo(f"{prefix}{key} = {json.dumps(value if value is not None else '')}")


def masked(settings: Settings) -> dict[str, Any]:
    """The settings as plain values, each secret that is set as stars."""
    values: dict[str, Any] = {}
    for key, item in FIELDS.items():
        value = getattr(settings, key)
        if item.metadata["secret"] and value:
            value = "********"
        if isinstance(value, Path):
            value = str(value)
        values[key] = list(value) if isinstance(value, tuple) else value
    return values
