"""The disk's reserve."""

from __future__ import annotations

from cis490_receiver.errors import DiskReserve


def check_reserve(free_bytes: int, body_bytes: int, reserve_bytes: int) -> None:
    """Let a body of `body_bytes` in when `reserve_bytes` stay free beside it.

    Raises:
        DiskReserve: they would not.
    """
    if free_bytes - body_bytes < reserve_bytes:
        raise DiskReserve
