"""alerts.jsonl: what was raised, at most once for each (host, symptom, hour), and some of it at most once a day.

Runs that overlap take turns on the file's lock, and each looks into the file for what was said already, so it does
not matter how many run, nor whether one died between two lines. A torn last line is cut off by the next run. The
file is the truth; what was raised is sent on from it (`notify`).
"""

from __future__ import annotations

import datetime as dt
import itertools
import json
import logging
import os
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from cis490_receiver.files import atomic
from cis490_receiver.files.lines import lines_backwards
from cis490_receiver.logfmt import event
from cis490_receiver.models import wall_time
from cis490_receiver.monitor.symptoms import DAILY, Symptom

log = logging.getLogger(__name__)

ALERTS_FILE: Final = "alerts.jsonl"
PREVIOUS_FILE: Final = "alerts.1.jsonl"
STATE_FILE: Final = "monitor.json"
RAISED: Final = "raised"
RECOVERED: Final = "recovered"
#: The file is put aside when it has grown past this; one earlier generation is kept.
GENERATION_BYTES: Final = 64 << 20
_HOUR_NS: Final = 3600 * 10**9
_DAY_NS: Final = 24 * _HOUR_NS
_CLOCK_JUMP_NS: Final = _DAY_NS

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
        return json.dumps(asdict(self), separators=(",", ":")).encode("ascii") + b"\n"

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
    return dt.datetime.fromtimestamp(ns // 10**9, tz=dt.UTC).strftime("%Y-%m-%dT%HZ")


class AlertLog:
    """The alerts of one receiver. Any number of processes may use it at once."""

    def __init__(self, data_dir: Path, *, generation_bytes: int = GENERATION_BYTES) -> None:
        self.path = data_dir / ALERTS_FILE
        self._previous = data_dir / PREVIOUS_FILE
        self._state_path = data_dir / STATE_FILE
        self._generation_bytes = generation_bytes

    def update(
        self,
        symptoms: Iterable[Symptom],
        now_ns: int,
        *,
        muted: Container[str | None] = (),
        may_end: Callable[[Key], bool] = lambda key: True,
    ) -> list[Alert]:
        """Raise what this hour (for `DAILY` symptoms: the last day) has not seen yet, and note what ended. Every
        line is on stable storage when this returns.

        Symptoms of `muted` hosts are not raised, and have not ended. A symptom that is not seen any more and
        not `may_end` is remembered until it is seen again, or may.

        Returns:
            The new lines.

        Raises:
            OSError: they could not be written, and none of them was; the next run raises them.
        """
        current = {symptom.key: symptom for symptom in symptoms}
        with atomic.locked_file(self.path) as fd:
            if os.fstat(fd).st_size > self._generation_bytes:
                atomic.sync_lines(fd, self.path)
                os.rename(self.path, self._previous)
                # Before there is a new file of that name, which would be all that a crash leaves.
                atomic.sync_folder(self.path.parent)
        with atomic.locked_file(self.path) as fd:
            atomic.cut_torn_lines(fd)
            active = self.active()
            said = self._said(now_ns)
            fresh = [
                _alert(symptom, RAISED, now_ns)
                for key, symptom in current.items()
                if (RAISED, key) not in said and key[0] not in muted
            ]
            unknown = {key for key in active if key not in current and not may_end(key)}
            fresh += [
                _ended(key, since_wall, now_ns)
                for key, since_wall in active.items()
                if key not in current and key not in unknown and (RECOVERED, key) not in said
            ]
            if fresh:
                atomic.append_lines(fd, self.path, [b"".join(alert.to_line() for alert in fresh)])
            try:
                self._remember(active, current, unknown)
            except OSError as exc:
                # The lines are there, and nobody would be told of them after an error.
                log.error(event("storage-failed", doing="remember-symptoms", reason=exc.strerror))
        return fresh

    def _said(self, now_ns: int) -> set[tuple[str, Key]]:
        """What is not to be said again now. What ended since it was raised may be raised in another hour."""
        hour = hour_of(now_ns)
        # A clock that is set back a little leaves older hours behind newer ones.
        long_ago = hour_of(now_ns - _CLOCK_JUMP_NS)
        said: set[tuple[str, Key]] = set()
        ended: set[Key] = set()
        for alert in self._newest_first():
            key = (alert.host_id, alert.symptom)
            if alert.hour == hour or (key not in ended and _counts_today(alert, now_ns)):
                said.add((alert.state, key))
            elif alert.hour < long_ago:
                break
            if alert.state == RECOVERED:
                ended.add(key)
        return said

    def _newest_first(self) -> Iterator[Alert]:
        lines = itertools.chain(lines_backwards(self.path), lines_backwards(self._previous))
        for line in lines:
            try:
                yield Alert.from_line(line)
            except ValueError:
                continue

    def active(self) -> dict[Key, str]:
        """The symptoms that the last run saw, and since when; those of muted hosts among them."""
        try:
            data = json.loads(self._state_path.read_bytes())
            active = {(item["host_id"], item["symptom"]): item["since_wall"] for item in data["active"]}
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return {}
        return {key: since for key, since in active.items() if _is_key(key) and isinstance(since, str)}

    def _remember(self, before: dict[Key, str], current: dict[Key, Symptom], unknown: set[Key]) -> None:
        now = {key: before.get(key) or wall_time(symptom.since_ns) for key, symptom in current.items()}
        now |= {key: before[key] for key in unknown}
        if now != before:
            active = [{"host_id": k[0], "symptom": k[1], "since_wall": since} for k, since in now.items()]
            atomic.replace_file(self._state_path, json.dumps({"active": active}).encode("ascii"))


def _counts_today(alert: Alert, now_ns: int) -> bool:
    return alert.state == RAISED and alert.symptom in DAILY and abs(now_ns - alert.at_ns) < _DAY_NS


def _is_key(key: tuple[Any, Any]) -> bool:
    return (key[0] is None or isinstance(key[0], str)) and isinstance(key[1], str)


def _alert(symptom: Symptom, state: str, now_ns: int) -> Alert:
    return Alert(
        at_wall=wall_time(now_ns),
        at_ns=now_ns,
        hour=hour_of(now_ns),
        state=state,
        host_id=symptom.host_id,
        symptom=symptom.name,
        since_wall=wall_time(symptom.since_ns),
        evidence=symptom.evidence,
        remedy=symptom.remedy,
    )


def _ended(key: Key, since_wall: str, now_ns: int) -> Alert:
    symptom = Symptom(key[0], key[1], now_ns, "", "")
    ended: dict[str, Any] = asdict(_alert(symptom, RECOVERED, now_ns))
    return Alert(**ended | {"since_wall": since_wall, "evidence": "not seen any more"})
