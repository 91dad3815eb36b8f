"""releases/: a table of contents for each release, and beside it what is said of it.

``NAME.jsonl`` is the release: it has its name when it is whole, is read-only, and is never written again.
``NAME.json`` comes before it and says what would otherwise be counted each time; without a table it means nothing, and
the next release of that name has its own in its place. A table whose description was lost is described anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final

from cis490_receiver import i_json, protocol
from cis490_receiver.errors import StorageFailed, StorageFull
from cis490_receiver.files import atomic, naming
from cis490_receiver.index.base import Selection
from cis490_receiver.index.base.releases import About, OpenRelease, Release, ReleaseExists
from cis490_receiver.index.release_making import NewTable, newest_first
from cis490_receiver.index.release_table import Name, SortedTable
from cis490_receiver.index.release_withdrawals import WithdrawnNames, WithdrawnSince
from cis490_receiver.logfmt import event
from cis490_receiver.models import Episode, EpisodeKey, wall_time

log = logging.getLogger(__name__)

FOLDER_NAME: Final = "releases"
TABLE_SUFFIX: Final = ".jsonl"
_ABOUT_SUFFIX: Final = ".json"
#: No release bears such names: they do not obey the id rule.
_LOCK: Final = ".lock"
_NEW_TABLE: Final = ".new.jsonl"
_NEW_ABOUT: Final = ".new.json"
_READ_ONLY: Final = 0o440


@dataclass(frozen=True, slots=True)
class _Identity:
    """What tells a table from others, without reading it."""

    inode: int
    size_bytes: int
    modified_ns: int


def _identity(stream: BinaryIO) -> _Identity:
    """The table that is open as `stream`."""
    status = os.fstat(stream.fileno())
    return _Identity(status.st_ino, status.st_size, status.st_mtime_ns)


class ReleaseFolder:
    """See `index.base.releases.Releases`."""

    def __init__(self, data_dir: Path, index: WithdrawnNames) -> None:
        self._folder = data_dir / FOLDER_NAME
        self._withdrawn = WithdrawnSince(index)
        #: What tables without a description were found to be.
        self._described: dict[_Identity, Release] = {}

    def create(self, name: str, selection: Selection, about: About) -> Release:
        """See `Releases.create`. Those who make releases at once take turns."""
        if not protocol.is_valid_id(name):
            raise ValueError(f"not a release's name: {name!r}")
        try:
            atomic.make_folder(self._folder)
            with atomic.locked_file(self._folder / _LOCK):
                if self._table(name).exists():
                    raise FileExistsError
                return self._create(name, selection, about)
        except FileExistsError:
            raise ReleaseExists.named(name) from None
        except OSError as exc:
            kind = StorageFull if exc.errno in atomic.NO_SPACE else StorageFailed
            log.error(event(kind.code, doing="release", name=name, reason=exc.strerror))
            raise kind from exc

    def _create(self, name: str, selection: Selection, about: About) -> Release:
        new = self._folder / _NEW_TABLE
        try:
            table = NewTable(selection)
            naming.write_new_file(new, table.pieces(), _READ_ONLY)
            release = table.as_release(name, about)
            # Whoever sees the table finds its own description there.
            self._describe(release)
            naming.publish_new_file(new, self._table(name))
            return release
        finally:
            with contextlib.suppress(OSError):
                new.unlink(missing_ok=True)

    def _describe(self, release: Release) -> None:
        new, description = self._folder / _NEW_ABOUT, self._folder / f"{release.name}{_ABOUT_SUFFIX}"
        naming.write_new_file(new, [json.dumps(asdict(release), indent=1).encode("ascii")], _READ_ONLY)
        if description.exists():
            # Of a table that was taken away because its name could not be synced: it must not come back to ours.
            atomic.sync_folder(self._folder)
        os.rename(new, description)
        atomic.sync_folder(self._folder)

    def all(self) -> Sequence[Release]:
        """See `Releases.all`."""
        try:
            names = sorted(
                path.name.removesuffix(TABLE_SUFFIX) for path in self._folder.glob(f"*{TABLE_SUFFIX}")
            )
        except OSError as exc:
            raise StorageFailed from exc
        return newest_first(release for name in names if (release := self.find(name)) is not None)

    def find(self, name: str) -> Release | None:
        """See `Releases.find`."""
        opened = self.open(name)
        if opened is None:
            return None
        opened.stream.close()
        return opened.release

    def open(self, name: str) -> OpenRelease | None:
        """See `Releases.open`."""
        if not protocol.is_valid_id(name):
            return None
        try:
            stream = open(self._table(name), "rb")  # noqa: SIM115 - the caller closes it
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise StorageFailed from exc
        try:
            status = os.fstat(stream.fileno())
            release = self._read_about(name, status.st_size) or self._read_whole(name, stream)
            return OpenRelease(release, stream, status.st_mtime_ns)
        except BaseException:
            stream.close()
            raise

    def count_withdrawn(self, release: Release) -> int | None:
        """See `Releases.count_withdrawn`. Looked up anew when withdrawals changed."""
        opened = self.open(release.name)
        if opened is None:
            return None
        with opened.stream:
            found = self._withdrawn_of(opened)
            return None if found is None else len(found)

    def withdrawn(self, release: Release) -> Sequence[EpisodeKey]:
        """See `Releases.withdrawn`."""
        opened = self.open(release.name)
        if opened is None:
            return []
        with opened.stream:
            return [EpisodeKey(*name) for name in sorted(self._withdrawn_of(opened) or ())]

    def _withdrawn_of(self, opened: OpenRelease) -> frozenset[Name] | None:
        this = _identity(opened.stream)
        read_at = partial(os.pread, opened.stream.fileno())
        return self._withdrawn.of(this, opened.release.name, lambda: SortedTable(read_at, this.size_bytes))

    def _table(self, name: str) -> Path:
        return self._folder / f"{name}{TABLE_SUFFIX}"

    def _read_about(self, name: str, size_bytes: int) -> Release | None:
        """What is said of the table `name`; None when nothing is, or it is said of another."""
        try:
            release = _parse(i_json.loads((self._folder / f"{name}{_ABOUT_SUFFIX}").read_bytes()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError) as exc:
            log.warning(event("release-description-damaged", name=name, reason=exc))
            return None
        return release if (release.name, release.size_bytes) == (name, size_bytes) else None

    def _read_whole(self, name: str, stream: BinaryIO) -> Release:
        """What the table itself tells."""
        this = _identity(stream)
        known = self._described.get(this)
        if known is None or known.name != name:
            known = self._described[this] = _summed_up(name, stream, this.modified_ns)
            stream.seek(0)
        return known


def _summed_up(name: str, stream: BinaryIO, modified_ns: int) -> Release:
    digest = hashlib.sha256()
    size_bytes, episodes, episode_bytes = 0, 0, 0
    hosts = set()
    for line in stream:
        digest.update(line)
        size_bytes += len(line)
        with contextlib.suppress(ValueError):
            episode = Episode.from_line(line)
            hosts.add(episode.host_id)
            episodes, episode_bytes = episodes + 1, episode_bytes + episode.size_bytes
    return Release(
        name=name,
        sha256=digest.hexdigest(),
        size_bytes=size_bytes,
        episodes=episodes,
        episode_bytes=episode_bytes,
        hosts=len(hosts),
        about=About(created_at_wall=wall_time(modified_ns), filters={}, why="", by=""),
    )


def _parse(data: dict[str, object]) -> Release:
    """Raises:
    ValueError, TypeError, KeyError: `data` describes no release.
    """
    about = data["about"]
    if not isinstance(about, dict) or not isinstance(about["filters"], dict):
        raise ValueError("not a release's description")
    texts = [data["name"], data["sha256"], about["created_at_wall"], about["why"], about["by"]]
    counts = [data["size_bytes"], data["episodes"], data["episode_bytes"], data["hosts"]]
    if not all(isinstance(text, str) for text in [*texts, *about["filters"].values()]):
        raise ValueError("not a release's description: what should be a text is none")
    if not all(type(count) is int and 0 <= count < 1 << 63 for count in counts):
        raise ValueError("not a release's description: what should be a count is none")
    if not protocol.is_sha256(str(data["sha256"])):
        raise ValueError("not a release's description: bad sha256")
    members = {name: data[name] for name in Release.__dataclass_fields__ if name != "about"}
    return Release(**members, about=About(**{name: about[name] for name in About.__dataclass_fields__}))  # type: ignore[arg-type]
