"""The hosts' doctor reports: the latest of each, and a short history of how it was.

``<folder>/<host_id>.json`` is the latest report; ``<folder>/history/<host_id>.jsonl`` has one line a report of the
last 30 days: when, and which checks failed.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from cis490_receiver import i_json, protocol
from cis490_receiver.errors import NotFound, ReportNotJson, ReportNotObject, StorageFailed, StorageFull
from cis490_receiver.files import atomic
from cis490_receiver.index.base import PastReport
from cis490_receiver.logfmt import event
from cis490_receiver.models import Report, failed_checks, wall_time

log = logging.getLogger(__name__)

HISTORY_DAYS: Final = 30
#: More reports than one every 90 minutes for 30 days are not kept.
HISTORY_LINES: Final = 480
#: Nor the names of more checks of one report than these.
HISTORY_CHECKS: Final = 50
#: Larger reports are read again for each listing.
_CACHED_BYTES: Final = 64 * 1024


def parse_report(body: bytes) -> dict[str, Any]:
    """Read a doctor report as strictly as a trainer's other tools do (`i_json`), nested no deeper than
    `i_json.MAX_DEPTH`: a person reads it.

    Raises:
        ReportNotJson, ReportNotObject: it is not one.
    """
    try:
        report = i_json.loads(body)
    except ValueError as exc:
        raise ReportNotJson(None, reason=str(exc)) from None
    if not isinstance(report, dict):
        raise ReportNotObject
    return report


class ReportFolder:
    """See `index.base.ReportStore`. Processes and threads may share the folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._history = folder / "history"
        #: Host to what its file was and the JSON that stood in it.
        self._cache: dict[str, tuple[tuple[int, int, int], bytes]] = {}
        self._lock = threading.Lock()

    def prepare(self) -> None:
        """Create the folders, durably."""
        atomic.make_folder(self._history)

    def parse(self, body: bytes) -> dict[str, Any]:
        """See `parse_report`."""
        return parse_report(body)

    def put(self, host_id: str, doctor: dict[str, Any], now_ns: int) -> None:
        """See `ReportStore.put`."""
        report = Report(host_id, wall_time(now_ns), doctor)
        try:
            atomic.replace_file(self._path(host_id), report.to_json())
            failed = tuple(failed_checks(doctor)[:HISTORY_CHECKS])
            self._note(host_id, PastReport(report.received_at_wall, now_ns, failed))
        except OSError as exc:
            kind = StorageFull if exc.errno in atomic.NO_SPACE else StorageFailed
            log.error(event(kind.code, doing="report", host=host_id, reason=exc.strerror))
            raise kind from exc

    def take_over(self, report: Report, history: Sequence[PastReport]) -> None:
        """See `ReportStore.take_over`."""
        try:
            atomic.replace_file(self._path(report.host_id), report.to_json())
            atomic.replace_file(self._history_path(report.host_id), _lines_of(history))
        except OSError as exc:
            kind = StorageFull if exc.errno in atomic.NO_SPACE else StorageFailed
            raise kind from exc

    def get(self, host_id: str) -> Report:
        """See `ReportStore.get`."""
        try:
            return Report.from_json(self._path(host_id).read_bytes())
        except (OSError, ValueError):
            raise NotFound("no report of this host is stored") from None

    def history(self, host_id: str) -> list[PastReport]:
        """See `ReportStore.history`. Lines that cannot be read are left out."""
        try:
            lines = self._history_path(host_id).read_bytes().splitlines()
        except FileNotFoundError:
            return []
        return [past for line in lines if (past := parse_past(line)) is not None]

    def all_json(self) -> Iterator[bytes]:
        """See `ReportStore.all_json`."""
        for host_id in self._host_ids():
            text = self._checked_json(host_id)
            if text is not None:
                yield text

    def all(self) -> Iterator[Report]:
        """See `ReportStore.all`."""
        for text in self.all_json():
            yield Report.from_json(text)

    def _host_ids(self) -> list[str]:
        try:
            files = os.listdir(self._folder)
        except FileNotFoundError:
            return []
        names = (name.removesuffix(".json") for name in files if name.endswith(".json"))
        return sorted(name for name in names if protocol.is_valid_id(name))

    def _checked_json(self, host_id: str) -> bytes | None:
        path = self._path(host_id)
        try:
            with open(path, "rb") as stream:
                status = os.fstat(stream.fileno())
                seen = (status.st_ino, status.st_size, status.st_mtime_ns)
                cached = self._cache.get(host_id)
                if cached is not None and cached[0] == seen:
                    return cached[1]
                text = stream.read().strip()
                Report.from_json(text)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as exc:
            log.warning(event("report-unreadable", file=path.name, reason=exc))
            return None
        if len(text) <= _CACHED_BYTES:
            with self._lock:
                self._cache[host_id] = (seen, text)
        return text

    def _note(self, host_id: str, past: PastReport) -> None:
        horizon = past.received_at_ns - HISTORY_DAYS * 86400 * 10**9

        def with_past() -> bytes:
            kept = [item for item in self.history(host_id) if item.received_at_ns >= horizon]
            return _lines_of([*kept, past])

        atomic.replace_file(self._history_path(host_id), with_past)

    def _path(self, host_id: str) -> Path:
        return self._folder / f"{host_id}.json"

    def _history_path(self, host_id: str) -> Path:
        return self._history / f"{host_id}.jsonl"


def _lines_of(history: Sequence[PastReport]) -> bytes:
    lines = [json.dumps(asdict(item)) + "\n" for item in history[-HISTORY_LINES:]]
    return "".join(lines).encode("ascii")


def parse_past(line: bytes) -> PastReport | None:
    """The line of a history; None when it is none."""
    try:
        data = i_json.loads(line)
        wall, ns, failed = data["received_at_wall"], data["received_at_ns"], data["failed"]
    except (ValueError, KeyError, TypeError):
        return None
    if not isinstance(wall, str) or type(ns) is not int or not isinstance(failed, list):
        return None
    return PastReport(wall, ns, tuple(str(name) for name in failed))
