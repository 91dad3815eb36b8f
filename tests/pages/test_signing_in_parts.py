"""The parts of signing in, at their boundaries."""

from __future__ import annotations

from pathlib import Path

import pytest

from cis490_receiver.clock import SystemClock
from cis490_receiver.config import Settings
from cis490_receiver.policy.auth import Authenticator
from cis490_receiver.policy.sessions import LIFETIME_SECONDS, Sessions
from cis490_receiver.policy.slowdown import (
    ALL_SECONDS_A_TRY,
    ALL_TRIES,
    SECONDS_A_TRY,
    TRIES,
    Slowdown,
)
from cis490_receiver.state.codes import LIFETIME_SECONDS as CODE_SECONDS
from cis490_receiver.state.codes import CodeFile
from cis490_receiver.state.session_key import SessionKeyFile
from cis490_receiver.views.pages.signing_in import local_path

NOW = 1_800_000_000 * 10**9


class Seconds:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def sessions(token: str = "secret", key: bytes = b"k" * 32) -> Sessions:
    return Sessions(key, Authenticator(Settings(bearer_token=token), SystemClock(), None))


def test_a_session_is_good_for_twelve_hours() -> None:
    cookie = sessions().make(None, NOW)
    assert sessions().read(cookie, NOW) is not None
    assert sessions().read(cookie, NOW + (LIFETIME_SECONDS - 1) * 10**9) is not None
    assert sessions().read(cookie, NOW + LIFETIME_SECONDS * 10**9) is None
    assert sessions().read(cookie, NOW - 3600 * 10**9) is None


def test_a_session_ends_with_the_fleets_token_and_with_the_key() -> None:
    cookie = sessions().make(None, NOW)
    assert sessions(token="another").read(cookie, NOW) is None
    assert sessions(key=b"j" * 32).read(cookie, NOW) is None
    assert "secret" not in cookie


def test_a_key_is_made_once_and_is_nobody_elses_to_read(tmp_path: Path) -> None:
    key = SessionKeyFile(tmp_path).load()
    assert len(key) == 32 and SessionKeyFile(tmp_path).load() == key
    assert [path.name for path in tmp_path.iterdir()] == ["session.key"]
    assert (tmp_path / "session.key").stat().st_mode & 0o777 == 0o600


def test_a_code_signs_in_once_and_for_fifteen_minutes(tmp_path: Path) -> None:
    codes = CodeFile(tmp_path)
    text, late = codes.make("alice", "a" * 64, NOW), codes.make("bob", "b" * 64, NOW)
    assert text not in (tmp_path / "sign-in-codes.json").read_text()
    end = NOW + CODE_SECONDS * 10**9
    assert codes.find(text, end - 1) is not None and codes.find(text, end) is None
    taken = [codes.take(text, NOW) for _ in range(2)]
    assert taken[0] is not None and taken[0].token == "alice" and taken[1] is None
    assert codes.take(late, end) is None
    (tmp_path / "sign-in-codes.json").write_text('[{"sha256": 1}]')
    assert codes.take(late, NOW) is None


def test_each_client_has_a_few_tries_and_then_one_every_so_often() -> None:
    clock = Seconds()
    slowdown = Slowdown(clock)
    for _ in range(TRIES):
        assert slowdown.may_try("192.0.2.1")
        slowdown.failed("192.0.2.1")
    assert not slowdown.may_try("192.0.2.1")
    assert slowdown.may_try("192.0.2.2")
    clock.now += SECONDS_A_TRY
    assert slowdown.may_try("192.0.2.1")
    slowdown.failed("192.0.2.1")
    assert not slowdown.may_try("192.0.2.1")


def test_one_network_of_ipv6_is_one_client() -> None:
    slowdown = Slowdown(Seconds())
    for number in range(TRIES):
        slowdown.failed(f"2001:db8::{number:x}")
    assert not slowdown.may_try("2001:db8::ffff")
    assert slowdown.may_try("2001:db8:0:1::1")


def test_many_clients_that_fail_lock_out_nobody_else() -> None:
    clock = Seconds()
    slowdown = Slowdown(clock)
    tried = 0
    for number in range(20_000):
        address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        for _ in range(2):
            if slowdown.may_try(address):
                slowdown.failed(address)
                tried += 1
    # Of each only the first, once all together had theirs.
    assert tried <= 20_000 + ALL_TRIES
    assert slowdown.may_try("192.0.2.1")
    assert len(slowdown._clients) <= 2000
    clock.now += 2 * 20_000 * ALL_SECONDS_A_TRY
    assert slowdown.may_try("10.0.78.31")


@pytest.mark.parametrize("text", ["/", "/alerts?limit=3", "/hosts/lab-1"])
def test_signing_in_leads_to_a_page_of_ours(text: str) -> None:
    assert local_path(text) == text


@pytest.mark.parametrize("text", [None, "", "alerts", "//x", "/\\x", "https://x/", "/\n/x", "/" + "a" * 3000])
def test_signing_in_leads_nowhere_else(text: str | None) -> None:
    assert local_path(text) == "/"
