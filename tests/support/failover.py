"""A primary of PostgreSQL with a standby, one of which takes the other's place."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Final

from cis490_receiver.postgres import schema
from tests.support.postgres import Server

#: No commit is told before the standby has it, also while there is none.
SYNCHRONOUS: Final = "synchronous_standby_names=ANY 1 (standby)"
ASYNCHRONOUS: Final = "synchronous_standby_names="


class Pair:
    """Two servers under one URL. `replication` is `SYNCHRONOUS`, or `ASYNCHRONOUS`, which loses what was told."""

    def __init__(self, replication: str = SYNCHRONOUS, *, clock: str | None = None) -> None:
        """The standby's clock is apart by `clock`, as ``+5h``."""
        self.primary = Server(replication)
        self.standby = Server(replication, source=self.primary, clock=clock)
        self._folders = f"{self.primary.folder},{self.standby.folder}"

    def migrated(self) -> str:
        """The URL of a place with our tables in it, by which the primary is found, whichever it is."""
        self.primary.ask("CREATE SCHEMA pair")
        url = f"host={self._folders} user=owner dbname=postgres options=-csearch_path=pair"
        schema.migrate(url)
        [(end,)] = self.primary.ask("SELECT pg_current_wal_lsn()")
        while self.standby.ask(f"SELECT pg_last_wal_replay_lsn() < '{end}'") == [(True,)]:
            time.sleep(0.01)
        return url

    def fail_over(self, choose: random.Random) -> None:
        """Kill the primary and promote the standby, whose connection broke a moment before. The old primary is fenced
        as surely as can be: its data is deleted, and it comes back as the standby of the new one."""
        self.detach()
        time.sleep(choose.uniform(0, 0.3))
        self.switch(lambda: time.sleep(choose.uniform(0, 0.3)))

    def switch(self, pause: Callable[[], None] = lambda: None) -> None:
        """The same with a standby that is as far as it is, and a `pause` between the steps."""
        self.primary.kill()
        pause()
        self.standby.promote()
        self.primary, self.standby = self.standby, self.primary
        pause()
        self.standby.copy(self.primary)

    def detach(self) -> None:
        """Let the standby hear nothing any more of the primary."""
        self.standby.ask("ALTER SYSTEM SET primary_conninfo = ''")
        self.standby.ask("SELECT pg_reload_conf()")
        while self.standby.ask("SELECT 1 FROM pg_stat_wal_receiver"):
            time.sleep(0.01)

    def remove(self) -> None:
        """Stop both and delete all that they kept."""
        self.primary.remove()
        self.standby.remove()
