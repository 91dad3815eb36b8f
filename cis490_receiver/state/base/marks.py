"""What one run of a program leaves for the next, and for those who watch it."""

from __future__ import annotations

from typing import Any, Protocol


class Heartbeat(Protocol):
    """The other program that watches: a mark that the fleet monitor leaves, so that its absence is seen."""

    def beat(self) -> None:
        """Say that the monitor ran now. Not synced: a crash makes it seem a little older.

        Raises:
            StorageFailed: it could not be said.
        """
        ...

    def last_ns(self) -> int | None:
        """When it last ran, in nanoseconds since the epoch; None when it never did or that cannot be told."""
        ...


class Memo(Protocol):
    """A small JSON value that a run leaves for the next one of its kind; losing it costs no more than looking again.

    After a crash there is the value from before `write` or the one from after it, whole. Of two writers at once the
    later one's value stays.
    """

    def read(self) -> Any:
        """The value; None when there is none that can be read."""
        ...

    def write(self, value: Any) -> None:
        """Put `value` in the place of the one before. Once this returns it is on stable storage.

        Raises:
            StorageFailed: it could not be written; the one before stands.
        """
        ...
