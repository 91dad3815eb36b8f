"""The rules of admission, without a web server."""

from __future__ import annotations

import dataclasses
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cis490_receiver import logfmt, protocol
from cis490_receiver.clock import SystemClock
from cis490_receiver.config import Settings
from cis490_receiver.errors import (
    BadEpisodeName,
    BadSuffix,
    BadToken,
    DiskReserve,
    MissingToken,
    NotFound,
)
from cis490_receiver.models import EpisodeKey
from cis490_receiver.policy.admission import admit
from cis490_receiver.policy.auth import Authenticator
from cis490_receiver.policy.identifiers import stored_key, uploaded_key
from cis490_receiver.policy.quota import check_reserve
from cis490_receiver.state.base.tokens import Token
from cis490_receiver.state.tokens import format_tokens, parse_tokens


def authenticator(**settings: Any) -> Authenticator:
    return Authenticator(dataclasses.replace(Settings(), **settings), SystemClock(), None)


ID_CHARACTERS = string.ascii_letters + string.digits + "._-"


@given(st.text(max_size=300) | st.text(ID_CHARACTERS, max_size=140))
def test_an_id_is_what_the_contract_says(text: str) -> None:
    expected = (
        1 <= len(text) <= 128
        and all(c in ID_CHARACTERS for c in text)
        and text[0] in string.ascii_letters + string.digits
        and ".." not in text
    )
    assert protocol.is_valid_id(text) is expected


@given(st.text(max_size=60) | st.text(ID_CHARACTERS + "/%\\\0", max_size=60))
def test_no_path_but_a_plain_name_becomes_a_key(path: str) -> None:
    for candidate in (path, path + ".tar.zst"):
        try:
            key = uploaded_key(candidate)
        except (BadSuffix, BadEpisodeName):
            with pytest.raises(NotFound):
                stored_key(candidate)
            continue
        assert candidate == f"{key.host_id}/{key.file_name}" == f"{key}.tar.zst"
        # An id may end with a dot, before that of the suffix.
        assert "/" not in key.file_name and "\0" not in candidate
        assert ".." not in key.host_id and ".." not in key.episode_id
        assert stored_key(candidate) == key


@given(st.text(st.characters(max_codepoint=255), max_size=100))
def test_any_header_is_right_or_refused(header: str) -> None:
    right = header.strip().partition(" ")
    try:
        authenticator(bearer_token="secret").authenticate({"Authorization": header}, "127.0.0.1")
    except (MissingToken, BadToken):
        assert right[0].lower() != "bearer" or right[2].strip() != "secret"
    else:
        assert right[0].lower() == "bearer" and right[2].strip() == "secret"


def test_no_token_lets_everybody_in_and_bearer_is_any_case() -> None:
    authenticator().authenticate({}, "")
    authenticator(bearer_token="secret").authenticate({"Authorization": "bEARER  secret "}, "")


@given(
    st.lists(
        st.builds(
            Token,
            name=st.from_regex(r"[a-z]{1,9}", fullmatch=True),
            sha256=st.from_regex(r"[0-9a-f]{64}", fullmatch=True),
            hosts=st.from_regex(r"[A-Za-z0-9._*?-]{1,20}", fullmatch=True),
            scopes=st.frozensets(st.sampled_from(["ship", "read", "admin"])),
            expires=st.none() | st.dates(),
        ),
        unique_by=lambda token: token.name,
        max_size=4,
    )
)
def test_tokens_survive_their_file(tokens: list[Token]) -> None:
    assert parse_tokens(format_tokens(tokens)) == tokens


def test_the_reserve_is_what_stays_free_beside_the_body() -> None:
    check_reserve(100, 60, 40)
    with pytest.raises(DiskReserve):
        check_reserve(100, 61, 40)


def test_a_head_becomes_an_upload() -> None:
    headers = {
        "X-Content-SHA256": "A" * 64,
        "X-Cis490-Code-Commit": " " + "F" * 40,
        "X-Episode-Type": " INFECTED ",
        "X-Benign-Profile": "db_query",
        "Content-Length": "12",
    }
    key = EpisodeKey("h", "e")
    upload = admit(key, headers, settings=Settings(), gate=None, free_bytes=lambda: 1 << 40)
    assert (upload.sha256, upload.stamps.code_commit) == ("a" * 64, "f" * 40)
    assert (upload.stamps.episode_type, upload.stamps.benign_profile) == ("infected", "db_query")
    assert (upload.stamps.schema_version, upload.size_bytes) == (2, 12)
    malformed = admit(
        key,
        headers | {"X-Cis490-Code-Commit": "main"},
        settings=Settings(),
        gate=None,
        free_bytes=lambda: 1 << 40,
    )
    assert malformed.stamps.code_commit is None


@given(st.text(max_size=300))
def test_a_logged_value_is_one_printable_word(value: str) -> None:
    line = logfmt.event("x", key=value)
    assert line.isascii() and line.isprintable()
    assert len(line) < 6 * 210
