"""The options that choose episodes, the same for every command that does."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any, TypeVar

import click

from cis490_receiver import times
from cis490_receiver.errors import BadRequest
from cis490_receiver.filters import FILTERS, Filters
from cis490_receiver.policy.query import parse_filters

F = TypeVar("F", bound=Callable[..., Any])


def filter_options(command: F) -> F:
    """Give a command the options; `chosen` makes filters of their values."""
    for item in reversed(list(FILTERS.values())):
        command = click.option(f"--{item.name.replace('_', '-')}", help=item.doc)(command)
    return command


def chosen(given: dict[str, str | None]) -> Filters:
    """The filters that the options' values mean.

    Raises:
        click.UsageError: a value cannot be used.
    """
    return as_filters(as_words(given))


def as_words(given: dict[str, str | None]) -> dict[str, str]:
    """The options' values as texts that mean the same tomorrow: times are moments.

    Raises:
        click.UsageError: a time cannot be used.
    """
    words = {name: value for name, value in given.items() if value is not None}
    for name in words.keys() & {"since", "until"}:
        try:
            words[name] = times.parse_past(words[name], dt.datetime.now(dt.UTC)).isoformat()
        except ValueError as exc:
            raise click.UsageError(f"--{name}: {exc}") from None
    return words


def as_filters(words: dict[str, str]) -> Filters:
    """The filters that `words` mean.

    Raises:
        click.UsageError: a value cannot be used.
    """
    try:
        return parse_filters(words)
    except BadRequest as exc:
        raise click.UsageError(exc.message) from None
