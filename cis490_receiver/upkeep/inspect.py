"""Read each new episode once, in the order of the journal, and take out of the training set what does not open.

How what is found outlives a crash is told in `settle`, how the place outlives a journal that was made anew in `trail`.
What a person brought back stays, as long as the same bytes are meant. An episode that the disk does not give is looked
at again by each run; when there are too many of these, a run ends before the next one.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from cis490_receiver.errors import ReceiverError
from cis490_receiver.index.base import EpisodeIndex, OpenJournal
from cis490_receiver.models import Episode
from cis490_receiver.progress import SILENT, Progress
from cis490_receiver.state.base.inspections import MAX_AGAIN, Inspected, Mark
from cis490_receiver.storage.base import EpisodeStore
from cis490_receiver.upkeep.examine import UNREADABLE, Finding, examine
from cis490_receiver.upkeep.settle import Ledger
from cis490_receiver.upkeep.throttle import Throttle
from cis490_receiver.upkeep.trail import advanced, lines_from, located, record_of

_STEP_SECONDS: Final = 5.0
_STEP_FINDINGS: Final = 1000
#: How many findings a report has; all of them are counted.
_TOLD: Final = 1000


@dataclass(slots=True)
class Report:
    """What a run did and found."""

    #: Episodes that were looked at, and the bytes that were read of them.
    looked: int = 0
    size_bytes: int = 0
    #: How many findings there are of each kind, and some of them.
    counts: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    #: How many were withdrawn by this run, and how many do not open and stay, since a person brought them back.
    withdrawn: int = 0
    spared: int = 0
    #: Whether all that was to be looked at was.
    complete: bool = True
    #: Why the run ended early, where nobody ended it.
    problem: str | None = None

    def tell(self, findings: Sequence[Finding]) -> None:
        """Add what was found."""
        self.counts.update(found.kind for found in findings)
        self.findings += findings[: _TOLD - len(self.findings)]


class Inspection:
    """One run."""

    def __init__(
        self,
        store: EpisodeStore,
        index: EpisodeIndex,
        *,
        throttle: Throttle,
        max_decompressed_bytes: int,
        monotonic: Callable[[], float] = time.monotonic,
        progress: Progress = SILENT,
    ) -> None:
        self._store = store
        self._index = index
        self._throttle = throttle
        self._max_bytes = max_decompressed_bytes
        self._monotonic = monotonic
        self._progress = progress
        self.report = Report()

    def go_on(self, ledger: Ledger) -> Report:
        """Look at what could not be read by an earlier run, and at what came since.

        Raises:
            ReceiverError, OSError: the index cannot be read, or what was found not be written; `report` has it still.
        """
        self._look_again(ledger)
        while self.report.complete and not self._follow(ledger):
            pass
        return self.report

    def look_at(self, host_id: str, ledger: Ledger) -> Report:
        """Look at every episode of a host, whenever it came. What is known of it is replaced; the mark stays.

        Raises:
            ReceiverError, OSError: as `go_on`.
        """
        others = tuple(trouble for trouble in ledger.known.troubles if trouble.host_id != host_id)
        ledger.known = replace(ledger.known, troubles=others)
        with self._journal() as journal:
            room = MAX_AGAIN - len(ledger.known.again)
            for findings, _mark in self._steps(journal, Mark(journal.generation), host_id, room):
                self._settle(ledger, findings, None)
        return self.report

    def only_look(self, known: Inspected, host_id: str | None) -> Report:
        """Look at what `look_at` or `go_on` would, and write nothing.

        Raises:
            ReceiverError, OSError: the index cannot be read.
        """
        with self._journal() as journal:
            begin = Mark(journal.generation) if host_id else located(known.mark, journal)
            for findings, _mark in self._steps(journal, begin, host_id):
                self.report.tell([found for found in findings if self._is_current(found.episode)])
        return self.report

    def _is_current(self, episode: Episode) -> bool:
        return self._index.find(episode.key) == episode

    def _look_again(self, ledger: Ledger) -> None:
        keys = ledger.known.again
        ledger.known = replace(ledger.known, again=())
        found = []
        for key in keys:
            episode = self._index.find(key)
            if episode is not None and (finding := self._examine(episode)):
                found.append(finding)
        if keys:
            self._settle(ledger, found, None)

    def _follow(self, ledger: Ledger) -> bool:
        """Read on from the mark to the journal's end; False when the journal was made anew meanwhile."""
        with self._journal() as journal:
            begin = located(ledger.known.mark, journal)
            if begin.lines == 0:
                # All is looked at, so what was known is found again, and would count twice.
                ledger.begin_anew()
            for findings, mark in self._steps(journal, begin, None, MAX_AGAIN - len(ledger.known.again)):
                if not self._settle(ledger, findings, mark):
                    return False
        return True

    def _settle(self, ledger: Ledger, findings: Sequence[Finding], mark: Mark | None) -> bool:
        try:
            settled = ledger.settle(findings, mark)
        except (ReceiverError, OSError):
            # What was found does not depend on whether anything can be written.
            self.report.tell(findings)
            raise
        if settled.advanced:
            # Else they are found again.
            self.report.tell(settled.findings)
        self.report.withdrawn += len(settled.withdrawn)
        self.report.spared += len(settled.spared)
        return settled.advanced

    @contextlib.contextmanager
    def _journal(self) -> Iterator[OpenJournal]:
        journal = self._index.open_journal()
        with journal.stream:
            yield journal

    def _steps(
        self, journal: OpenJournal, mark: Mark, host_id: str | None, room: int = MAX_AGAIN
    ) -> Iterator[tuple[list[Finding], Mark]]:
        """Look at the episodes behind `mark`, of `host_id` alone where one is named, and give every few seconds what
        was found and how far that is. ^C ends it in order, as do more than `room` episodes that cannot be read."""
        self._progress.begin("inspecting", _size_bytes(journal, mark, host_id))
        found: list[Finding] = []
        due = self._monotonic() + _STEP_SECONDS
        try:
            for start, end, line in lines_from(journal.stream, mark.offset, journal.end):
                episode = record_of(line)
                if episode and host_id in (None, episode.host_id) and (finding := self._examine(episode)):
                    room -= finding.kind == UNREADABLE
                    if room < 0:
                        self._give_up()
                        break
                    found.append(finding)
                mark = advanced(mark, start, end, line, episode.received_at_ns if episode else 0)
                if self._monotonic() > due or len(found) >= _STEP_FINDINGS:
                    yield found, mark
                    found, due = [], self._monotonic() + _STEP_SECONDS
        except KeyboardInterrupt:
            self.report.complete = False
        yield found, mark

    def _give_up(self) -> None:
        self.report.complete = False
        self.report.problem = (
            f"more than {MAX_AGAIN} episodes cannot be read, so the next ones are left for later: is the disk mounted, "
            "does dmesg show errors?"
        )

    def _examine(self, episode: Episode) -> Finding | None:
        before = self.report.size_bytes
        found = examine(episode, self._store, max_decompressed_bytes=self._max_bytes, spend=self._spend)
        self.report.looked += 1
        self._progress.skip(episode.size_bytes - (self.report.size_bytes - before))
        return found

    def _spend(self, count: int) -> None:
        self.report.size_bytes += count
        self._progress.advance(count)
        self._throttle.spend(count)


def _size_bytes(journal: OpenJournal, mark: Mark, host_id: str | None) -> int:
    """How many bytes the episodes behind `mark` have."""
    records = (record_of(line) for _start, _end, line in lines_from(journal.stream, mark.offset, journal.end))
    return sum(record.size_bytes for record in records if record and host_id in (None, record.host_id))
