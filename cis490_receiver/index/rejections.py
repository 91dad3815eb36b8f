"""rejections.jsonl: the PUTs that stored nothing, for the fleet monitor.

Facts worth having, not worth waiting for: they are written without a sync, bounded in bytes by two
generations, and lost rather than allowed to fail or slow an answer. What came without a good token has a
file of its own and a rate of its own, so that a flood of it can neither evict the facts of
authenticated hosts nor fill the disk. Repeats of what is stored (status 200) are no refusals, but tell that their
host is alive: they have a file of their own too.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from cis490_receiver.errors import StorageFailed
from cis490_receiver.files import atomic
from cis490_receiver.files.lines import lines_backwards
from cis490_receiver.index.token_bucket import TokenBucket
from cis490_receiver.logfmt import event
from cis490_receiver.models import Rejection

log = logging.getLogger(__name__)

FILE_NAME: Final = "rejections.jsonl"
UNAUTHENTICATED_NAME: Final = "rejections-unauthenticated.jsonl"
REPEATS_NAME: Final = "repeats.jsonl"
#: A generation is put aside when it has grown past this.
GENERATION_BYTES: Final = 8 << 20
#: How many facts without a token one process writes a second, and how many at once.
UNAUTHENTICATED_RATE: Final = 5.0
UNAUTHENTICATED_BURST: Final = 50.0
_CLOCK_JUMP_NS: Final = 24 * 3600 * 10**9


class RejectionFile:
    """See `index.base.RejectionLog`. Processes and threads may share the files."""

    def __init__(
        self,
        data_dir: Path,
        *,
        generation_bytes: int = GENERATION_BYTES,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._authenticated = data_dir / FILE_NAME
        self._unauthenticated = data_dir / UNAUTHENTICATED_NAME
        self._repeats = data_dir / REPEATS_NAME
        self._generation_bytes = generation_bytes
        self._bucket = TokenBucket(UNAUTHENTICATED_RATE, UNAUTHENTICATED_BURST, monotonic)

    def record(self, rejection: Rejection) -> None:
        """See `RejectionLog.record`."""
        if not rejection.authenticated and not self._bucket.take():
            return
        path = self._path_for(rejection)
        try:
            self._append(path, rejection.to_line())
        except OSError as exc:
            log.error(event("rejection-lost", file=path.name, reason=exc.strerror))

    def take_over(self, facts: Sequence[Rejection]) -> None:
        """See `RejectionLog.take_over`."""
        lines: dict[Path, list[bytes]] = {}
        for fact in facts:
            lines.setdefault(self._path_for(fact), []).append(fact.to_line())
        try:
            for path, of_one_kind in lines.items():
                self._append(path, b"".join(of_one_kind))
        except OSError as exc:
            raise StorageFailed from exc

    def _append(self, path: Path, lines: bytes) -> None:
        with atomic.locked_file(path) as fd:
            if os.fstat(fd).st_size > self._generation_bytes:
                os.rename(path, previous_generation(path))
        with atomic.locked_file(path) as fd:
            atomic.write_all(fd, lines)

    def since(self, ns: int) -> Iterator[Rejection]:
        """See `RejectionLog.since`. A clock that was set back leaves older facts behind newer ones, so an old one
        is not the end; one that is a day older is."""
        for path in (self._authenticated, self._repeats, self._unauthenticated):
            for fact in _facts(path):
                if fact.received_at_ns >= ns:
                    yield fact
                elif fact.received_at_ns < ns - _CLOCK_JUMP_NS:
                    break

    def _path_for(self, rejection: Rejection) -> Path:
        if not rejection.authenticated:
            return self._unauthenticated
        return self._repeats if rejection.status < 300 else self._authenticated


def _facts(path: Path) -> Iterator[Rejection]:
    """The facts of both generations, newest first; lines that cannot be read are left out."""
    for line in itertools.chain(lines_backwards(path), lines_backwards(previous_generation(path))):
        with contextlib.suppress(ValueError):
            yield Rejection.from_line(line)


def previous_generation(path: Path) -> Path:
    """Where the lines before the current file's first one are."""
    return path.with_name(f"{path.stem}.1{path.suffix}")
