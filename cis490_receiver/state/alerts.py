"""alerts.jsonl: what was raised, and monitor.json: what lasts.

Runs that overlap take turns on the lock of alerts.jsonl, and each looks into it for what was said already, so it does
not matter how many run, nor whether one died between two lines. A torn last line is cut off by the next run.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from cis490_receiver.errors import StorageFailed
from cis490_receiver.files import atomic
from cis490_receiver.files.lines import lines_backwards
from cis490_receiver.logfmt import event
from cis490_receiver.state import past_alerts
from cis490_receiver.state.base.alerts import Alert, AlertPage, Key, Verdict
from cis490_receiver.state.failing import storage_failures

log = logging.getLogger(__name__)

ALERTS_FILE: Final = "alerts.jsonl"
PREVIOUS_FILE: Final = "alerts.1.jsonl"
STATE_FILE: Final = "monitor.json"
#: The file is put aside when it has grown past this; one earlier generation is kept.
GENERATION_BYTES: Final = 64 << 20


class AlertFile:
    """See `state.base.alerts.AlertLog`."""

    def __init__(self, data_dir: Path, *, generation_bytes: int = GENERATION_BYTES) -> None:
        self.path = data_dir / ALERTS_FILE
        self._previous = data_dir / PREVIOUS_FILE
        self._state_path = data_dir / STATE_FILE
        self._generation_bytes = generation_bytes

    def update(self, judge: Callable[[Mapping[Key, str], Iterable[Alert]], Verdict]) -> Verdict:
        """See `AlertLog.update`."""
        try:
            return self._update(judge)
        except OSError as exc:
            remedy = "make room; the next run raises what is new"
            log.error(event("alerts-not-written", file=self.path.name, reason=exc.strerror, remedy=remedy))
            raise StorageFailed from exc

    def _update(self, judge: Callable[[Mapping[Key, str], Iterable[Alert]], Verdict]) -> Verdict:
        with atomic.locked_file(self.path) as fd:
            if os.fstat(fd).st_size > self._generation_bytes:
                atomic.sync_lines(fd, self.path)
                os.rename(self.path, self._previous)
                # Before there is a new file of that name, which would be all that a crash leaves.
                atomic.sync_folder(self.path.parent)
        with atomic.locked_file(self.path) as fd:
            atomic.cut_torn_lines(fd)
            before = self.lasting()
            verdict = judge(before, self._newest_first())
            if verdict.new:
                atomic.append_lines(fd, self.path, [b"".join(alert.to_line() for alert in verdict.new)])
            try:
                if verdict.lasting != before:
                    self._remember(verdict.lasting)
            except OSError as exc:
                # The lines are there, and nobody would be told of them after an error.
                log.error(event("storage-failed", doing="remember-symptoms", reason=exc.strerror))
        return verdict

    def _newest_first(self) -> Iterator[Alert]:
        lines = itertools.chain(lines_backwards(self.path), lines_backwards(self._previous))
        for line in lines:
            try:
                yield Alert.from_line(line)
            except ValueError:
                continue

    def page(self, *, limit: int, cursor: str | None) -> AlertPage:
        """See `AlertLog.page`. Two generations are kept."""
        with storage_failures():
            return past_alerts.page((self.path, self._previous), limit=limit, cursor=cursor)

    def lasting(self) -> dict[Key, str]:
        """See `AlertLog.lasting`."""
        try:
            data = json.loads(self._state_path.read_bytes())
            active = {(item["host_id"], item["symptom"]): item["since_wall"] for item in data["active"]}
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return {}
        return {key: since for key, since in active.items() if _is_key(key) and isinstance(since, str)}

    def _remember(self, lasting: Mapping[Key, str]) -> None:
        active = [{"host_id": k[0], "symptom": k[1], "since_wall": since} for k, since in lasting.items()]
        atomic.replace_file(self._state_path, json.dumps({"active": active}).encode("ascii"))


def _is_key(key: tuple[Any, Any]) -> bool:
    return (key[0] is None or isinstance(key[0], str)) and isinstance(key[1], str)
