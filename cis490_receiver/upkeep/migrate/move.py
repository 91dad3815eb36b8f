"""A move from its first step to its last. See the package for their order."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cis490_receiver.clock import Clock
from cis490_receiver.errors import StorageFailed
from cis490_receiver.filters import Filters
from cis490_receiver.ingest import recover
from cis490_receiver.logfmt import event
from cis490_receiver.progress import SILENT, Progress
from cis490_receiver.upkeep.migrate.base import Destination, Origin
from cis490_receiver.upkeep.migrate.copying import Compared, Copying
from cis490_receiver.upkeep.migrate.records import copy_records, copy_releases
from cis490_receiver.upkeep.rebuild import rebuild_held

log = logging.getLogger(__name__)

#: How often it is looked whether the origin is still in use.
_PAUSE_SECONDS: Final = 0.5
#: When fewer bytes of the index came than these while the last were copied, more need not be copied in advance.
_FEW_BYTES: Final = 64 << 10


class StillUsed(StorageFailed):
    """Somebody uses the origin, and would acknowledge what does not come along."""

    code = "still-used"


class AlreadyMoved(StorageFailed):
    """There is nothing left to do."""

    code = "already-moved"


class LeftBehind(StorageFailed):
    """Not every episode can be copied."""

    code = "left-behind"


@dataclass(frozen=True, slots=True)
class Finished:
    """How a move ended.

    Attributes:
        compared: the index, which is the same at both places.
        episodes: how many episodes are at the destination.
        stopped_seconds: for how long neither place took anything.
    """

    compared: Compared
    episodes: int
    stopped_seconds: float


class Move:
    """Everything of `origin` to `destination`. Attributes: `copying`, which tells what was copied and what was not."""

    def __init__(
        self,
        origin: Origin,
        destination: Destination,
        clock: Clock,
        *,
        jobs: int,
        refusals_since_ns: int,
        progress: Progress = SILENT,
    ) -> None:
        """`jobs`: how many episodes are on their way at once. `refusals_since_ns`: who was refused before (nanoseconds
        since the epoch) is not moved."""
        self._origin = origin
        self._destination = destination
        self._clock = clock
        self._refusals_since_ns = refusals_since_ns
        self.copying = Copying(origin.kept, destination, jobs=jobs, progress=progress)

    def copy(self) -> None:
        """Copy what there is, while the origin goes on.

        Raises:
            AlreadyMoved: everything is at the destination, which is in use.
            ConfigError: the destination has something else in it.
            ReceiverError, OSError: something cannot be read or written; the next time goes on.
        """
        if self._destination.arrived_from() == self._origin.name:
            # Whoever was at it was ended before the last word.
            if self._origin.is_leaving():
                self._origin.leave(self._destination.name)
            raise AlreadyMoved(f"everything is in {self._destination.name}, which is in use")
        self._destination.begin(self._origin.name)
        self._origin.kept.index.make_durable()
        self.copying.try_those_left()
        while self.copying.catch_up() > _FEW_BYTES:
            continue
        copy_releases(self._origin.kept, self._destination.kept)

    def finish(self, tell: Callable[[str], None], *, wait_seconds: float, leave: bool) -> Finished:
        """Copy the rest when nobody uses the origin any more, compare, and open the destination. `tell` is told who
        does use it, once; then it is waited for, `wait_seconds` long at most. `leave`: also where episodes cannot be
        copied, which stay at the origin.

        Raises:
            StillUsed: somebody uses the origin still.
            LeftBehind: not every episode could be copied.
            ReceiverError, OSError: something fails. The origin goes on then; where it was not to be known whether the
                destination was opened, both are closed until this is done again.
        """
        self._wait_until_unused(tell, wait_seconds)
        began = time.monotonic()
        try:
            with self._origin.kept.index.renewal(self._clock).alone():
                episodes = self._copy_the_rest(leave)
        except BaseException:
            # The destination is closed still.
            self._origin.reopen()
            raise
        compared = self.copying.compared
        self._destination.open(self.copying.generation, compared.size_bytes)
        stopped = time.monotonic() - began
        self._origin.leave(self._destination.name)
        log.info(event("moved", to=self._destination.name, episodes=episodes, stopped_s=f"{stopped:.2f}"))
        return Finished(compared, episodes, stopped)

    def _copy_the_rest(self, leave: bool) -> int:
        """All that nobody adds to any more; gives how many episodes are at the destination."""
        origin, destination = self._origin.kept, self._destination.kept
        # What a writer published that was killed.
        recover(origin.store, origin.index, rebuild_held)
        origin.index.make_durable()
        while self.copying.catch_up():
            continue
        if self.copying.left and not leave:
            raise LeftBehind(f"{len(self.copying.left)} episodes cannot be copied")
        copy_releases(origin, destination)
        copy_records(origin, destination, now_ns=self._clock.now_ns(), since_ns=self._refusals_since_ns)
        return self._compare_counts()

    def give_up(self) -> None:
        """Let the origin go on, and nothing come of what was copied.

        Raises:
            AlreadyMoved: the destination was opened: episodes may be acknowledged there.
        """
        if self._destination.arrived_from() == self._origin.name:
            raise AlreadyMoved(
                f"everything is in {self._destination.name}, where episodes may have come since; move it back instead"
            )
        # Nobody else can open it from here on.
        self._destination.begin(self._origin.name)
        self._origin.reopen()

    def _wait_until_unused(self, tell: Callable[[str], None], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        told = False
        while (users := self._origin.close(self._destination.name)) is not None:
            if not told:
                tell(users)
                told = True
            if time.monotonic() > deadline:
                raise StillUsed(f"{users}; stop it, and run this again")
            # What comes until then need not be copied while everything is stopped.
            if not self.copying.catch_up():
                time.sleep(_PAUSE_SECONDS)

    def _compare_counts(self) -> int:
        """See that there are as many episodes as the index has, and give their number."""
        expected = self._origin.kept.index.count(Filters(withdrawn="include")) - len(self.copying.left)
        found = self._destination.count()
        if found > expected:
            self._put_aside_what_has_no_line()
            found = self._destination.count()
        if found != expected:
            raise StorageFailed(
                f"{self._destination.name} has {found} episodes, and the index names {expected}; nothing was switched"
            )
        return found

    def _put_aside_what_has_no_line(self) -> None:
        """Episodes that were taken out of the index after they had been copied."""
        store = self._destination.kept.store
        for key in store.all_keys():
            if self._origin.kept.index.find(key) is None:
                store.quarantine(key, lambda held: True)
