"""Which of several servers is asked first: the one that was the primary last.

libpq asks them in the order of the URL, each until it answers or ``connect_timeout`` is over, so a machine that is gone
and stands first would hold up every new connection.
"""

from __future__ import annotations

from typing import Final

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

#: Words of libpq with one item for each server (libpq, *Specifying Multiple Hosts*).
_OF_SERVERS: Final = ("host", "hostaddr", "port")


class Hosts:
    """The servers of `url`. Threads may share it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._words = {} if _is_broken(url) else conninfo_to_dict(url)
        lists = {word: str(self._words[word]).split(",") for word in _OF_SERVERS if self._words.get(word)}
        count = max((len(items) for items in lists.values()), default=1)
        # One port may stand for all.
        self._servers = [
            {word: items[number if len(items) == count else 0] for word, items in lists.items()}
            for number in range(count)
        ]
        self._first = 0

    def conninfo(self) -> str:
        """What libpq is to be told now."""
        if len(self._servers) == 1:
            return self._url
        ordered = self._servers[self._first :] + self._servers[: self._first]
        words = {word: ",".join(server[word] for server in ordered) for word in self._servers[0]}
        return make_conninfo("", **{**self._words, **words})

    def found(self, connection: psycopg.Connection[tuple[object, ...]]) -> None:
        """Ask the server of `connection`, which is the primary, first from now on."""
        info = connection.info
        for number, server in enumerate(self._servers):
            # What is not named, or is empty, is libpq's own choice.
            host, port = server.get("host") or info.host, server.get("port") or str(info.port)
            if (host, port) == (info.host, str(info.port)):
                self._first = number
                return


def _is_broken(url: str) -> bool:
    """Whether libpq cannot read it; it says why when a connection is made."""
    try:
        conninfo_to_dict(url)
    except psycopg.Error:
        return True
    return False
