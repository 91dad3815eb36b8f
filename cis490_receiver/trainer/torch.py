"""A dataset for PyTorch's DataLoader. Needs torch, which nothing here installs: choose the build for your machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from cis490_receiver.trainer.course import Course
from cis490_receiver.trainer.dataset import Dataset
from cis490_receiver.trainer.episode import Episode
from cis490_receiver.trainer.failures import ExtraMissing
from cis490_receiver.trainer.samples import sample_of

try:
    import torch
    from torch.utils.data import (
        DataLoader,
        IterableDataset,
        default_collate,
        default_convert,
        get_worker_info,
    )
except ImportError as exc:
    raise ExtraMissing("cis490_receiver.trainer.torch", "torch") from exc

_NOT_OURS: Final = ("dataset", "sampler", "batch_sampler", "shuffle")


class EpisodeIterableDataset(IterableDataset):
    """The episodes of a `Dataset`, each once in an epoch, whichever workers and ranks they are split over.

    ``DataLoader(data, batch_size=8, num_workers=4)`` works; `loader` gives a DataLoader that also begins each epoch
    with a new look and tells where it stands (`EpisodeLoader`).

    An iteration has what came before its look: that of its beginning, or, with the workers of a plain DataLoader, the
    one of `set_epoch`, or the first. What was withdrawn before it began is left out by all workers, and moves nothing
    between them.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        transform: Callable[[Episode], Any] | None = None,
        members: Sequence[str] = (),
        rank: int = 0,
        world: int = 1,
        shuffle: int | None = None,
    ) -> None:
        """Make one.

        Args:
            dataset: the episodes.
            transform: makes a sample of an episode, in the worker; must be picklable where workers are spawned. None
                gives samples as webdataset's (`samples.sample_of`), of the files `members`.
            members: the files that such a sample has; all where it is empty.
            rank: which part of the episodes is given here,
            world: of how many: those of `torch.distributed`, for example.
            shuffle: a number, from which, with that of the epoch, the order follows; None leaves them in their order.

        Raises:
            ValueError: there is no such part; or the ranks could not agree on what there is, because the dataset is a
                receiver's without ``release=`` and ``until=``.
        """
        super().__init__()
        self._course = Course(dataset, rank=rank, world=world, shuffle=shuffle)
        self._transform = transform
        self._members = tuple(members)
        # Shared with the workers: whether any of them gave something out.
        self._elsewhere = torch.zeros(1, dtype=torch.uint8).share_memory_()

    def __len__(self) -> int:
        """How many there are in this rank and epoch, at most: withdrawn ones are among them."""
        return len(self._course.order)

    def __iter__(self) -> Iterator[Any]:
        if get_worker_info() is not None:
            yield from (sample for _, sample in self.numbered())
            return
        self._course.start(1)
        for (worker, count), sample in self.numbered():
            self._course.given(worker, count)
            yield sample
        self._course.finish()

    def numbered(self) -> Iterator[tuple[tuple[int, int], Any]]:
        """The samples of this process, each with the number of the worker and how much of its share is complete."""
        info = get_worker_info()
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        if info is not None:
            self._elsewhere[0] = 1
        share = self._course.share(worker, workers)
        count = 0
        for episode in self._course.dataset.only(share):
            while share[count].key != episode.key:
                count += 1
            count += 1
            sample = self._transform(episode) if self._transform else sample_of(episode, *self._members)
            yield (worker, count), sample

    def set_epoch(self, epoch: int) -> None:
        """Begin an epoch: its order, and what there is now. Call it before each epoch of a plain DataLoader.

        Raises:
            DatasetFailed: the source does not tell.
        """
        self._elsewhere[0] = 0
        self._course.begin(epoch)

    @property
    def epoch(self) -> int:
        """The number of the epoch."""
        return self._course.epoch

    def loader(self, **options: Any) -> EpisodeLoader:
        """A DataLoader of this dataset that tells where it stands; see `EpisodeLoader`."""
        return EpisodeLoader(self, **options)

    def state_dict(self) -> dict[str, Any]:
        """Where an iteration in this process stands; see `Course.state_dict`.

        Raises:
            RuntimeError: workers iterate, and only a `loader` knows what arrived of what they gave.
        """
        if self._elsewhere[0]:
            raise RuntimeError(
                "the workers of a DataLoader give more than has arrived; use data.loader(...) and its state_dict()"
            )
        return self._course.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next iteration give what was left; see `Course.load_state_dict`.

        Raises:
            ValueError, DatasetFailed: see there.
        """
        self._elsewhere[0] = 0
        self._course.load_state_dict(state)

    def course_for_loader(self) -> Course:
        """What the loader counts on."""
        return self._course


class EpisodeLoader:
    """A DataLoader over an `EpisodeIterableDataset` that knows what has arrived.

    Each iteration is an epoch: it begins with a new look, or with what was left where a state was loaded. `state_dict`
    may be asked for between two batches; what the workers have made ready and nobody has had yet counts as left.
    """

    def __init__(self, dataset: EpisodeIterableDataset, **options: Any) -> None:
        """Make one; `options` are those of `torch.utils.data.DataLoader`, but for what orders and splits.

        Raises:
            TypeError: such an option is given.
        """
        if wrong := [name for name in _NOT_OURS if name in options]:
            raise TypeError(f"{', '.join(wrong)}: the dataset itself decides this")
        self.dataset = dataset
        self._course = dataset.course_for_loader()
        self._options = options

    def __iter__(self) -> Iterator[Any]:
        """Give the batches of an epoch."""
        self._course.start(max(1, self._options.get("num_workers", 0)))
        for (worker, count), batch in self._loader():
            self._course.given(worker, count)
            yield batch
        self._course.finish()

    def __len__(self) -> int:
        return len(self._loader())

    def state_dict(self) -> dict[str, Any]:
        """Where it stands; see `Course.state_dict`."""
        return self._course.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next iteration give what was left; see `Course.load_state_dict`.

        Raises:
            ValueError, DatasetFailed: see there.
        """
        self._course.load_state_dict(state)

    def set_epoch(self, epoch: int) -> None:
        """Begin an epoch; each iteration begins the next one by itself.

        Raises:
            DatasetFailed: the source does not tell.
        """
        self._course.begin(epoch)

    def _loader(self) -> Any:
        batched = self._options.get("batch_size", 1) is not None
        collate = self._options.get("collate_fn") or (default_collate if batched else default_convert)
        options = {**self._options, "collate_fn": _Collate(collate, batched)}
        return DataLoader(_Numbered(self.dataset), **options)


class _Numbered(IterableDataset):
    def __init__(self, dataset: EpisodeIterableDataset) -> None:
        super().__init__()
        self._dataset = dataset

    def __iter__(self) -> Iterator[Any]:
        return self._dataset.numbered()

    def __len__(self) -> int:
        return len(self._dataset)


class _Collate:
    """Makes a batch, and keeps beside it how far its worker came."""

    def __init__(self, collate: Callable[[Any], Any], batched: bool) -> None:
        self._collate = collate
        self._batched = batched

    def __call__(self, given: Any) -> tuple[tuple[int, int], Any]:
        if not self._batched:
            place, sample = given
            return place, self._collate(sample)
        return given[-1][0], self._collate([sample for _, sample in given])
