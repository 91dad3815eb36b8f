"""What a dataset has: one look at its source."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

from cis490_receiver import models
from cis490_receiver.filters import Filters
from cis490_receiver.protocol import is_valid_id
from cis490_receiver.trainer.contents import Contents, Name, Withdrawn, parse_table
from cis490_receiver.trainer.failures import DatasetFailed

_name_of = attrgetter("host_id", "episode_id")


@dataclass(frozen=True, slots=True)
class Look:
    """What there was.

    Attributes:
        records: sorted by host and episode, withdrawn ones among them.
        withdrawn: of which of them (and maybe of others) the source says that they are.
        chosen: those of `records` that are meant.
    """

    records: Sequence[models.Episode]
    withdrawn: Mapping[Name, Withdrawn]
    chosen: Sequence[models.Episode]


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of a source.

    Attributes:
        filters: which episodes are meant.
        release: the release that they are from.
        release_sha256: what its table is known to have.
        pinned: the records to choose from, where they are settled; then only withdrawals are looked at.
    """

    filters: Filters
    release: str | None = None
    release_sha256: str | None = None
    pinned: Sequence[models.Episode] | None = None

    def __post_init__(self) -> None:
        if self.release is not None and not is_valid_id(self.release):
            raise ValueError(f"not a release's name: {self.release!r}")

    def ask(self, contents: Contents) -> Look:
        """Look.

        Raises:
            DatasetFailed: the source does not tell.
        """
        records = self.pinned if self.pinned is not None else self._records(contents)
        withdrawn = contents.withdrawn(self.filters if self.release is None else Filters())
        meant = self.filters.withdrawn if self.release is None else self.filters.or_withdrawn().withdrawn
        if meant == "include":
            chosen = records
        else:
            chosen = [item for item in records if (_name_of(item) in withdrawn) == (meant == "only")]
        if self.release is not None and meant == "include" and self.pinned is None:
            _warn(self.release, sum(_name_of(item) in withdrawn for item in records))
        return Look(records, withdrawn, chosen)

    def _records(self, contents: Contents) -> list[models.Episode]:
        if self.release is None:
            return sorted(contents.records(self.filters), key=_name_of)
        table = contents.release(self.release)
        found = hashlib.sha256(table).hexdigest()
        if self.release_sha256 is not None and found != self.release_sha256.lower():
            raise DatasetFailed(
                f"the release {self.release} has the SHA-256 {found}, and not {self.release_sha256}: it is another"
            )
        records = parse_table(table, self.release)
        return sorted((item for item in records if self.filters.passes(item)), key=_name_of)


def _warn(release: str, count: int) -> None:
    if count:
        warnings.warn(
            f"{count} episodes of the release {release} were withdrawn since it was made; it still holds them. "
            'withdrawn="exclude" leaves them out',
            stacklevel=4,
        )
