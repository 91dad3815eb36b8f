"""What either end of a move has to do, whatever it is made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import Protocol

from cis490_receiver.index.base import EpisodeIndex, RejectionLog, ReportStore, WithdrawalLog
from cis490_receiver.index.base.releases import Releases
from cis490_receiver.models import Episode
from cis490_receiver.state.base.alerts import AlertLog, Outbox
from cis490_receiver.state.base.gate_list import GateList
from cis490_receiver.state.base.inspections import Inspections
from cis490_receiver.state.base.marks import Memo
from cis490_receiver.state.base.notes import Mutes, Retirements
from cis490_receiver.state.base.tokens import TokenList
from cis490_receiver.storage.base import EpisodeStore
from cis490_receiver.storage.base.partials import Partials


class Kept(Protocol):
    """What is moved. Uploads in pieces that are under way are not: their senders begin anew."""

    @property
    def store(self) -> EpisodeStore: ...
    @property
    def partials(self) -> Partials: ...
    @property
    def index(self) -> EpisodeIndex: ...
    @property
    def rejections(self) -> RejectionLog: ...
    @property
    def reports(self) -> ReportStore | None: ...
    @property
    def mutes(self) -> Mutes: ...
    @property
    def retirements(self) -> Retirements: ...
    @property
    def faults(self) -> Memo: ...
    @property
    def verify_place(self) -> Memo: ...
    @property
    def inspections(self) -> Inspections: ...
    @property
    def release_verify_place(self) -> Memo: ...
    @property
    def alerts(self) -> AlertLog: ...
    @property
    def outbox(self) -> Outbox: ...
    @property
    def gate_list(self) -> GateList: ...
    @property
    def tokens(self) -> TokenList | None: ...
    @property
    def withdrawals(self) -> WithdrawalLog: ...
    @property
    def releases(self) -> Releases: ...


class Origin(Protocol):
    """The place that everything comes from.

    Its methods raise ReceiverError or OSError when they cannot do what they say.
    """

    @property
    def name(self) -> str:
        """What people call it."""
        ...

    @property
    def kept(self) -> Kept:
        """What is there."""
        ...

    def is_leaving(self) -> bool:
        """Whether it was closed, and not yet said to be left."""
        ...

    def close(self, destination: str) -> str | None:
        """Let it take nothing any more, durably, if nobody uses it; else say who does, and leave it as it is. What was
        closed already stays it."""
        ...

    def reopen(self) -> None:
        """Let it be used again. For who knows that the destination was not opened."""
        ...

    def leave(self, destination: str) -> None:
        """Say that everything is at the destination now."""
        ...


class Destination(Protocol):
    """The place that everything goes to, which nobody uses before it is opened.

    Its methods raise ReceiverError or OSError when they cannot do what they say; what they write is on stable storage
    when they return.
    """

    @property
    def name(self) -> str:
        """What people call it."""
        ...

    @property
    def kept(self) -> Kept:
        """What is there. Episodes are stored by way of `keep`, and lines by `add_lines`."""
        ...

    @property
    def left(self) -> Memo:
        """Where it is kept which episodes could not be copied."""
        ...

    def begin(self, origin: str) -> None:
        """Take it for what comes from `origin`, or go on with that.

        Raises:
            ConfigError: it has something else in it, or is in use.
        """
        ...

    def arrived_from(self) -> str | None:
        """Where everything came from when the place was opened; None when it is closed, or never was part of a move."""
        ...

    def reached(self, generation: str) -> int:
        """How far the lines of this generation of the index are there, in bytes."""
        ...

    def lines(self, generation: str, start: int, end: int) -> Iterator[bytes]:
        """What is there between two offsets, in pieces of any length."""
        ...

    def add_lines(self, generation: str, start: int, text: bytes) -> None:
        """Add whole lines at the offset `start`, where the last ones ended."""
        ...

    def known(self, episodes: Sequence[Episode]) -> AbstractSet[Episode]:
        """Those of `episodes` of which it is known without a look at their bytes that these are there."""
        ...

    def has(self, episode: Episode) -> bool:
        """Whether the bytes of `episode` are there."""
        ...

    def keep(self, episode: Episode, line: bytes, placed: str) -> bool:
        """Make an episode of what was just published; False when that has become impossible."""
        ...

    def count(self) -> int:
        """How many episodes have their bytes there."""
        ...

    def open(self, generation: str, end: int) -> None:
        """Let the lines up to `end` be the index, under this generation, and let receivers use the place."""
        ...
