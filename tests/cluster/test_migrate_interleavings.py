"""The order of a move, in every interleaving with a receiver: the real code of `migrate` between places in memory.

There is never more than one place that takes episodes, and what was acknowledged is at the place that does, at the end.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from cis490_receiver.clock import SystemClock
from cis490_receiver.errors import ConfigError, ReceiverError
from cis490_receiver.filters import Filters
from cis490_receiver.index.base import OpenJournal
from cis490_receiver.models import Episode, EpisodeKey
from cis490_receiver.stamps import Stamps
from cis490_receiver.storage.base import OpenEpisode
from cis490_receiver.upkeep.migrate import move as moving
from cis490_receiver.upkeep.migrate.base import Destination, Origin
from cis490_receiver.upkeep.migrate.move import Finished, Move
from tests.cluster.interleaving import Stage, every_order
from tests.contract.places import content, key, record, sha256

pytestmark = pytest.mark.slow

Step = Callable[[], None]


@dataclass
class Place:
    """Where episodes may be."""

    is_closed: bool
    #: Receivers that run there.
    users: int = 0
    has_left: bool = False
    #: Where everything came from when it was opened.
    opened_from: str | None = None
    bytes_of: dict[EpisodeKey, bytes] = field(default_factory=dict)
    text: bytes = b""
    left: Any = None

    def records(self) -> dict[EpisodeKey, Episode]:
        episodes = map(Episode.from_line, self.text.splitlines())
        return {episode.key: episode for episode in episodes}


@dataclass
class World:
    """What the actors share."""

    here: Place = field(default_factory=lambda: Place(is_closed=False))
    there: Place = field(default_factory=lambda: Place(is_closed=True))
    acknowledged: list[EpisodeKey] = field(default_factory=list)

    def check(self) -> None:
        """See the promises kept, when all that was begun is over."""
        assert self.here.is_closed or self.there.is_closed, "two places take episodes"
        place = self.there if self.here.is_closed else self.here
        records = place.records()
        for name in self.acknowledged:
            assert name in records, "acknowledged, and not where episodes are taken"
            assert sha256(place.bytes_of[name]) == records[name].sha256
        if not self.there.is_closed:
            assert self.there.text.startswith(self.here.text), "followers would not find their place"


class Kept:
    """What is at a place, as `migrate` comes to it."""

    def __init__(self, place: Place, step: Step) -> None:
        self._place = place
        self._step = step
        self.index = self.store = self

    def open_journal(self) -> OpenJournal:
        self._step()
        return OpenJournal(io.BytesIO(self._place.text), len(self._place.text), "g", 0)

    def make_durable(self) -> None:
        pass

    def unsettled(self) -> Iterator[EpisodeKey]:
        return iter(())

    def size_bytes(self, filters: Filters) -> int:
        return 0

    def count(self, filters: Filters) -> int:
        return len(self._place.records())

    def find(self, name: EpisodeKey) -> Episode | None:
        return self._place.records().get(name)

    def exists(self, name: EpisodeKey) -> bool:
        return name in self._place.bytes_of

    def open(self, name: EpisodeKey) -> OpenEpisode | None:
        found = self._place.bytes_of.get(name)
        return None if found is None else OpenEpisode(io.BytesIO(found), len(found), 0)

    def renewal(self, clock: object) -> Any:
        @contextmanager
        def alone() -> Iterator[None]:
            yield

        return SimpleNamespace(alone=alone)

    @contextmanager
    def receive(self, name: EpisodeKey, stamps: Stamps) -> Iterator[Body]:
        yield Body(self._place, name, self._step)


class Body:
    """An episode on its way to a place."""

    def __init__(self, place: Place, name: EpisodeKey, step: Step) -> None:
        self._place, self._name, self._step = place, name, step
        self._buffer = memoryview(bytearray(4096))
        self._data = b""

    @property
    def size_bytes(self) -> int:
        return len(self._data)

    def lend(self) -> memoryview:
        return self._buffer

    def commit(self, count: int) -> None:
        self._data += self._buffer[:count]

    def hexdigest(self) -> str:
        return sha256(self._data)

    def sync(self) -> None:
        pass

    def publish(self) -> str:
        self._step()
        self._place.bytes_of[self._name] = self._data
        return "there"

    def settle(self) -> None:
        pass


class Here:
    """Where everything comes from."""

    name = "here"

    def __init__(self, place: Place, step: Step) -> None:
        self._place, self._step = place, step
        self.kept = Kept(place, step)

    def is_leaving(self) -> bool:
        return self._place.is_closed and not self._place.has_left

    def close(self, destination: str) -> str | None:
        self._step()
        if self._place.users:
            return "a receiver"
        self._place.is_closed = True
        return None

    def reopen(self) -> None:
        self._step()
        self._place.is_closed = False

    def leave(self, destination: str) -> None:
        self._step()
        self._place.has_left = True


class There:
    """Where everything goes to."""

    name = "there"

    def __init__(self, place: Place, step: Step) -> None:
        self._place, self._step = place, step
        self.kept = Kept(place, step)
        self.left = SimpleNamespace(read=lambda: place.left, write=self._write_left)

    def _write_left(self, value: Any) -> None:
        self._step()
        self._place.left = value

    def begin(self, origin: str) -> None:
        if not self._place.is_closed:
            raise ConfigError("in use")

    def arrived_from(self) -> str | None:
        return None if self._place.is_closed else self._place.opened_from

    def reached(self, generation: str) -> int:
        return len(self._place.text)

    def lines(self, generation: str, start: int, end: int) -> Iterator[bytes]:
        yield self._place.text[start:end]

    def add_lines(self, generation: str, start: int, text: bytes) -> None:
        self._step()
        assert start == len(self._place.text)
        self._place.text += text

    def known(self, episodes: Sequence[Episode]) -> AbstractSet[Episode]:
        return {one for one in episodes if self.has(one)}

    def has(self, episode: Episode) -> bool:
        return sha256(self._place.bytes_of.get(episode.key, b"")) == episode.sha256

    def keep(self, episode: Episode, line: bytes, placed: str) -> bool:
        return True

    def count(self) -> int:
        return len(self._place.bytes_of)

    def open(self, generation: str, end: int) -> None:
        self._step()
        assert end == len(self._place.text)
        self._place.opened_from = "here"
        self._place.is_closed = False


def mover(world: World, stage: Stage, move: type[Move] = Move) -> Callable[[int], None]:
    """Moves everything, if nobody is in the way."""

    def act(actor: int) -> None:
        def step() -> None:
            stage.step(actor)

        run(world, step, move)

    return act


def run(world: World, step: Step, move: type[Move]) -> None:
    one = move(
        cast(Origin, Here(world.here, step)),
        cast(Destination, There(world.there, step)),
        SystemClock(),
        jobs=1,
        refusals_since_ns=0,
    )
    try:
        one.copy()
        one.finish(lambda users: None, wait_seconds=0, leave=False)
    except ReceiverError:
        # Somebody used it, or it is done.
        pass


def receiver(world: World, stage: Stage, *numbers: int) -> Callable[[int], None]:
    """Starts where it may, takes an episode, and stops; as often as there are `numbers`."""

    def act(actor: int) -> None:
        for number in numbers:
            # To start is one step: the lock is taken before it is looked whether the place is closed.
            stage.step(actor)
            place = next((one for one in (world.here, world.there) if not one.is_closed), None)
            if place is None:
                continue
            place.users += 1
            try:
                take(world, place, number, lambda: stage.step(actor))
            finally:
                # However it ends.
                place.users -= 1

    return act


def take(world: World, place: Place, number: int, step: Step) -> None:
    step()
    place.bytes_of[key(number)] = content(number)
    step()
    place.text += record(number).to_line()
    step()
    world.acknowledged.append(key(number))


def world_with(*numbers: int) -> World:
    world = World()
    for number in numbers:
        take(world, world.here, number, lambda: None)
    return world


@pytest.fixture(autouse=True)
def no_other_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is beside episodes is moved for itself: tests/contract/test_moving.py."""
    for name in ("copy_records", "copy_releases"):
        monkeypatch.setattr(moving, name, lambda *arguments, **more: None)
    monkeypatch.setattr(moving, "recover", lambda *arguments: 0)
    # Waits between two looks at who uses a place.
    monkeypatch.setattr(moving, "_PAUSE_SECONDS", 0)


