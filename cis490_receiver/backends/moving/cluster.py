"""A cluster as either end of a move."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet

from cis490_receiver.backends.cluster import use_cluster
from cis490_receiver.backends.everything import Backends
from cis490_receiver.clock import Clock
from cis490_receiver.config import Settings
from cis490_receiver.errors import ConfigError
from cis490_receiver.index.postgres.arriving import ArrivingIndex
from cis490_receiver.models import Episode, wall_time
from cis490_receiver.postgres import schema
from cis490_receiver.postgres.locks import lock_or_none
from cis490_receiver.state.base.moving import Moving
from cis490_receiver.state.postgres.marks import PostgresMemo


class _Cluster:
    def __init__(self, settings: Settings, clock: Clock) -> None:
        """Raises:
        ConfigError: the database cannot be used.
        """
        assert settings.objects_url is not None and settings.database_url is not None
        schema.check(settings.database_url)
        self.name = settings.objects_url
        self.kept: Backends = use_cluster(settings)
        assert self.kept.cluster is not None
        self._index = ArrivingIndex(self.kept.cluster.database)
        self._clock = clock

    def _closed(self) -> Moving | None:
        text = self._index.closed_for()
        return None if text is None else Moving.from_json(text.encode())

    def _close(self, moving: Moving) -> None:
        self._index.close(moving.to_json())

    def _now(self) -> str:
        return wall_time(self._clock.now_ns())


class ClusterOrigin(_Cluster):
    """See `upkeep.migrate.base.Origin`."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        """Raises:
        ConfigError: the database cannot be used, or is closed.
        """
        super().__init__(settings, clock)
        closed = self._closed()
        if closed is not None and closed.state == "filling":
            raise ConfigError(f"database_url names a cluster {closed.told(f'--from {closed.folder}')}")

    def is_leaving(self) -> bool:
        """See `Origin.is_leaving`."""
        closed = self._closed()
        return closed is not None and closed.state == "leaving"

    def close(self, destination: str) -> str | None:
        """See `Origin.close`. A receiver that was overlooked can append no line from then on."""
        if (closed := self._closed()) is not None:
            if closed.other != destination:
                raise ConfigError(f"the cluster is {closed.told(f'--to {closed.folder}')}")
            return None
        if others := self._index.others():
            return f"these use the database: {', '.join(others[:5])}"
        self._close(Moving("leaving", destination, self._now()))
        return None

    def reopen(self) -> None:
        """See `Origin.reopen`."""
        self._index.reopen()

    def leave(self, destination: str) -> None:
        """See `Origin.leave`."""
        self._close(Moving("left", destination, self._now()))


class ClusterDestination(_Cluster):
    """See `upkeep.migrate.base.Destination`."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        """Raises:
        ConfigError: the database cannot be used.
        """
        super().__init__(settings, clock)
        assert self.kept.cluster is not None
        self._database = self.kept.cluster.database
        self._alone = contextlib.ExitStack()
        self.left = PostgresMemo(self._database, "left behind")
        self._origin = ""

    def begin(self, origin: str) -> None:
        """See `Destination.begin`."""
        if self._alone.enter_context(lock_or_none(self._database, "migrate")) is None:
            raise ConfigError("another `cis490-receiver migrate` is at it; wait for it")
        closed = self._closed()
        if closed is None and self._index.is_used():
            raise ConfigError(
                "the cluster that database_url and objects_url name has episodes already; name an empty database and "
                "a prefix of its own"
            )
        if closed is not None and closed.other != origin:
            raise ConfigError(
                f"the cluster that database_url names is closed, {closed.told(f'--from {closed.folder}')}"
            )
        self._origin = origin
        if closed is None or closed.state != "filling":
            self._close(Moving("filling", origin, self._now()))

    def arrived_from(self) -> str | None:
        """See `Destination.arrived_from`."""
        return None if self._closed() is not None else self._index.arrived_from()

    def reached(self, generation: str) -> int:
        """See `Destination.reached`."""
        return self._index.reached(self._index.number_of(generation))

    def lines(self, generation: str, start: int, end: int) -> Iterator[bytes]:
        """See `Destination.lines`."""
        return self._index.lines(self._index.number_of(generation), start, end)

    def add_lines(self, generation: str, start: int, text: bytes) -> None:
        """See `Destination.add_lines`."""
        self._index.add(self._index.number_of(generation), start, text)

    def known(self, episodes: Sequence[Episode]) -> AbstractSet[Episode]:
        """See `Destination.known`: they were verified when they came."""
        return self._index.those_there(episodes)

    def has(self, episode: Episode) -> bool:
        """See `Destination.has`."""
        return episode in self._index.those_there([episode])

    def keep(self, episode: Episode, line: bytes, placed: str) -> bool:
        """See `Destination.keep`."""
        return self._index.keep(episode, line, placed)

    def count(self) -> int:
        """See `Destination.count`."""
        return self._index.count()

    def open(self, generation: str, end: int) -> None:
        """See `Destination.open`."""
        number = self._index.number_of(generation)
        self._index.put_in_force(number, generation, end, origin=self._origin)
