"""Make a mirror's folder have some episodes, whatever it has of them already."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

from cis490_receiver.files import atomic
from cis490_receiver.http_client.failures import TransportFailed
from cis490_receiver.models import Episode, EpisodeKey
from cis490_receiver.progress import Progress
from cis490_receiver.trainer.fetch import PARTIAL_FOLDER, Fetcher
from cis490_receiver.trainer.layout import hash_file
from cis490_receiver.trainer.remote import MirrorFailed, Remote


@dataclass(slots=True)
class Result:
    """What a run did."""

    fetched: int = 0
    fetched_bytes: int = 0
    present: int = 0
    #: Episodes that were here and went to ``withdrawn/``, because the receiver withdrew them.
    withdrawn: int = 0
    #: Episodes that could not be had, and why.
    failed: dict[str, str] = field(default_factory=dict)


class Supply:
    """Looks for episodes in `folder`, and fetches those that are not there."""

    def __init__(self, remote: Remote, folder: Path, *, jobs: int, progress: Progress) -> None:
        self._remote = remote
        self._folder = folder
        self._jobs = jobs
        self._progress = progress

    def complete(
        self,
        wanted: Collection[Episode],
        known: Mapping[EpisodeKey, str],
        find: Callable[[Path, EpisodeKey], Path],
    ) -> Result:
        """Fetch those of `wanted` that are not here. `find` tells where an episode of the folder lies, or would; the
        bytes of those with a SHA-256 in `known` are not read again.

        Raises:
            TransportFailed: nothing can be had from this receiver, by whatever try.
        """
        result = Result()
        self._fetch(self._list_missing(wanted, known, find), result)
        result.present = len(wanted) - len(result.failed)
        return result

    def _list_missing(
        self,
        wanted: Collection[Episode],
        known: Mapping[EpisodeKey, str],
        find: Callable[[Path, EpisodeKey], Path],
    ) -> list[Episode]:
        self._progress.begin("looking at what is here", len(wanted), "episodes")
        missing = []
        for episode in wanted:
            if not _is_here(find(self._folder, episode.key), episode, known.get(episode.key)):
                missing.append(episode)
            self._progress.advance()
        return missing

    def _fetch(self, missing: Sequence[Episode], result: Result) -> None:
        self._progress.begin("fetching", sum(episode.size_bytes for episode in missing))
        fetcher = Fetcher(self._remote, self._folder, self._progress)
        with ThreadPoolExecutor(self._jobs) as pool:
            under_way = {pool.submit(fetcher.fetch, episode): episode for episode in missing}
            try:
                for done in as_completed(under_way):
                    episode = under_way[done]
                    failure = done.result()
                    if failure is None:
                        result.fetched += 1
                        result.fetched_bytes += episode.size_bytes
                    else:
                        result.failed[str(episode.key)] = failure
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise


def _is_here(path: Path, episode: Episode, known_sha256: str | None) -> bool:
    try:
        if path.stat().st_size != episode.size_bytes:
            return False
    except OSError:
        return False
    return known_sha256 == episode.sha256 or hash_file(path)[0].hexdigest() == episode.sha256


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep other mirrors off `folder`, which is made when absent.

    Raises:
        MirrorFailed: there is one, or it is no mirror's folder.
    """
    if (folder / "incoming").exists():
        raise MirrorFailed(f"{folder} is a receiver's own data folder; name another")
    atomic.make_folder(folder / PARTIAL_FOLDER)
    with atomic.locked_file_or_none(folder / "mirror.lock") as lock:
        if lock is None:
            raise MirrorFailed(f"another mirror is writing to {folder}")
        yield


@contextlib.contextmanager
def told(what: str) -> Iterator[None]:
    """Let a failure on the way to the receiver be one sentence that ends with what to do."""
    try:
        yield
    except TransportFailed as exc:
        raise MirrorFailed(f"{what}: {exc.message}; {exc.remedy}") from exc
