"""``cis490-receiver token``: tokens of single hosts."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import secrets
from collections.abc import Sequence

import click

from cis490_receiver import protocol, times
from cis490_receiver.backends import Backends, use_backends
from cis490_receiver.commandline.failures import Failure
from cis490_receiver.commandline.options import example, json_option
from cis490_receiver.commands.shared import use_place
from cis490_receiver.config import Settings, load
from cis490_receiver.errors import ConfigError
from cis490_receiver.state.base.tokens import SCOPES, Token, TokenList, is_host_pattern

url_option = click.option(
    "--url",
    metavar="URL",
    help="Where browsers reach the receiver, for the link; default: http:// and `bind`.",
)


@click.group("token", epilog=example("cis490-receiver token list"))
def command() -> None:
    """Add, list and revoke tokens of single hosts and readers (`tokens_file`); receivers take a change up
    within a second.
    """


@command.command("add", epilog=example("cis490-receiver token add alice --read --expires 365d"))
@click.argument("name")
@click.option("--hosts", help="The host, or a pattern such as lab-*, that it may ship as; default: NAME.")
@click.option("--scope", "scopes", type=click.Choice(SCOPES), multiple=True, help="Default: ship.")
@click.option("--read", is_flag=True, help="For somebody who looks: scope read, and a link to the pages.")
@click.option(
    "--admin", is_flag=True, help="For somebody who mutes and retires hosts too: scope admin, and a link."
)
@url_option
@click.option(
    "--expires", metavar="WHEN", help="First day (UTC) on which it is not good any more: 2027-01-31, or 90d."
)
@json_option
def add(
    name: str,
    hosts: str | None,
    scopes: tuple[str, ...],
    read: bool,
    admin: bool,
    url: str | None,
    expires: str | None,
    as_json: bool,
) -> None:
    """Make a token NAME and print it, this once: only its SHA-256 is kept.

    With --read or --admin the next line is a link that signs a browser in to the pages, once, within 15 minutes.
    """
    if not protocol.is_valid_id(name):
        raise click.UsageError(f"{name!r} does not obey the rule for ids")
    if not is_host_pattern(hosts or name):
        raise click.UsageError("--hosts: give a host id, or a pattern such as lab-*")
    try:
        last = times.parse_future(expires, dt.datetime.now(dt.UTC)).date() if expires else None
    except ValueError as exc:
        raise click.UsageError(f"--expires: {exc}") from None
    scopes += ("read",) * read + ("admin",) * admin
    settings = load()
    backends = use_place(settings) if read or admin else use_backends(settings)
    secret = secrets.token_urlsafe(32)
    digest = hashlib.sha256(secret.encode("ascii")).hexdigest()
    token = Token(name, digest, hosts or name, frozenset(scopes or ("ship",)), last)

    def with_token(tokens: Sequence[Token]) -> Sequence[Token]:
        if any(other.name == name for other in tokens):
            raise click.UsageError(
                f"there is a token {name} already; revoke it first, or choose another name"
            )
        return [*tokens, token]

    _tokens(backends).change(with_token)
    link = _link(settings, backends, token, url) if read or admin else None
    if as_json:
        click.echo(json.dumps({"name": name, "token": secret} | ({"sign_in_url": link} if link else {})))
    else:
        click.echo("\n".join([secret, link] if link else [secret]))


@command.command("link", epilog=example("cis490-receiver token link alice"))
@click.argument("name")
@url_option
@json_option
def link(name: str, url: str | None, as_json: bool) -> None:
    """Print a link that signs a browser in by the token NAME, once, within 15 minutes.

    Exit status 1: there is no such token, or it may not read.
    """
    settings = load()
    backends = use_place(settings)
    token = next((token for token in _tokens(backends).all() if token.name == name), None)
    if token is None:
        raise Failure(f"there is no token {name}", "no-such-token")
    if not token.scopes & {"read", "admin"}:
        raise Failure(f"the token {name} may not read; make another one with --read", "scope-missing")
    address = _link(settings, backends, token, url)
    click.echo(json.dumps({"name": name, "sign_in_url": address}) if as_json else address)


def _link(settings: Settings, backends: Backends, token: Token, url: str | None) -> str:
    base = url or f"http://{'localhost' if settings.bind.startswith('unix:') else settings.bind}"
    code = backends.codes.make(token.name, token.sha256, backends.clock.now_ns())
    return f"{base.rstrip('/')}/sign-in?code={code}"


@command.command("list", epilog=example("cis490-receiver token list"))
@json_option
def list_(as_json: bool) -> None:
    """List the tokens; the tokens themselves are kept nowhere."""
    tokens = _tokens(use_backends(load())).all()
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


@command.command("revoke", epilog=example("cis490-receiver token revoke alice"))
@click.argument("name")
@json_option
def revoke(name: str, as_json: bool) -> None:
    """Revoke the token NAME. Exit status 1: there is none."""

    def without(tokens: Sequence[Token]) -> Sequence[Token]:
        kept = [token for token in tokens if token.name != name]
        if len(kept) == len(tokens):
            raise Failure(f"there is no token {name}", "no-such-token")
        return kept

    _tokens(use_backends(load())).change(without)
    click.echo(json.dumps({"name": name, "revoked": True}) if as_json else f"{name} is revoked")


def _tokens(backends: Backends) -> TokenList:
    if backends.tokens is None:
        raise ConfigError("tokens_file is not set; name a file for the tokens in tokens_file")
    return backends.tokens
