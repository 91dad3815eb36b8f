"""The episodes of a receiver, or of a mirror's folder, as a sequence."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, overload

from cis490_receiver import models
from cis490_receiver.http_client.endpoint import is_address
from cis490_receiver.http_client.failures import TransportFailed
from cis490_receiver.trainer.ahead import Ahead
from cis490_receiver.trainer.cache import DEFAULT_BYTES, Cache, default_folder
from cis490_receiver.trainer.choice import choose
from cis490_receiver.trainer.contents import Contents, FolderContents, ReceiverContents
from cis490_receiver.trainer.episode import Episode
from cis490_receiver.trainer.failures import DatasetFailed
from cis490_receiver.trainer.lines import Access, Lines
from cis490_receiver.trainer.look import Look, Question
from cis490_receiver.trainer.samples import Sample, samples, tuples
from cis490_receiver.trainer.supplies import FromFolder, FromReceiver, Supply


class Dataset(Sequence[Episode]):
    """The episodes of `source` that pass the filters, sorted by host and then episode.

    **Looks.** What a dataset has is what its source listed when it looked last: at the first use, at the beginning of
    every iteration, and at `refresh`. So a new iteration has what came since, and has none that was withdrawn before
    it began; one that is under way stays as it began. A mirror's folder shows what its last `mirror` run brought.
    `len`, indexing and tables tell of the last look.

    **Withdrawn episodes** are left out, unless ``withdrawn="include"`` or ``"only"`` is given.

    **A release** (`release`) is exactly what its table has, whose SHA-256 is verified, also what was withdrawn since it
    was made: a warning says how many these are. Further filters choose from it.

    Objects can be pickled and used in processes that were forked off; each makes connections of its own.
    """

    def __init__(
        self,
        source: str | os.PathLike[str],
        token: str | os.PathLike[str] | None = None,
        release: str | None = None,
        *,
        release_sha256: str | None = None,
        cache: bool | str | os.PathLike[str] = True,
        cache_bytes: int = DEFAULT_BYTES,
        ca_file: str | os.PathLike[str] | None = None,
        cert: str | os.PathLike[str] | None = None,
        key: str | os.PathLike[str] | None = None,
        **filters: Any,
    ) -> None:
        """Nothing is asked of the source yet.

        Args:
            source: the URL of a receiver, or the folder of a mirror.
            token: one that may read, or, as a `pathlib.Path`, the file that it stands in.
            release: the name of a release.
            release_sha256: what its table must have, if it is known, from a paper for example.
            cache: where a receiver's episodes are kept for the next time; True is ``$XDG_CACHE_HOME/cis490-receiver``,
                False nowhere.
            cache_bytes: how much may be kept there.
            ca_file: the authority that vouches for the receiver's certificate.
            cert: a client certificate, for a receiver that asks for one.
            key: its key.
            filters: those of ``GET /v1/episodes``: ``host``, ``since``, ``until``, ``commit``, ``episode_type``,
                ``benign_profile``, ``withdrawn``. A time may be a datetime, ``2026-11-23`` or ``7d``.

        Raises:
            TypeError, ValueError: there is no such filter, or no such value of it.
            DatasetFailed: `source` cannot be one, or a file that is named cannot be used.
        """
        self._question = Question(choose(filters), release, release_sha256)
        self._contents: Contents
        self._supply: Supply
        self._receiver: FromReceiver | None = None
        self._look: Look | None = None
        text = os.fspath(source)
        self.source = text
        if "://" not in text:
            folder = Path(text).expanduser()
            if not folder.is_dir():
                raise DatasetFailed(f"there is no folder {folder}; give a mirror's, or a receiver's URL")
            self._contents, self._supply = FolderContents(folder), FromFolder(folder)
            return
        lines = _lines(text, token, ca_file, cert, key)
        self._contents = ReceiverContents(lines)
        self._supply = self._receiver = FromReceiver(lines, _cache(cache, cache_bytes))

    def refresh(self) -> Dataset:
        """Look again, now; gives the dataset itself.

        Raises:
            DatasetFailed: the source does not answer as one.
        """
        self._look = self._question.ask(self._contents)
        return self

    def __len__(self) -> int:
        return len(self._last().chosen)

    def __iter__(self) -> Iterator[Episode]:
        self.refresh()
        return self._read_on(self._last())

    @overload
    def __getitem__(self, index: int) -> Episode: ...

    @overload
    def __getitem__(self, index: slice) -> list[Episode]: ...

    def __getitem__(self, index: int | slice) -> Episode | list[Episode]:
        look = self._last()
        if isinstance(index, slice):
            return [_episode(look, record, self._supply) for record in look.chosen[index]]
        return _episode(look, look.chosen[index], self._supply)

    def shard(self, rank: int, world: int) -> Dataset:
        """The part of number `rank` of `world` parts that have nothing in common, are everything together, and are
        of equal size, give or take one: of the episodes in their order, every `world`-th, from number `rank` on.

        A part is settled by this dataset's last look: later looks of it take out what was withdrawn, and move nothing
        between the parts. Processes that take a part each must have looked at the same: at a release, a folder, or
        episodes before a moment (``until=``).

        Raises:
            ValueError: there is no such part.
        """
        if not 0 <= rank < world:
            raise ValueError(f"rank must be a number from 0 to {world - 1}, not {rank}")
        return self.only(self._last().records[rank::world])

    def samples(self, *names: str) -> Iterator[Sample]:
        """Each episode as a sample of webdataset: ``__key__``, ``__url__`` and the contents of the files `names`, or
        of all, by name. An iteration like any other."""
        return samples(self, *names)

    def tuples(self, *names: str) -> Iterator[tuple[bytes, ...]]:
        """Of each episode the contents of the files `names`."""
        return tuples(self, *names)

    def torch(self, **options: Any) -> Any:
        """An `IterableDataset` of PyTorch that splits over workers and ranks; see `trainer.torch`.

        Raises:
            ExtraMissing: torch is not installed.
        """
        from cis490_receiver.trainer.torch import EpisodeIterableDataset

        return EpisodeIterableDataset(self, **options)

    def to_hugging_face(self, *names: str, parts: int = 16) -> Any:
        """A `datasets.IterableDataset`, of `parts` shards: rows with the fields of the index line and the contents of
        the files `names`.

        Raises:
            ExtraMissing: `datasets` is not installed.
        """
        from cis490_receiver.trainer.hugging_face import iterable_dataset

        return iterable_dataset(self, names, parts)

    @property
    def records(self) -> Sequence[models.Episode]:
        """The index lines of the last look, those of withdrawn episodes among them."""
        return self._last().records

    @property
    def is_settled(self) -> bool:
        """Whether what comes to the source later does not belong to it."""
        question = self._question
        is_bounded = question.release is not None or question.filters.get("until") is not None
        return is_bounded or question.pinned is not None or self._receiver is None

    def only(self, records: Sequence[models.Episode]) -> Dataset:
        """The same of these records alone, in their order; later looks take out what was withdrawn."""
        part = object.__new__(type(self))
        part.__dict__.update(self.__dict__, _question=replace(self._question, pinned=records), _look=None)
        return part

    def to_pandas(self) -> Any:
        """The index lines of the last look as a `pandas.DataFrame`; needs pandas. ``received_at`` is a time."""
        from cis490_receiver.trainer.tables import to_pandas

        return to_pandas(list(self[:]))

    def to_arrow(self) -> Any:
        """The index lines of the last look as a `pyarrow.Table`; needs pyarrow. ``received_at`` is a time."""
        from cis490_receiver.trainer.tables import to_arrow

        return to_arrow(list(self[:]))

    def __repr__(self) -> str:
        release = f", release={self._question.release!r}" if self._question.release else ""
        return f"Dataset({self.source!r}{release}, {self._question.filters!r})"

    def _last(self) -> Look:
        if self._look is None:
            self.refresh()
        assert self._look is not None
        return self._look

    def _read_on(self, look: Look) -> Iterator[Episode]:
        """What was chosen, read ahead as long as it is read."""
        ahead = Ahead(self._receiver, look.chosen) if self._receiver else None
        try:
            for position, record in enumerate(look.chosen):
                yield _episode(look, record, self._supply if ahead is None else ahead.at(position))
        finally:
            if ahead is not None:
                ahead.close()


def _episode(look: Look, record: models.Episode, supply: Supply) -> Episode:
    said = look.withdrawn.get((record.host_id, record.episode_id))
    return Episode(
        **vars(record),
        is_withdrawn=said is not None,
        withdrawn_at_wall=said.at_wall if said else None,
        withdrawn_why=said.why if said else None,
        _supply=supply,
    )


def _lines(
    url: str,
    token: str | os.PathLike[str] | None,
    ca_file: str | os.PathLike[str] | None,
    cert: str | os.PathLike[str] | None,
    key: str | os.PathLike[str] | None,
) -> Lines:
    if not is_address(url):
        raise DatasetFailed(f"{url} is not the address of a receiver; give http://HOST:PORT or https://HOST")
    if (cert is None) != (key is None):
        raise DatasetFailed("give cert= and key= together")
    try:
        word = token if token is None or isinstance(token, str) else _read_token(Path(token))
    except OSError as exc:
        raise DatasetFailed(f"token= {token} cannot be read: {exc.strerror}") from exc
    except ValueError as exc:
        raise DatasetFailed(f"token=: the content of {token} {exc}") from exc
    certificate = (Path(cert), Path(key)) if cert is not None and key is not None else None
    try:
        return Lines(Access(url, word, None if ca_file is None else Path(ca_file), certificate))
    except TransportFailed as exc:
        raise DatasetFailed(f"{exc.message}; {exc.remedy}") from exc


def _read_token(path: Path) -> str:
    # It brings click, which nothing else here needs.
    from cis490_receiver.configuration.token import read_token

    return read_token(path)


def _cache(where: bool | str | os.PathLike[str], limit_bytes: int) -> Cache | None:
    if where is False or limit_bytes <= 0:
        return None
    folder = default_folder() if where is True else Path(where).expanduser()
    try:
        return Cache(folder, limit_bytes)
    except OSError as exc:
        if where is not True:
            raise DatasetFailed(f"cache= {folder} cannot be used: {exc.strerror}") from exc
        warnings.warn(f"nothing is cached: {folder} cannot be used: {exc.strerror}", stacklevel=3)
        return None
