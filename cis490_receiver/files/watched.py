"""A small file that workers keep in memory and read again when it changed."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Generic, TypeVar

from cis490_receiver.logfmt import event

log = logging.getLogger(__name__)

T = TypeVar("T")

#: How long a worker may go on with what it has before it looks at the file again, in seconds.
RECHECK_SECONDS: Final = 0.5
#: A file that has more is damaged.
MAX_BYTES: Final = 64 << 20

_Identity = tuple[int, int, int]


class WatchedFile(Generic[T]):
    """What a file says, looked up without touching it most of the time. Threads may share it.

    A change is noticed by the file's inode, size and mtime. A file that is damaged leaves the last good content
    in force, in this process; one that was removed leaves none, in every process alike. Either is logged once.
    """

    def __init__(
        self,
        path: Path,
        parse: Callable[[bytes], T],
        *,
        name: str,
        describe: Callable[[T], Mapping[str, object]],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Watch `path`. `parse` raises ValueError for what it cannot read; `name` begins the log's events, and
        `describe` gives the fields of the one that says what was loaded."""
        self._path = path
        self._parse = parse
        self._name = name
        self._describe = describe
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._content: T | None = None
        #: The file that was read last, good or damaged; None when it could not be read at all.
        self._seen: _Identity | None = None
        #: The last trouble that was logged; None when there is none.
        self._trouble: tuple[str, str, _Identity | None] | None = None
        self._look_again_at = float("-inf")

    def current(self) -> T | None:
        """The content in force; None when there is none."""
        now = self._monotonic()
        if now >= self._look_again_at:
            with self._lock:
                if now >= self._look_again_at:
                    self._refresh()
                    self._look_again_at = now + RECHECK_SECONDS
        return self._content

    def _refresh(self) -> None:
        seen = None
        try:
            with open(self._path, "rb") as stream:
                seen = _identity(os.fstat(stream.fileno()))
                if seen == self._seen:
                    return
                text = stream.read(MAX_BYTES + 1)
                if len(text) > MAX_BYTES:
                    raise ValueError(f"it has more than {MAX_BYTES} bytes")
                content = self._parse(text)
        except FileNotFoundError:
            self._content = None
            self._report("missing", "no such file", seen)
        except (OSError, ValueError) as exc:
            self._report("damaged", str(exc), seen)
        else:
            self._content = content
            self._trouble = None
            log.info(event(f"{self._name}-loaded", **self._describe(content)))
        # A file that could not be read is tried again: its permissions may be mended without a trace in it.
        self._seen = seen

    def _report(self, trouble: str, reason: str, seen: _Identity | None) -> None:
        """Log a file that cannot be used, once for each reason and state of it."""
        found = (trouble, reason, seen)
        if found != self._trouble:
            self._trouble = found
            kept = self._content is not None
            log.warning(
                event(f"{self._name}-{trouble}", file=self._path.name, reason=reason, kept_last_good=kept)
            )


def _identity(stat: os.stat_result) -> _Identity:
    return (stat.st_ino, stat.st_size, stat.st_mtime_ns)
