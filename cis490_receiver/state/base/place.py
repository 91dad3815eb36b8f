"""The place where a receiver keeps everything, as a command meets it that must not start an empty one."""

from __future__ import annotations

from typing import Protocol


class Place(Protocol):
    """Where a receiver keeps everything. Looking at it makes nothing."""

    @property
    def name(self) -> str:
        """What people know it by, for messages."""
        ...

    def check(self, command: str) -> None:
        """See whether this user may use it, for `command`, which a remedy names.

        Raises:
            ConfigError: there is none, or it is not ours to use.
        """
        ...

    def check_used(self) -> None:
        """See whether a receiver keeps its data there.

        Raises:
            ConfigError: none ever did.
        """
        ...

    def has_index(self) -> bool:
        """Whether there is an index, be it empty."""
        ...
