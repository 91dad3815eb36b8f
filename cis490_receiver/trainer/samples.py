"""Episodes as samples of webdataset: what tools that are written for it take."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from cis490_receiver.trainer.episode import Episode

#: ``__key__``, ``__url__`` and the files' contents by their names.
Sample = dict[str, Any]


def sample_of(episode: Episode, *names: str) -> Sample:
    """A sample: ``__key__`` is ``host/episode``, ``__url__`` where it is from, every other key the name of a file, with
    its content. Of the files `names`, or of all.

    Raises:
        NoSuchMember: the episode has not all of them.
        EpisodeFailed: it cannot be read.
    """
    return {"__key__": str(episode.key), "__url__": episode.url, **episode.load(*names)}


def samples(episodes: Iterable[Episode], *names: str) -> Iterator[Sample]:
    """A sample of each."""
    for episode in episodes:
        yield sample_of(episode, *names)


def tuples(episodes: Iterable[Episode], *names: str) -> Iterator[tuple[bytes, ...]]:
    """Of each, the contents of the files `names`, as ``.to_tuple(*names)`` of webdataset gives them."""
    for episode in episodes:
        yield tuple(episode.load(*names).values())
