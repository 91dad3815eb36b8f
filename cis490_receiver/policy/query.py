"""What a listing may be asked for."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import Final

from cis490_receiver import protocol
from cis490_receiver.errors import BadRequest
from cis490_receiver.models import Filters
from cis490_receiver.times import parse_moment

MAX_LIMIT: Final = 1000
DEFAULT_LIMIT: Final = 100

_KNOWN: Final = ("host", "since", "until", "episode_type", "benign_profile", "commit", "limit", "cursor")


def parse_filters(arguments: Mapping[str, str]) -> Filters:
    """The filters of ``GET /v1/episodes``, `mirror` and `export`.

    Raises:
        BadRequest: one of them is unknown or malformed; a filter that were ignored would give more than was
            asked for.
    """
    for name in arguments:
        if name not in _KNOWN:
            raise BadRequest(f"unknown filter {name[:40]!a}; known are {', '.join(_KNOWN)}")
    host = arguments.get("host")
    if host is not None and not protocol.is_valid_id(host):
        raise BadRequest("host must be a host id")
    commit = arguments.get("commit")
    if commit is not None and not protocol.is_commit(commit.lower()):
        raise BadRequest("commit must be 40 hex digits")
    return Filters(
        host=host,
        since=_moment(arguments, "since"),
        until=_moment(arguments, "until"),
        episode_type=_one_of(arguments, "episode_type", protocol.EPISODE_TYPES),
        benign_profile=_one_of(arguments, "benign_profile", protocol.BENIGN_PROFILES),
        commit=commit.lower() if commit is not None else None,
    )


def parse_limit(arguments: Mapping[str, str]) -> int:
    """The length of a page.

    Raises:
        BadRequest: not a number from 1 to 1000.
    """
    text = arguments.get("limit", str(DEFAULT_LIMIT))
    if not re.fullmatch(r"[0-9]{1,4}", text) or not 1 <= int(text) <= MAX_LIMIT:
        raise BadRequest(f"limit must be a number from 1 to {MAX_LIMIT}")
    return int(text)


def _moment(arguments: Mapping[str, str], name: str) -> dt.datetime | None:
    text = arguments.get(name)
    if text is None:
        return None
    try:
        return parse_moment(text)
    except ValueError:
        raise BadRequest(f"{name} must be a date such as 2026-11-23 or 2026-11-23T08:00:00Z") from None


def _one_of(arguments: Mapping[str, str], name: str, allowed: frozenset[str]) -> str | None:
    value = arguments.get(name)
    if value is not None and value not in allowed:
        raise BadRequest(f"{name} must be one of {', '.join(sorted(allowed))}")
    return value
