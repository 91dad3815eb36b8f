"""session.key: what the sessions of browsers are signed with, readable by the receiver alone."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
from pathlib import Path
from typing import Final

from cis490_receiver.files import atomic
from cis490_receiver.logfmt import event

log = logging.getLogger(__name__)

KEY_FILE: Final = "session.key"
_KEY_BYTES: Final = 32


class SessionKeyFile:
    """See `state.base.signing_in.SessionKey`."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / KEY_FILE

    def load(self) -> bytes:
        """See `SessionKey.load`."""
        try:
            if not self._path.exists():
                _make(self._path)
            key = self._path.read_bytes()
            if len(key) >= _KEY_BYTES:
                return key
            reason = "too short"
        except OSError as exc:
            reason = exc.strerror or "failed"
        remedy = "sessions end with this process"
        log.warning(event("session-key-unusable", file=KEY_FILE, reason=reason, remedy=remedy))
        return secrets.token_bytes(_KEY_BYTES)


def _make(path: Path) -> None:
    """Make the key under a name of its own first, so that nobody sees half of one, and nobody replaces another's."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        atomic.write_all(fd, secrets.token_bytes(_KEY_BYTES))
        os.fsync(fd)
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
        atomic.sync_folder(path.parent)
    finally:
        os.close(fd)
        os.unlink(temporary)
