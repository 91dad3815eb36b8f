"""What the fleet monitor raised, and what of it people were told."""

from __future__ import annotations

import datetime as dt
import functools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

RAISED: Final = "raised"
RECOVERED: Final = "recovered"

#: A host, None for the receiver itself, and the name of a symptom.
Key = tuple[str | None, str]


@dataclass(frozen=True, slots=True)
class Alert:
    """A line of alerts.jsonl."""

    at_wall: str
    at_ns: int
    #: ``YYYY-MM-DDTHHZ``: the hour that it counts for.
    hour: str
    state: str
    #: None for the receiver itself.
    host_id: str | None
    symptom: str
    since_wall: str
    evidence: str
    remedy: str

    def to_line(self) -> bytes:
        """The line, newline included."""
        record = {name: getattr(self, name) for name in self.__slots__}
        return json.dumps(record, separators=(",", ":")).encode("ascii") + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Alert:
        """Read a line.

        Raises:
            ValueError: it is not an alert.
        """
        try:
            data = json.loads(line)
        except RecursionError:
            raise ValueError("not an alert: nested too deeply") from None
        if not isinstance(data, dict) or type(data.get("at_ns")) is not int:
            raise ValueError("not an alert")
        texts = {name: data.get(name, "") for name in cls.__slots__ if name != "at_ns"}
        if texts["host_id"] == "" or not texts["symptom"]:
            raise ValueError("not an alert: of whom, and what")
        if not all(
            isinstance(text, str) or (name, text) == ("host_id", None) for name, text in texts.items()
        ):
            raise ValueError("not an alert: not text")
        return cls(at_ns=data["at_ns"], **texts)


def hour_of(ns: int) -> str:
    """The hour bucket of a moment."""
    return _hour(ns // (3600 * 10**9))


@functools.lru_cache(64)
def _hour(hours: int) -> str:
    return dt.datetime.fromtimestamp(hours * 3600, tz=dt.UTC).strftime("%Y-%m-%dT%HZ")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a run of the monitor adds: new alerts, and every symptom that lasts, with since when."""

    new: Sequence[Alert]
    lasting: Mapping[Key, str]


@dataclass(frozen=True, slots=True)
class AlertPage:
    """Alerts, newest first, and the opaque cursor of the next page (None at the end)."""

    alerts: Sequence[Alert]
    next: str | None


class AlertLog(Protocol):
    """The alerts of one receiver. Any number of processes may use it at once."""

    def update(self, judge: Callable[[Mapping[Key, str], Iterable[Alert]], Verdict]) -> Verdict:
        """Show `judge` what lasted after the last run, and the alerts that were noted, newest first and at least those
        of a day; keep what it says, and give that.

        Runs at once take turns, also with one that dies: each sees all that those before it noted. Once this returns
        the new alerts are on stable storage, in their order. After a crash before that some of the first of them may
        be there, and what lasts is kept only after them: the next run sees what is missing anew. That what lasts
        cannot be kept is merely logged, since nobody would be told of the alerts after an error.

        Raises:
            StorageFailed: the alerts could not be written, and none of them was; the log says why.
        """
        ...

    def page(self, *, limit: int, cursor: str | None) -> AlertPage:
        """The newest `limit` alerts that come after `cursor`, which stays good while alerts are raised. What it leads
        to may not be kept any more.

        Raises:
            BadRequest: `cursor` is none that this log gave.
            StorageFailed: they cannot be read.
        """
        ...

    def lasting(self) -> Mapping[Key, str]:
        """The symptoms that the last run saw, and since when; those of muted hosts among them."""
        ...


class Outbox(Protocol):
    """The same alerts, as they are sent on to people."""

    def deliver(self, send: Callable[[Sequence[Alert]], bool], *, after_ns: int) -> bool:
        """Hand the alerts that were not sent yet to `send`, if there are any; it says whether they were taken. Where
        it is not known what was sent, those from after `after_ns` (nanoseconds since the epoch) count as not sent.

        Nothing is sent that a crash could still take away. What was sent is remembered only when it was taken, so
        that the next call tries again; a crash in between may send twice. Of two calls at once, in any processes, one
        sends.

        Returns:
            Whether nothing is left to send. Another call that is sending counts as done.

        Raises:
            StorageFailed: what is to be sent, or was, could not be read or kept.
        """
        ...