def play(stage: Stage, move: type[Move] = Move) -> World:
    world = world_with(0)
    stage.play([mover(world, stage, move), receiver(world, stage, 1, 2)])
    # Whatever is closed in between is gone on with.
    run(world, lambda: None, Move)
    world.check()
    return world


def test_whatever_comes_when_one_place_takes_episodes_and_has_all_of_them() -> None:
    moved = played = 0
    for stage in every_order(may_kill=True):
        world = play(stage)
        moved += not world.there.is_closed
        played += 1
    assert moved > 100 and played > 1000


class OpensTooEarly(Move):
    def _copy_the_rest(self, leave: bool) -> int:
        return 0


class DoesNotWait(Move):
    def _wait_until_unused(self, tell: Callable[[str], None], seconds: float) -> None:
        self._origin.close("there")


class ReopensInAnyCase(Move):
    def finish(self, tell: Callable[[str], None], *, wait_seconds: float, leave: bool) -> Finished:
        try:
            return super().finish(tell, wait_seconds=wait_seconds, leave=leave)
        finally:
            self._origin.reopen()


class DoesNotClose(Move):
    def _wait_until_unused(self, tell: Callable[[str], None], seconds: float) -> None:
        pass


@pytest.mark.parametrize("wrong", [OpensTooEarly, DoesNotWait, ReopensInAnyCase, DoesNotClose])
def test_a_wrong_order_is_noticed(wrong: type[Move]) -> None:
    def is_noticed(stage: Stage) -> bool:
        try:
            play(stage, wrong)
        except AssertionError:
            return True
        return False

    assert any(is_noticed(stage) for stage in every_order(may_kill=True))
