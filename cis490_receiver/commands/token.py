"""``cis490-receiver token``: tokens of single hosts."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import secrets
from collections.abc import Sequence

import click

from cis490_receiver import protocol, times
from cis490_receiver.backends import use_backends
from cis490_receiver.commandline.failures import Failure
from cis490_receiver.commandline.options import example, json_option
from cis490_receiver.config import load
from cis490_receiver.errors import ConfigError
from cis490_receiver.state.base.tokens import SCOPES, Token, TokenList, is_host_pattern


@click.group("token", epilog=example("cis490-receiver token list"))
def command() -> None:
    """Add, list and revoke tokens of single hosts and readers (`tokens_file`); receivers take a change up
    within a second.
    """


@command.command("add", epilog=example("cis490-receiver token add lab-07 --expires 365d"))
@click.argument("name")
@click.option("--hosts", help="The host, or a pattern such as lab-*, that it may ship as; default: NAME.")
@click.option("--scope", "scopes", type=click.Choice(SCOPES), multiple=True, help="Default: ship.")
@click.option(
    "--expires", metavar="WHEN", help="First day (UTC) on which it is not good any more: 2027-01-31, or 90d."
)
@json_option
def add(name: str, hosts: str | None, scopes: tuple[str, ...], expires: str | None, as_json: bool) -> None:
    """Make a token NAME and print it, this once: only its SHA-256 is kept."""
    if not protocol.is_valid_id(name):
        raise click.UsageError(f"{name!r} does not obey the rule for ids")
    if not is_host_pattern(hosts or name):
        raise click.UsageError("--hosts: give a host id, or a pattern such as lab-*")
    try:
        last = times.parse_future(expires, dt.datetime.now(dt.UTC)).date() if expires else None
    except ValueError as exc:
        raise click.UsageError(f"--expires: {exc}") from None
    secret = secrets.token_urlsafe(32)
    digest = hashlib.sha256(secret.encode("ascii")).hexdigest()
    token = Token(name, digest, hosts or name, frozenset(scopes or ("ship",)), last)

    def with_token(tokens: Sequence[Token]) -> Sequence[Token]:
        if any(other.name == name for other in tokens):
            raise click.UsageError(
                f"there is a token {name} already; revoke it first, or choose another name"
            )
        return [*tokens, token]

    _tokens().change(with_token)
    click.echo(json.dumps({"name": name, "token": secret}) if as_json else secret)


@command.command("list", epilog=example("cis490-receiver token list"))
@json_option
def list_(as_json: bool) -> None:
    """List the tokens; the tokens themselves are kept nowhere."""
    tokens = _tokens().all()
    if as_json:
        rows = [
            {
                "name": t.name,
                "hosts": t.hosts,
                "scopes": sorted(t.scopes),
                "expires": str(t.expires or "") or None,
            }
            for t in tokens
        ]
        click.echo(json.dumps({"tokens": rows}, indent=2))
        return
    for token in tokens:
        until = f"  until {token.expires}" if token.expires else ""
        click.echo(f"{token.name}  hosts {token.hosts}  {','.join(sorted(token.scopes))}{until}")


@command.command("revoke", epilog=example("cis490-receiver token revoke lab-07"))
@click.argument("name")
@json_option
def revoke(name: str, as_json: bool) -> None:
    """Revoke the token NAME. Exit status 1: there is none."""

    def without(tokens: Sequence[Token]) -> Sequence[Token]:
        kept = [token for token in tokens if token.name != name]
        if len(kept) == len(tokens):
            raise Failure(f"there is no token {name}", "no-such-token")
        return kept

    _tokens().change(without)
    click.echo(json.dumps({"name": name, "revoked": True}) if as_json else f"{name} is revoked")


def _tokens() -> TokenList:
    tokens = use_backends(load()).tokens
    if tokens is None:
        raise ConfigError("tokens_file is not set; name a file for the tokens in tokens_file")
    return tokens
