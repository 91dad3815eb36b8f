"""Pieces of SQL that several statements have in common."""

from __future__ import annotations

from typing import Final

#: A name that nothing has or will have.
NEW_NAME: Final = "replace(gen_random_uuid()::text, '-', '')"


def nanoseconds(timestamp: str) -> str:
    """The expression `timestamp`, which is a timestamptz, in nanoseconds since the epoch."""
    return f"(extract(epoch FROM {timestamp}) * 1000000)::bigint * 1000"
