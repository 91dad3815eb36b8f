"""How long ago the fleet monitor last ran: the other program that watches."""

from __future__ import annotations

from typing import Final

from cis490_receiver.state.base.marks import Heartbeat

#: Three runs that did not come.
STALE_SECONDS: Final = 900


def age_seconds(heartbeat: Heartbeat, now_ns: int) -> float | None:
    """How long ago it last ran; None when it never did, or the mark is so far in the future that it tells nothing: the
    clock was set back, and it has not run since."""
    last_ns = heartbeat.last_ns()
    if last_ns is None:
        return None
    age = (now_ns - last_ns) / 1e9
    return None if age < -STALE_SECONDS else age
