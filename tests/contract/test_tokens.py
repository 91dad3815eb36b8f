"""`state.base.tokens.TokenList`: tokens that can be added and revoked while everything runs."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Sequence

import pytest

from cis490_receiver.backends import Backends
from cis490_receiver.state.base.tokens import Token, TokenList
from tests.contract.places import PATIENCE_SECONDS, Place, in_processes, sha256


def token(name: str) -> Token:
    return Token(name, sha256(name.encode()), f"{name}-*", frozenset({"ship", "read"}), dt.date(2027, 1, 31))


def tokens_of(backends: Backends) -> TokenList:
    assert backends.tokens is not None
    return backends.tokens


def add(tokens: TokenList, name: str) -> None:
    tokens.change(lambda before: [*before, token(name)])


def finds(tokens: TokenList, name: str, expected: Token | None) -> bool:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while tokens.find(token(name).sha256) != expected and time.monotonic() < deadline:
        time.sleep(0.01)
    return tokens.find(token(name).sha256) == expected


def test_a_change_is_kept_and_seen_by_those_who_run(place: Place, backends: Backends) -> None:
    running = tokens_of(backends)
    assert list(running.all()) == [] and running.find(token("a").sha256) is None
    add(tokens_of(place.open()), "a")
    add(tokens_of(place.open()), "b")
    assert list(tokens_of(place.open()).all()) == [token("a"), token("b")]
    assert finds(running, "a", token("a"))
    running.change(lambda before: [kept for kept in before if kept.name != "a"])
    assert finds(tokens_of(place.open()), "a", None) and finds(running, "a", None)
    assert finds(running, "b", token("b"))


def test_a_change_that_fails_changes_nothing(backends: Backends) -> None:
    add(tokens_of(backends), "a")

    def fail(before: Sequence[Token]) -> Sequence[Token]:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        tokens_of(backends).change(fail)
    assert list(tokens_of(backends).all()) == [token("a")]


def add_many(place: Place, prefix: str) -> None:
    for number in range(20):
        add(tokens_of(place.open()), f"{prefix}{number}")


def test_processes_at_once_undo_nothing_of_each_other(place: Place) -> None:
    in_processes(add_many, [(place, "a"), (place, "b")])
    names = [found.name for found in tokens_of(place.open()).all()]
    assert sorted(names) == sorted(f"{prefix}{number}" for prefix in "ab" for number in range(20))
