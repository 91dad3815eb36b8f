"""Run by Debian's Python, which has the real torch: ``with_torch.py CASE URL TOKEN``. Prints what it found as JSON."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.data import DataLoader

from cis490_receiver.trainer import Dataset, Episode


def name(episode: Episode) -> str:
    return str(episode.key)


def flat(batches: Any) -> list[str]:
    return [item for batch in batches for item in batch]


def split(address: str, token: str) -> Any:
    """Every way to split gives everything once."""
    found = {}
    for shuffle in (None, 7):
        for workers in (0, 1, 3):
            for world in (1, 2):
                given = []
                for rank in range(world):
                    source = Dataset(address, token, cache=False, until="2199-01-01")
                    data = source.torch(transform=name, rank=rank, world=world, shuffle=shuffle)
                    given += flat(DataLoader(data, batch_size=2, num_workers=workers))
                found[f"{shuffle} {workers} {world}"] = given
    return found


def resume(address: str, token: str) -> Any:
    """Cut at every place, resumed with other workers from a state that was saved: nothing twice, nothing left out."""
    found = []
    for workers, then in ((0, 2), (2, 0), (2, 3), (3, 2)):
        for batches in range(6):
            loader = (
                Dataset(address, token, cache=False)
                .torch(transform=name, shuffle=3)
                .loader(batch_size=2, num_workers=workers)
            )
            given = []
            course = iter(loader)
            for _ in range(batches):
                given += next(course, [])
            saved = io.BytesIO()
            torch.save({"loader": loader.state_dict()}, saved)
            saved.seek(0)
            other = (
                Dataset(address, token, cache=False)
                .torch(transform=name, shuffle=3)
                .loader(batch_size=2, num_workers=then)
            )
            other.load_state_dict(torch.load(saved)["loader"])
            before = len(given)
            given += flat(other)
            # The epoch after it is whole again.
            found.append([workers, then, before, given, sorted(flat(other)), other.dataset.epoch])
    return found


def in_process(address: str, token: str) -> Any:
    """The dataset itself, without a DataLoader: it can be iterated again and again, and stopped anywhere."""
    data = Dataset(address, token, cache=False).torch(transform=name)
    course = iter(data)
    first = [next(course), next(course)]
    state = json.loads(json.dumps(data.state_dict()))
    again = Dataset(address, token, cache=False).torch(transform=name)
    again.load_state_dict(state)
    again.set_epoch(state["epoch"])
    return {
        "first": first,
        "rest": list(again),
        "next": list(again),
        "whole": list(data),
        "length": len(data),
    }


def samples(address: str, token: str) -> Any:
    """Samples as webdataset has them go through torch's own collate."""
    data = Dataset(address, token, cache=False).torch(members=["meta.json"])
    [batch] = list(DataLoader(data, batch_size=100, num_workers=2, collate_fn=list))[:1]
    [whole] = list(DataLoader(data, batch_size=100))
    return {"keys": sorted(batch[0]), "meta": json.loads(batch[0]["meta.json"])["schema_version"],
            "collated": {key: len(value) for key, value in whole.items()}}  # fmt: skip


def refusals(address: str, token: str) -> Any:
    """What cannot be kept is not promised."""
    told = []
    live = Dataset(address, token, cache=False)
    data = live.torch(transform=name)
    list(DataLoader(data, num_workers=1))
    for wrong in (
        lambda: live.torch(rank=0, world=2),
        lambda: live.torch(rank=2, world=2),
        data.state_dict,
        lambda: data.loader(shuffle=True),
        lambda: data.load_state_dict({"version": 9}),
    ):
        try:
            wrong()
        except (ValueError, RuntimeError, TypeError) as exc:
            told.append(f"{type(exc).__name__}: {exc}")
    return told


def withdrawn(address: str, token: str) -> Any:
    """A loader that is stopped when it is told that something was withdrawn, gone on with, and begun anew."""
    loader = Dataset(address, token, cache=False).torch(transform=name).loader(batch_size=8, num_workers=2)
    course = iter(loader)
    before = flat(next(course) for _ in range(5))
    print("reading", flush=True)
    sys.stdin.readline()
    under_way = flat(next(course) for _ in range(2))
    state = loader.state_dict()
    other = Dataset(address, token, cache=False).torch(transform=name).loader(batch_size=8, num_workers=2)
    other.load_state_dict(state)
    return {"before": before, "under_way": under_way, "gone_on": flat(other), "anew": flat(loader)}


CASES: dict[str, Callable[[str, str], Any]] = {
    item.__name__: item for item in (split, resume, in_process, samples, refusals, withdrawn)
}

if __name__ == "__main__":
    print(json.dumps(CASES[sys.argv[1]](*sys.argv[2:])))
