"""A dataset for Hugging Face's `datasets` (extra ``hf``)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from cis490_receiver.trainer.failures import ExtraMissing

if TYPE_CHECKING:
    from cis490_receiver.trainer.dataset import Dataset


def iterable_dataset(dataset: Dataset, names: Sequence[str], parts: int) -> Any:
    """A `datasets.IterableDataset` of the episodes that `dataset` has now: rows with the fields of the index line and
    the contents of the files `names`. It has `parts` shards, which `datasets` gives to workers and nodes. Each pass
    over it leaves out what was withdrawn before.

    Raises:
        ExtraMissing: `datasets` is not installed.
    """
    try:
        from datasets import IterableDataset
    except ImportError:
        raise ExtraMissing("to_hugging_face", "datasets", "hf") from None
    settled = dataset.only(dataset.refresh().records)
    # A list is what `datasets` splits; everything else is handed to each shard.
    given = {"dataset": settled, "names": tuple(names), "parts": [(rank, parts) for rank in range(parts)]}
    return IterableDataset.from_generator(_rows, gen_kwargs=given)


def _rows(dataset: Dataset, names: tuple[str, ...], parts: list[tuple[int, int]]) -> Iterator[dict[str, Any]]:
    for rank, world in parts:
        for episode in dataset.shard(rank, world):
            yield {**episode.as_dict(), **episode.load(*names)} if names else episode.as_dict()
