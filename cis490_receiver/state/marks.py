"""Marks and memos in small files of the data folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from cis490_receiver import i_json
from cis490_receiver.files import atomic
from cis490_receiver.state.failing import storage_failures

HEARTBEAT_FILE: Final = "health-check.heartbeat"
#: What the fleet monitor found wrong with episodes.
PRESENCE_FILE: Final = "presence.json"
#: Where verify stopped.
VERIFY_FILE: Final = "verify.json"
#: Where the verification of a release stopped.
RELEASE_VERIFY_FILE: Final = "release-verify.json"


class HeartbeatFile:
    """See `state.base.marks.Heartbeat`: the modification time of an empty file."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / HEARTBEAT_FILE

    def beat(self) -> None:
        """See `Heartbeat.beat`."""
        with storage_failures():
            self._path.touch(mode=0o640)

    def last_ns(self) -> int | None:
        """See `Heartbeat.last_ns`."""
        try:
            return self._path.stat().st_mtime_ns
        except OSError:
            return None


class MemoFile:
    """See `state.base.marks.Memo`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Any:
        """See `Memo.read`."""
        try:
            return i_json.loads(self._path.read_bytes())
        except (OSError, ValueError):
            return None

    def write(self, value: Any) -> None:
        """See `Memo.write`."""
        with storage_failures():
            atomic.replace_file(self._path, json.dumps(value).encode("ascii"))
