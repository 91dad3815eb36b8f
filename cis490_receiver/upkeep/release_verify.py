"""Read a release's episodes back, and its table: are they what was frozen?"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from cis490_receiver.errors import ReceiverError, StorageFailed
from cis490_receiver.index.base.releases import OpenRelease
from cis490_receiver.models import Episode
from cis490_receiver.progress import SILENT, Progress
from cis490_receiver.state.base.marks import Memo
from cis490_receiver.storage.base import EpisodeStore
from cis490_receiver.upkeep.throttle import Throttle
from cis490_receiver.upkeep.verify import Damage, check_bytes

_STEP: Final = 1 << 20
#: How often a run notes where it is, in seconds.
_NOTE_SECONDS: Final = 30.0


@dataclass(slots=True)
class ReleaseReport:
    """What a run found.

    Attributes:
        table_sha256: of the table as it is now.
        bad_lines: how many lines of the table are no records.
        checked, size_bytes: how many episodes were read, and how many bytes of them.
        complete: whether everything that was asked for was read; else the next run with `resume` goes on.
    """

    table_sha256: str = ""
    bad_lines: int = 0
    checked: int = 0
    size_bytes: int = 0
    damaged: list[Damage] = field(default_factory=list)
    complete: bool = True


class ReleaseVerifier:
    """One run over one release."""

    def __init__(
        self,
        place: Memo,
        store: EpisodeStore,
        *,
        throttle: Throttle,
        progress: Progress = SILENT,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`place` keeps where a run stopped."""
        self._memo = place
        self._store = store
        self._throttle = throttle
        self._progress = progress
        self._now = now
        self._noted_at = now()

    def run(self, opened: OpenRelease, *, host_id: str | None, resume: bool) -> ReleaseReport:
        """Hash the table, then each of its episodes, or those of one host. A KeyboardInterrupt ends it early, with its
        place noted; a run that is killed goes on from half a minute before."""
        report = ReleaseReport()
        offset = 0
        try:
            report.table_sha256 = self._hash_table(opened)
            offset = self._place(report.table_sha256, host_id) if resume else 0
            self._begin(opened, offset)
            for line in opened.stream:
                self._check_line(line, host_id, report)
                offset += len(line)
                if self._now() - self._noted_at > _NOTE_SECONDS:
                    self._note(report, host_id, offset)
            offset = 0
        except KeyboardInterrupt:
            report.complete = False
        self._note(report, host_id, offset)
        return report

    def _hash_table(self, opened: OpenRelease) -> str:
        digest = hashlib.sha256()
        self._progress.begin("reading the table", opened.release.size_bytes)
        while piece := opened.stream.read(_STEP):
            digest.update(piece)
            self._progress.advance(len(piece))
        return digest.hexdigest()

    def _begin(self, opened: OpenRelease, offset: int) -> None:
        """Put the stream where the run begins, and tell of what it will read: as much of the episodes' bytes as of the
        table is left, roughly."""
        opened.stream.seek(offset)
        release = opened.release
        left = 1 - offset / release.size_bytes if release.size_bytes else 0
        self._progress.begin("verifying", round(release.episode_bytes * left))

    def _check_line(self, line: bytes, host_id: str | None, report: ReleaseReport) -> None:
        try:
            episode = Episode.from_line(line)
        except ValueError:
            report.bad_lines += 1
            return
        if host_id is not None and episode.host_id != host_id:
            self._progress.skip(episode.size_bytes)
            return
        report.checked += 1
        try:
            damage = self._look_at(episode, report)
        except (ReceiverError, OSError) as exc:
            damage = Damage(episode.key, "unreadable", str(exc.__cause__ or exc))
        if damage is not None:
            report.damaged.append(damage)

    def _look_at(self, episode: Episode, report: ReleaseReport) -> Damage | None:
        def spend(count: int) -> None:
            report.size_bytes += count
            self._progress.advance(count)
            self._throttle.spend(count)

        stored = self._store.open(episode.key)
        if stored is None:
            self._progress.skip(episode.size_bytes)
            return Damage(episode.key, "missing", "there is no such file")
        with stored:
            before = report.size_bytes
            damage = check_bytes(episode, stored, spend)
            self._progress.skip(episode.size_bytes - (report.size_bytes - before))
            return damage

    def _place(self, table_sha256: str, host_id: str | None) -> int:
        """Where the last run over this table and host stopped."""
        left = self._memo.read()
        if not isinstance(left, dict):
            return 0
        if (left.get("table_sha256"), left.get("host_id")) != (table_sha256, host_id):
            return 0
        offset = left.get("offset")
        return offset if type(offset) is int and offset >= 0 else 0

    def _note(self, report: ReleaseReport, host_id: str | None, offset: int) -> None:
        """What was found does not depend on whether anything can be written."""
        self._noted_at = self._now()
        try:
            self._memo.write({"table_sha256": report.table_sha256, "host_id": host_id, "offset": offset})
        except StorageFailed:
            return
