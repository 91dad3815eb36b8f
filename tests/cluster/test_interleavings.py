"""The order of the steps is the promise, in every interleaving of two actors: real code over rows and objects in
memory.

No row without its whole object, what was acknowledged is there, and what nobody needs is collected.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from cis490_receiver.clock import SystemClock
from cis490_receiver.config import Settings
from cis490_receiver.errors import Conflict, ReceiverError, StorageFailed
from cis490_receiver.ingest import receive_episode
from cis490_receiver.models import Episode, EpisodeKey, Upload
from cis490_receiver.policy.inspection import inspector
from cis490_receiver.storage.base.placements import Listed, Placement
from cis490_receiver.storage.object_client import ObjectClient
from cis490_receiver.storage.objects import IncomingObject, ObjectStore
from cis490_receiver.upkeep import collect as collecting
from cis490_receiver.upkeep.collect import collect
from tests.cluster.interleaving import Stage, every_order
from tests.contract.places import content, key, sha256
from tests.support.objects import KnownIndex, KnownPlacements

Step = Callable[[], None]


@dataclass
class World:
    """What the actors share."""

    placements: KnownPlacements = field(default_factory=KnownPlacements)
    objects: dict[str, bytes] = field(default_factory=dict)
    told: list[tuple[int, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.index = KnownIndex(self.placements)

    def check(self, *, nothing_is_left: bool) -> None:
        """See the promises kept."""
        for placement in self.placements.episodes.values():
            assert sha256(self.objects[placement.object_key]) == placement.sha256, "a row without its object"
        for number, said in self.told:
            if said == "stored":
                assert self.index.episodes[key(1)].sha256 == sha256(content(number)), "acknowledged and lost"
        if nothing_is_left:
            kept = {placement.object_key for placement in self.placements.episodes.values()}
            assert set(self.objects) == kept and not self.placements.notes


class Objects:
    """The objects, as one actor comes to them."""

    def __init__(self, world: World, step: Step) -> None:
        self._world = world
        self._step = step
        self.config = SimpleNamespace(named=str)

    def put_small(self, object_key: str, data: memoryview) -> str:
        self._step()
        assert object_key not in self._world.objects, "the name of an object was used again"
        self._world.objects[object_key] = bytes(data)
        return hashlib.md5(data, usedforsecurity=False).hexdigest()

    def size_of(self, object_key: str) -> int | None:
        found = self._world.objects.get(object_key)
        return None if found is None else len(found)

    def delete(self, object_key: str) -> None:
        self._step()
        self._world.objects.pop(object_key, None)

    def list(self) -> Iterator[Listed]:
        return iter(())


class Rows(KnownPlacements):
    """The rows, as one actor comes to them."""

    def __init__(self, world: World, step: Step) -> None:
        self.__dict__.update(world.placements.__dict__)
        self._step = step

    def register(self, name: EpisodeKey, object_key: str) -> None:
        self._step()
        super().register(name, object_key)

    def give_up(self, object_key: str) -> bool:
        self._step()
        return super().give_up(object_key)

    def find(self, name: EpisodeKey) -> Placement | None:
        self._step()
        return super().find(name)

    def give_up_old(self, before_ns: int) -> Iterator[str]:
        self._step()
        return super().give_up_old(before_ns)

    def given_up(self, before_ns: int) -> Iterator[str]:
        self._step()
        return super().given_up(before_ns)

    def forget(self, object_keys: Sequence[str]) -> None:
        self._step()
        super().forget(object_keys)


class Index:
    """The index, as one actor comes to it: an upload whose note is gone makes no episode."""

    def __init__(self, world: World, step: Step) -> None:
        self._world = world
        self._step = step

    def append(self, episode: Episode, placed: str) -> bool:
        self._step()
        if placed not in self._world.placements.notes or placed in self._world.placements.dead:
            raise StorageFailed
        return self._world.index.append(episode, placed)

    def find(self, name: EpisodeKey) -> Episode | None:
        return self._world.index.find(name)

    def make_durable(self) -> None:
        pass


class Body:
    """The body of `content(number)`."""

    def __init__(self, number: int) -> None:
        self._rest = content(number)

    def readinto(self, buffer: memoryview) -> int:
        piece, self._rest = self._rest[: len(buffer)], self._rest[len(buffer) :]
        buffer[: len(piece)] = piece
        return len(piece)

    def peek_small(self) -> bytes | None:
        return None


def writer(world: World, stage: Stage, number: int) -> Callable[[int], None]:
    """Ships `content(number)` as the same episode."""

    def act(actor: int) -> None:
        def step() -> None:
            stage.step(actor)

        rows = Rows(world, step)
        try:
            outcome = receive_episode(
                Upload(key(1), sha256(content(number))),
                Body(number),
                store=ObjectStore(cast(ObjectClient, Objects(world, step)), rows),
                index=cast(Any, Index(world, step)),
                clock=SystemClock(),
                inspector=inspector(Settings()),
            )
            world.told.append((number, "stored"))
            assert outcome.episode.sha256 == sha256(content(number))
        except Conflict:
            world.told.append((number, "conflict"))
        except ReceiverError:
            world.told.append((number, "again"))

    return act


def collector(world: World, stage: Stage) -> Callable[[int], None]:
    """Has no patience at all."""

    def act(actor: int) -> None:
        def step() -> None:
            stage.step(actor)

        collect(Objects(world, step), Rows(world, step), before_ns=1 << 62)

    return act


def play(actors: Callable[[World, Stage], list[Callable[[int], None]]], *, may_kill: bool) -> set[str]:
    """Play every order; gives how the writers' endings were told, together."""
    endings = set()
    for stage in every_order(may_kill=may_kill):
        world = World()
        killed = stage.play(actors(world, stage))
        world.check(nothing_is_left=False)
        # The next two collectors leave nothing that nobody needs.
        for _ in range(2):
            collect(Objects(world, lambda: None), world.placements, before_ns=1 << 62)
        world.check(nothing_is_left=True)
        endings.add(" ".join(sorted(said for _, said in world.told)) + " killed" * any(killed))
    return endings


