"""Failed tries to sign in slow down whoever makes them.

Each client has a few tries and then one every so often. All clients together have more, also one every so often after
that, so that many addresses are no way around it; but a client that has not failed lately has a try all the same,
so nobody is locked out by others.
"""

from __future__ import annotations

import collections
import ipaddress
import threading
import time
from collections.abc import Callable
from typing import Final

TRIES: Final = 5
SECONDS_A_TRY: Final = 10.0
ALL_TRIES: Final = 60
ALL_SECONDS_A_TRY: Final = 0.5
#: How many clients are remembered.
_CLIENTS: Final = 2000


class Slowdown:
    """The tries of one process. Threads may share it."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        #: When each client's tries are all made up for; the one that failed last is last.
        self._clients: collections.OrderedDict[str, float] = collections.OrderedDict()
        self._all = 0.0

    def may_try(self, address: str) -> bool:
        """Whether a try of this client is to be looked at."""
        now = self._monotonic()
        with self._lock:
            owed = self._clients.get(_client(address), 0.0) - now
            if owed <= 0:
                return True
            return owed <= (TRIES - 1) * SECONDS_A_TRY and self._all - now <= ALL_TRIES * ALL_SECONDS_A_TRY

    def failed(self, address: str) -> None:
        """Note a try that failed."""
        now = self._monotonic()
        with self._lock:
            client = _client(address)
            self._clients[client] = max(self._clients.pop(client, 0.0), now) + SECONDS_A_TRY
            self._all = max(self._all, now) + ALL_SECONDS_A_TRY
            if len(self._clients) > _CLIENTS:
                self._clients.popitem(last=False)


def _client(address: str) -> str:
    """The client of an address: whoever has one of IPv6 has 2^64 of them."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if parsed.version == 6:
        return str(ipaddress.ip_network((int(parsed) >> 64 << 64, 64)))
    return str(parsed)
