"""A data folder as either end of a move."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from pathlib import Path
from typing import Final

from cis490_receiver.backends.everything import Backends
from cis490_receiver.backends.local import use_local
from cis490_receiver.clock import Clock
from cis490_receiver.config import Settings
from cis490_receiver.errors import ConfigError, StorageFailed
from cis490_receiver.files import atomic, in_use
from cis490_receiver.files.lines import end_of_lines
from cis490_receiver.index.generation import GENERATION_NAME, Generation
from cis490_receiver.models import Episode, wall_time
from cis490_receiver.state import moving
from cis490_receiver.state.base.moving import Moving, State
from cis490_receiver.state.marks import MemoFile
from cis490_receiver.state.place import check_access
from cis490_receiver.storage.filesystem import FilesystemStore

#: The index while it is incomplete, and which generation of the other place's it is.
_LINES_NAME: Final = "index.arriving.jsonl"
_GENERATION_NAME: Final = "index.arriving.generation"
_LEFT_NAME: Final = "left-behind.json"


def settings_of(folder: Path, settings: Settings) -> Settings:
    """`settings` for a receiver that keeps everything in `folder`."""
    return replace(settings, data_dir=folder, database_url=None, objects_url=None)


class FolderOrigin:
    """See `upkeep.migrate.base.Origin`."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        """`settings` are the folder's (`settings_of`).

        Raises:
            ConfigError: it is no receiver's folder, or not ours to use.
        """
        self._folder = settings.data_dir
        self._clock = clock
        self._alone = contextlib.ExitStack()
        check_access(self._folder, f"migrate --from {self._folder}")
        self.kept: Backends = use_local(settings)
        self.kept.place.check_used()
        moved = moving.read(self._folder)
        if moved is not None and moved.is_closed and moved.state != "leaving":
            raise ConfigError(f"{self._folder} is a folder {moved.told(f'--to {self._folder}')}")

    @property
    def name(self) -> str:
        """See `Origin.name`."""
        return f"{os.uname().nodename}:{self._folder.resolve()}"

    def is_leaving(self) -> bool:
        """See `Origin.is_leaving`."""
        moved = moving.read(self._folder)
        return moved is not None and moved.state == "leaving"

    def close(self, destination: str) -> str | None:
        """See `Origin.close`. Nobody can use it beside this process from then on."""
        alone = self._alone.enter_context(in_use.alone_or_not(self._folder))
        if not alone:
            self._alone.close()
            return f"a receiver or a command uses {self._folder}"
        moved = moving.read(self._folder)
        if moved is not None and moved.is_closed and moved.other != destination:
            raise ConfigError(f"{self._folder} is a folder {moved.told(f'--from {self._folder}')}")
        if moved is None or not moved.is_closed:
            self._say("leaving", destination)
        return None

    def reopen(self) -> None:
        """See `Origin.reopen`."""
        self._say("arrived", self.name)
        self._alone.close()

    def leave(self, destination: str) -> None:
        """See `Origin.leave`."""
        self._say("left", destination)
        self._alone.close()

    def _say(self, state: State, other: str) -> None:
        moving.write(self._folder, Moving(state, other, wall_time(self._clock.now_ns())))


class FolderDestination:
    """See `upkeep.migrate.base.Destination`. A folder that everything was moved from before is taken too: what it has
    still need not come again."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        """`settings` are the folder's (`settings_of`)."""
        self._folder = settings.data_dir
        self._origin = ""
        self._clock = clock
        self._alone = contextlib.ExitStack()
        self.kept: Backends = use_local(settings)
        self.left = MemoFile(self._folder / _LEFT_NAME)

    @property
    def name(self) -> str:
        """See `Destination.name`."""
        return f"{os.uname().nodename}:{self._folder.resolve()}"

    def begin(self, origin: str) -> None:
        """See `Destination.begin`."""
        atomic.make_folder(self._folder)
        check_access(self._folder, f"migrate --to {self._folder}")
        if not self._alone.enter_context(in_use.alone_or_not(self._folder)):
            raise ConfigError(
                f"{self._folder} is used by a receiver or a command; stop it, or name another folder"
            )
        moved = moving.read(self._folder)
        if moved is None and set(os.listdir(self._folder)) > {in_use.FILE_NAME}:
            raise ConfigError(
                f"{self._folder} is not empty; name a new folder, or one that everything was moved from"
            )
        if moved is not None and not moved.is_closed:
            raise ConfigError(f"{self._folder} is in use since {moved.since_wall}; name another folder")
        if moved is not None and moved.other != origin:
            raise ConfigError(
                f"{self._folder} belongs to {moved.other}, not to {origin}; name another folder"
            )
        if moved is None or moved.state != "filling":
            self._say("filling", origin)
        self._origin = origin
        FilesystemStore(self._folder).prepare()

    def arrived_from(self) -> str | None:
        """See `Destination.arrived_from`."""
        moved = moving.read(self._folder)
        return moved.other if moved is not None and not moved.is_closed else None

    def _say(self, state: State, other: str) -> None:
        moving.write(self._folder, Moving(state, other, wall_time(self._clock.now_ns())))

    def reached(self, generation: str) -> int:
        """See `Destination.reached`. Lines of another generation are forgotten."""
        noted = self._folder / _GENERATION_NAME
        with self._lines() as fd:
            if not noted.exists() or noted.read_text() != generation:
                os.ftruncate(fd, 0)
                os.fsync(fd)
                atomic.replace_file(noted, generation.encode("ascii"))
            os.ftruncate(fd, end_of_lines(fd))
            return os.fstat(fd).st_size

    def lines(self, generation: str, start: int, end: int) -> Iterator[bytes]:
        """See `Destination.lines`."""
        with self._lines() as fd:
            yield os.pread(fd, end - start, start)

    def add_lines(self, generation: str, start: int, text: bytes) -> None:
        """See `Destination.add_lines`."""
        with self._lines() as fd:
            if os.fstat(fd).st_size != start:
                raise StorageFailed(f"{_LINES_NAME} was changed by somebody else")
            atomic.append_lines(fd, self._folder / _LINES_NAME, [text])

    @contextlib.contextmanager
    def _lines(self) -> Iterator[int]:
        with atomic.locked_file(self._folder / _LINES_NAME) as fd:
            yield fd

    def known(self, episodes: Sequence[Episode]) -> AbstractSet[Episode]:
        """See `Destination.known`: none, as nothing but its bytes tells what a file is."""
        return frozenset()

    def has(self, episode: Episode) -> bool:
        """See `Destination.has`: they are read."""
        with self.kept.store.hold(episode.key, wait_seconds=0) as held:
            if held is None or held.size_bytes != episode.size_bytes or held.hexdigest() != episode.sha256:
                return False
            held.make_durable()
            held.settle()
            return True

    def keep(self, episode: Episode, line: bytes, placed: str) -> bool:
        """See `Destination.keep`: it has its name."""
        return True

    def count(self) -> int:
        """See `Destination.count`."""
        return sum(1 for _ in self.kept.store.all_keys())

    def open(self, generation: str, end: int) -> None:
        """See `Destination.open`."""
        work, index = self._folder / _LINES_NAME, self._folder / "index.jsonl"
        if work.exists():
            with self._lines() as fd:
                if os.fstat(fd).st_size != end:
                    raise StorageFailed(f"{_LINES_NAME} was changed by somebody else")
                Generation(self._folder / GENERATION_NAME).give(fd, generation)
                os.fsync(fd)
                os.rename(work, index)
                atomic.sync_folder(self._folder)
        for name in (_GENERATION_NAME, _LEFT_NAME):
            (self._folder / name).unlink(missing_ok=True)
        self._say("arrived", self._origin)
        self._alone.close()
