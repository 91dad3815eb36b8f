"""``cis490-receiver migrate-schema``: make the database's tables what this version works with."""

from __future__ import annotations

import json

import click

from cis490_receiver.commandline.options import example, json_option
from cis490_receiver.config import load
from cis490_receiver.errors import ConfigError


@click.command("migrate-schema", epilog=example("cis490-receiver migrate-schema --grant receiver"))
@click.option("--grant", "role", metavar="ROLE", help="Give the receivers' role what it needs, and no more.")
@json_option
def command(role: str | None, as_json: bool) -> None:
    """Make the tables of the database that database_url names what this version works with.

    Run it before the receivers of a new version are started, once, as a role that may make tables. Of several at once
    one works and the others wait. A database that is up to date is left as it is; one that a later version made is
    refused.

    With --grant, ROLE can then do all of a receiver's work, but drop and empty no table, nor change or delete what
    tables hold that only grow, such as the withdrawals. Run the receivers as that role, and this as the tables' owner.
    """
    settings = load()
    if settings.database_url is None:
        raise ConfigError(
            "database_url is not set, so everything is kept in data_dir and there is nothing to migrate; name the "
            "database in database_url or CIS490_DATABASE_URL"
        )
    try:
        from cis490_receiver.postgres import schema
    except ModuleNotFoundError as exc:
        raise ConfigError(
            f"{exc.name} is not installed; run: pip install 'cis490-receiver[cluster]'"
        ) from None
    applied = schema.migrate(settings.database_url, role)
    if as_json:
        click.echo(json.dumps({"schema": schema.newest(), "applied": [step.number for step in applied]}))
        return
    for step in applied:
        click.echo(f"applied {step.number:04d} {step.name.replace('_', ' ')}")
    click.echo(f"the database has schema {schema.newest()}" + ("" if applied else "; nothing to do"))
