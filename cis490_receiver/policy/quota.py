"""The disk's reserve."""

from __future__ import annotations

from cis490_receiver.errors import DiskReserve


def check_reserve(free_bytes: int | None, body_bytes: int, reserve_bytes: int) -> None:
    """Let a body of `body_bytes` in when `reserve_bytes` stay free beside it. `free_bytes` is None where space
    does not run out.

    Raises:
        DiskReserve: they would not.
    """
    if free_bytes is not None and free_bytes - body_bytes < reserve_bytes:
        raise DiskReserve
