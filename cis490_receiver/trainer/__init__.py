"""The trainer's end: a dataset to train on, and a folder kept in step with a receiver. See the package's import rule.

>>> from cis490_receiver.trainer import Dataset
>>> for episode in Dataset("https://receiver.lab", token):
...     train(episode.meta, episode.open("telemetry.jsonl"))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from cis490_receiver.trainer.dataset import Dataset
    from cis490_receiver.trainer.episode import Episode

__all__ = ["Dataset", "Episode"]

_PLACES: Final = {"Dataset": "dataset", "Episode": "episode"}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)
