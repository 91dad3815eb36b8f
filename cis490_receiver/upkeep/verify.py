"""Read stored episodes back and see whether they are what was acknowledged, and whether a trainer could use them."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from cis490_receiver import archive
from cis490_receiver.errors import ReceiverError, StorageFailed
from cis490_receiver.filters import Filters
from cis490_receiver.index.base import EpisodeIndex
from cis490_receiver.models import Episode, EpisodeKey
from cis490_receiver.policy.labels import disagreements
from cis490_receiver.progress import SILENT, Progress
from cis490_receiver.state.base.marks import Memo
from cis490_receiver.storage.base import EpisodeStore, OpenEpisode
from cis490_receiver.upkeep.sampling import Sample
from cis490_receiver.upkeep.throttle import Throttle

_PAGE: Final = 500
_STEP: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Damage:
    """What is wrong with an episode."""

    key: EpisodeKey
    #: ``missing``, ``unreadable``, ``size``, ``sha256``, ``archive`` or ``meta``.
    kind: str
    detail: str

    @property
    def spoils(self) -> bool:
        """Whether the stored bytes are not what was acknowledged."""
        return self.kind in ("size", "sha256")

    @property
    def came_so(self) -> bool:
        """Whether the bytes are what was acknowledged: no disk is to blame for what they are, and nobody can send
        better ones under this name."""
        return self.kind in ("archive", "meta")

    def as_dict(self) -> dict[str, str]:
        """The same for JSON."""
        return {
            "host_id": self.key.host_id,
            "episode_id": self.key.episode_id,
            "kind": self.kind,
            "detail": self.detail,
        }


@dataclass(slots=True)
class Report:
    """What a run found."""

    checked: int = 0
    #: What was read of them.
    size_bytes: int = 0
    damaged: list[Damage] = field(default_factory=list)
    #: What is stored as it was acknowledged, and is no good to a trainer.
    untrainable: list[Damage] = field(default_factory=list)
    #: Whether everything that was chosen was read; else the next run with `resume` goes on.
    complete: bool = True
    #: Why the place could not be noted, from which the next run with `resume` would go on.
    place_lost: str | None = None


@dataclass(frozen=True, slots=True)
class _Left:
    """What a run leaves to the next: where it stopped, and which part comes next."""

    cursor: str | None
    turn: int


class Verifier:
    """One run over what `filters` choose, newest first."""

    def __init__(
        self,
        place: Memo,
        store: EpisodeStore,
        index: EpisodeIndex,
        *,
        throttle: Throttle,
        sample: float = 1.0,
        deadline: float | None = None,
    ) -> None:
        """Read a part `sample` (above 0, to 1) of the episodes, another one with each run and at least one episode,
        until `deadline` (of `time.monotonic`); `place` keeps where a run stopped."""
        self._memo = place
        self._store = store
        self._index = index
        self._throttle = throttle
        self._sample = sample
        self._deadline = deadline

    def run(self, filters: Filters, *, resume: bool, progress: Progress = SILENT) -> Report:
        """Check episode by episode. A run that ends early, by its deadline or by ^C, leaves its place.

        Raises:
            ReceiverError: the index cannot be read.
        """
        report = Report()
        left = self._left()
        cursor = left.cursor if resume else None
        sample, turn = Sample(self._sample, left.turn), left.turn
        nearest: Episode | None = None
        try:
            size_bytes = self._index.size_bytes(filters.or_withdrawn(), cursor=cursor)
            progress.begin("verifying", round(self._sample * size_bytes))
            for page_cursor, episodes in self._pages(filters, cursor):
                cursor = page_cursor
                for episode in episodes:
                    if self._deadline is not None and time.monotonic() > self._deadline:
                        report.complete = False
                        return report
                    if sample.has(episode.key):
                        self._check_one(episode, report, progress)
                    elif report.checked == 0:
                        nearest = min(nearest or episode, episode, key=lambda one: sample.distance(one.key))
            if nearest is not None and report.checked == 0:
                self._check_one(nearest, report, progress)
            cursor, turn = None, turn + 1
        except KeyboardInterrupt:
            report.complete = False
        finally:
            self._leave(_Left(cursor, turn), report)
        return report

    def _pages(self, filters: Filters, cursor: str | None) -> Iterator[tuple[str | None, list[Episode]]]:
        while True:
            page = self._index.page(filters.or_withdrawn(), limit=_PAGE, cursor=cursor)
            yield cursor, list(page.episodes)
            if page.next is None:
                return
            cursor = page.next

    def _check_one(self, episode: Episode, report: Report, progress: Progress) -> None:
        report.checked += 1
        try:
            damage = self._look_at(episode, report, progress)
        except (ReceiverError, OSError) as exc:
            damage = Damage(episode.key, "unreadable", str(exc.__cause__ or exc))
        if damage is not None:
            (report.untrainable if damage.came_so else report.damaged).append(damage)

    def _look_at(self, episode: Episode, report: Report, progress: Progress) -> Damage | None:
        def spend(count: int) -> None:
            report.size_bytes += count
            progress.advance(count)
            self._throttle.spend(count)

        stored = self._store.open(episode.key)
        if stored is None:
            progress.skip(episode.size_bytes)
            return Damage(episode.key, "missing", "there is no such file")
        with stored:
            before = report.size_bytes
            damage = check_episode(episode, stored, spend)
            progress.skip(episode.size_bytes - (report.size_bytes - before))
            return damage

    def _left(self) -> _Left:
        left = self._memo.read()
        said = left if isinstance(left, dict) else {}
        cursor, turn = said.get("cursor"), said.get("turn")
        return _Left(cursor if isinstance(cursor, str) else None, turn if type(turn) is int else 0)

    def _leave(self, left: _Left, report: Report) -> None:
        """What was found does not depend on whether anything can be written."""
        try:
            self._memo.write({"cursor": left.cursor, "turn": left.turn % (1 << 32)})
        except StorageFailed as exc:
            report.place_lost = exc.reason


def check_episode(episode: Episode, stored: OpenEpisode, spend: Callable[[int], None]) -> Damage | None:
    """What is wrong with `stored`, which the index describes as `episode`; None when all is well. `spend` is told the
    bytes of each piece that was read."""
    damage = check_bytes(episode, stored, spend)
    if damage is not None:
        return damage
    try:
        meta = archive.check(stored.stream)
    except archive.ArchiveError as exc:
        return Damage(episode.key, "archive", str(exc))
    phrases = disagreements(episode, meta)
    return Damage(episode.key, "meta", phrases[0]) if phrases else None


def check_bytes(episode: Episode, stored: OpenEpisode, spend: Callable[[int], None]) -> Damage | None:
    """Whether the bytes of `stored` are other ones than `episode` says; as `check_episode`."""
    if stored.size_bytes != episode.size_bytes:
        return Damage(episode.key, "size", f"{stored.size_bytes} bytes, the index says {episode.size_bytes}")
    digest = hashlib.sha256()
    while piece := stored.stream.read(_STEP):
        digest.update(piece)
        spend(len(piece))
    if digest.hexdigest() != episode.sha256:
        return Damage(episode.key, "sha256", f"{digest.hexdigest()}, the index says {episode.sha256}")
    return None
