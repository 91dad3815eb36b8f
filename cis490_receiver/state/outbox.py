"""notified.json: up to where alerts.jsonl was sent on."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from cis490_receiver import i_json
from cis490_receiver.files import atomic
from cis490_receiver.files.lines import end_of_lines
from cis490_receiver.state.alerts import ALERTS_FILE, PREVIOUS_FILE
from cis490_receiver.state.base.alerts import Alert
from cis490_receiver.state.failing import storage_failures

OUTBOX_FILE: Final = "notified.json"


class AlertOutbox:
    """See `state.base.alerts.Outbox`."""

    def __init__(self, data_dir: Path) -> None:
        self._alerts = data_dir / ALERTS_FILE
        self._path = data_dir / OUTBOX_FILE
        self._lock = data_dir / "notify.lock"

    def deliver(self, send: Callable[[Sequence[Alert]], bool], *, after_ns: int) -> bool:
        """See `Outbox.deliver`."""
        with storage_failures(), atomic.locked_file_or_none(self._lock) as lock:
            if lock is None:
                return True
            alerts, end = _unsent(self._alerts, _position(self._path), after_ns)
            if alerts and not send(alerts):
                return False
            atomic.replace_file(self._path, json.dumps({"inode": end[0], "offset": end[1]}).encode("ascii"))
        return True


def _position(outbox: Path) -> tuple[int, int] | None:
    try:
        data = i_json.loads(outbox.read_bytes())
        return int(data["inode"]), int(data["offset"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _unsent(
    path: Path, position: tuple[int, int] | None, after_ns: int
) -> tuple[list[Alert], tuple[int, int]]:
    """The alerts behind `position` (a file's inode and an offset), and the position behind them. Where that
    file is not to be found, those from after `after_ns`."""
    with atomic.locked_file(path) as fd:
        # What a run wrote that is at it, or was killed, is not to be told before it is sure to stay.
        atomic.sync_lines(fd, path)
        end = (os.fstat(fd).st_ino, end_of_lines(fd))
        text = _text_behind(fd, position)
        known = text is not None
        if text is None:
            before = _rest_of_generation(path.with_name(PREVIOUS_FILE), position)
            known = before is not None
            text = (before or b"") + os.pread(fd, end[1], 0)
    alerts = []
    for line in text.splitlines():
        with contextlib.suppress(ValueError):
            alerts.append(Alert.from_line(line))
    if not known:
        alerts = [alert for alert in alerts if alert.at_ns > after_ns]
    return alerts, end


def _text_behind(fd: int, position: tuple[int, int] | None) -> bytes | None:
    """The whole lines behind `position`; None when it is in another file."""
    end = end_of_lines(fd)
    if position is None or position[0] != os.fstat(fd).st_ino or position[1] > end:
        return None
    return os.pread(fd, end - position[1], position[1])


def _rest_of_generation(path: Path, position: tuple[int, int] | None) -> bytes | None:
    try:
        with open(path, "rb") as stream:
            return _text_behind(stream.fileno(), position)
    except FileNotFoundError:
        return None
