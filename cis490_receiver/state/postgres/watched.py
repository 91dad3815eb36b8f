"""A document that workers keep in memory and ask for again twice a second."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final, Generic, TypeVar

from cis490_receiver.errors import StorageFailed
from cis490_receiver.logfmt import event
from cis490_receiver.postgres.documents import Document

log = logging.getLogger(__name__)

T = TypeVar("T")

#: How long a worker may go on with what it has before it asks again, in seconds.
RECHECK_SECONDS: Final = 0.5


class WatchedDocument(Generic[T]):
    """See `state.base.gate_list.Watched`. While one thread asks, the others go on with what there is. A document that
    is damaged and a database that does not answer leave the last good content in force; either is logged once."""

    def __init__(
        self,
        document: Document,
        parse: Callable[[str], T],
        *,
        name: str,
        describe: Callable[[T], Mapping[str, object]],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Watch `document`. `parse` raises ValueError for what it cannot read; `name` begins the log's events, and
        `describe` gives the fields of the one that says what was loaded."""
        self._document = document
        self._parse = parse
        self._name = name
        self._describe = describe
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._content: T | None = None
        self._asked = False
        self._version: int | None = None
        self._trouble: str | None = None
        self._look_again_at = float("-inf")

    def current(self) -> T | None:
        """See `Watched.current`."""
        # Before there was an answer nobody has anything to go on with.
        if self._is_due() and self._lock.acquire(blocking=not self._asked):
            try:
                if self._is_due():
                    self._refresh()
                    self._asked = True
                    self._look_again_at = self._monotonic() + RECHECK_SECONDS
            finally:
                self._lock.release()
        return self._content

    def _is_due(self) -> bool:
        return self._monotonic() >= self._look_again_at

    def _refresh(self) -> None:
        try:
            version, text = self._document.read_if_not(self._version)
            if version is not None and text is None:
                return
            self._version = version
            if text is None:
                self._content = None
                self._report("missing", "there is none")
                return
            content = self._parse(text)
        except (StorageFailed, ValueError) as exc:
            self._report("damaged", exc.reason if isinstance(exc, StorageFailed) else str(exc))
        else:
            self._content = content
            self._trouble = None
            log.info(event(f"{self._name}-loaded", **self._describe(content)))

    def _report(self, trouble: str, reason: str) -> None:
        if trouble + reason != self._trouble:
            self._trouble = trouble + reason
            kept = self._content is not None
            log.warning(event(f"{self._name}-{trouble}", file="database", reason=reason, kept_last_good=kept))
