"""Where a training loop stands in a dataset: in which order it goes on, for which process, and what is left.

It can be written down, and gone on with.
"""

from __future__ import annotations

import random
import warnings
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from cis490_receiver import models
from cis490_receiver.trainer.dataset import Dataset
from cis490_receiver.trainer.failures import DatasetFailed

_VERSION: Final = 1


class Course:
    """One epoch after the other over the part of number `rank` of `world` parts, each split over some workers.

    The episodes of an epoch are settled by the dataset's look before it. What is withdrawn later moves none of them:
    the places of withdrawn episodes stay, and give nothing. So workers, which look at withdrawals on their own, agree
    without speaking to each other.
    """

    def __init__(
        self, dataset: Dataset, *, rank: int = 0, world: int = 1, shuffle: int | None = None
    ) -> None:
        """Raises:
        ValueError: there is no such part, or the processes of the parts could not agree on what there is.
        """
        if not 0 <= rank < world:
            raise ValueError(f"rank must be a number from 0 to {world - 1}, not {rank}")
        if world > 1 and not dataset.is_settled:
            raise ValueError(
                "each of several ranks would look at the receiver at another moment, and episodes that come in between "
                "would be given twice or never: give the Dataset a release=, an until=, or a mirror's folder"
            )
        self.dataset = dataset
        self.epoch = 0
        self._rank = rank
        self._world = world
        self._seed = shuffle
        #: What was left when a state was loaded, until it is gone on with.
        self._rest: Sequence[models.Episode] | None = None
        #: Of the epoch that is under way: its episodes, and how many of its share each worker has given out.
        self._order: Sequence[models.Episode] | None = None
        self._given = [0]
        self._has_looked = False

    @property
    def order(self) -> Sequence[models.Episode]:
        """What this rank gives in this epoch, or gave, or what is left where a state was loaded; withdrawn episodes
        among it."""
        if self._order is not None:
            return self._order
        return self._rest if self._rest is not None else self._whole()

    def begin(self, epoch: int) -> None:
        """Let the next iteration be this epoch, with what there is now. When it is the one whose state was loaded, what
        was left of it stays what is given.

        Raises:
            DatasetFailed: the source does not tell.
        """
        if self._rest is not None and epoch == self.epoch:
            return
        self.epoch, self._rest, self._order = epoch, None, None
        self._look()

    def start(self, workers: int) -> None:
        """Iterate, with so many workers, over what was left, or over what there is now.

        Raises:
            DatasetFailed: as `begin`.
        """
        if self._rest is None and not self._has_looked:
            self._look()
        self._order = self._rest if self._rest is not None else self._whole()
        self._rest, self._has_looked = None, False
        self._given = [0] * workers

    def share(self, worker: int, workers: int) -> Sequence[models.Episode]:
        """What the worker of number `worker` has to give."""
        return self.order[worker::workers]

    def given(self, worker: int, count: int) -> None:
        """Of its share, `worker` has given out the first `count`, and they have arrived."""
        self._given[worker] = count

    def finish(self) -> None:
        """All has arrived: the next epoch is the one to begin."""
        self.epoch += 1
        self._order = None

    def state_dict(self) -> dict[str, Any]:
        """Where it stands: the epoch, and what is left of it, or None where it was not begun. Plain values, for
        `torch.save`, `pickle` or JSON."""
        left = self._rest if self._order is None else self._left()
        return {"version": _VERSION, "epoch": self.epoch, "left": None if left is None else _pack(left)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there, with any number of workers. What came since is left to the next epoch, what was withdrawn
        since is left out.

        Raises:
            ValueError: it is no such state.
            DatasetFailed: none of what was left is there, or the source does not tell.
        """
        try:
            if state["version"] != _VERSION:
                raise ValueError(f"version {state['version']!r}")
            names = None if state["left"] is None else _unpack(state["left"])
            epoch = int(state["epoch"])
        except (KeyError, TypeError, ValueError, zlib.error) as exc:
            raise ValueError(f"not the state of such a dataset: {exc!r}") from exc
        self._rest = None
        self.begin(epoch)
        if names is not None:
            self._rest = self._find(names)

    def _look(self) -> None:
        self.dataset.refresh()
        self._has_looked = True

    def _whole(self) -> Sequence[models.Episode]:
        records = list(self.dataset.records)
        if self._seed is not None:
            random.Random(f"{self._seed} {self.epoch}").shuffle(records)  # noqa: S311 - no secret
        return records[self._rank :: self._world]

    def _left(self) -> list[models.Episode]:
        workers = len(self._given)
        return [
            record
            for place, record in enumerate(self.order)
            if place // workers >= self._given[place % workers]
        ]

    def _find(self, names: Sequence[str]) -> list[models.Episode]:
        known = {_name(record): record for record in self.dataset.records}
        found = [known[name] for name in names if name in known]
        if names and not found:
            raise DatasetFailed("none of the episodes that were left is in this dataset: it is another")
        if len(found) < len(names):
            warnings.warn(
                f"{len(names) - len(found)} of the episodes that were left are not there any more",
                stacklevel=3,
            )
        return found


def _name(record: models.Episode) -> str:
    return f"{record.host_id}/{record.episode_id}"


def _pack(records: Sequence[models.Episode]) -> str:
    return zlib.compress("\n".join(map(_name, records)).encode("ascii")).hex()


def _unpack(text: str) -> list[str]:
    return zlib.decompress(bytes.fromhex(text)).decode("ascii").split()