def slow_writer_and_collector(world: World, stage: Stage) -> list[Callable[[int], None]]:
    return [writer(world, stage, 1), collector(world, stage)]


def two_writers(world: World, stage: Stage) -> list[Callable[[int], None]]:
    return [writer(world, stage, 1), writer(world, stage, 2)]


def two_of_the_same(world: World, stage: Stage) -> list[Callable[[int], None]]:
    return [writer(world, stage, 1), writer(world, stage, 1)]


def test_a_collector_beside_a_writer_slower_than_its_patience() -> None:
    endings = play(slow_writer_and_collector, may_kill=True)
    assert endings == {"stored", "again", "stored killed", "again killed", " killed"}


def test_two_writers_of_one_name() -> None:
    assert play(two_writers, may_kill=False) == {"conflict stored"}
    assert play(two_of_the_same, may_kill=False) == {"stored stored"}


def delete_the_object_first(monkeypatch: pytest.MonkeyPatch) -> None:
    def collect_wrongly(objects: Any, placements: Any, *, before_ns: int) -> None:
        for object_key in list(placements.notes):
            objects.delete(object_key)
            list(placements.give_up_old(before_ns))

    monkeypatch.setitem(globals(), "collect", collect_wrongly)
    monkeypatch.setattr(collecting, "collect", collect_wrongly)


def tell_before_the_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    append = Index.append

    def append_later(self: Index, episode: Episode, placed: str) -> bool:
        self._world.told.append((1, "stored"))
        return append(self, episode, placed)

    monkeypatch.setattr(Index, "append", append_later)


def use_a_name_again(monkeypatch: pytest.MonkeyPatch) -> None:
    init = IncomingObject.__init__

    def same_name(self: IncomingObject, client: Any, placements: Any, object_key: str) -> None:
        placements.give_up(object_key)
        placements.register(key(1), "the-same")
        init(self, client, placements, "the-same")

    monkeypatch.setattr(IncomingObject, "__init__", same_name)


def delete_without_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    def close(self: IncomingObject) -> None:
        self._client.delete(self._object_key)

    monkeypatch.setattr(IncomingObject, "close", close)


def forget_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def collect_wrongly(objects: Any, placements: Any, *, before_ns: int) -> None:
        for object_key in placements.give_up_old(before_ns):
            objects.delete(object_key)
            placements.forget([object_key])

    monkeypatch.setitem(globals(), "collect", collect_wrongly)


@pytest.mark.parametrize(
    "break_it",
    [
        delete_the_object_first,
        forget_at_once,
        tell_before_the_commit,
        use_a_name_again,
        delete_without_asking,
    ],
)
def test_an_order_that_is_wrong_is_noticed(
    monkeypatch: pytest.MonkeyPatch, break_it: Callable[[pytest.MonkeyPatch], None]
) -> None:
    break_it(monkeypatch)
    with pytest.raises((AssertionError, KeyError)):
        play(slow_writer_and_collector, may_kill=True)
        play(two_writers, may_kill=False)
