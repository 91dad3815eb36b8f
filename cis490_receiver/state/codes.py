"""sign-in-codes.json: what signs a browser in once.

The file holds their digests, by which token each signs in, and until when. A code is taken out of the file before
it signs anybody in, so that of two who present it one gets in, whatever crashes when.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from cis490_receiver import i_json
from cis490_receiver.files import atomic
from cis490_receiver.state.base.signing_in import Code
from cis490_receiver.state.failing import storage_failures

CODES_FILE: Final = "sign-in-codes.json"
LIFETIME_SECONDS: Final = 15 * 60
#: Older ones give way.
_MOST: Final = 100


class CodeFile:
    """See `state.base.signing_in.SignInCodes`."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / CODES_FILE

    def make(self, token: str, token_sha256: str, now_ns: int) -> str:
        """See `SignInCodes.make`."""
        text = secrets.token_urlsafe(24)
        code = Code(_digest(text), token, token_sha256, now_ns + LIFETIME_SECONDS * 10**9)
        with storage_failures():
            atomic.replace_file(self._path, lambda: _content([*self._in_force(now_ns), code][-_MOST:]))
        return text

    def find(self, text: str, now_ns: int) -> Code | None:
        """See `SignInCodes.find`."""
        return next((code for code in self._in_force(now_ns) if code.sha256 == _digest(text)), None)

    def take(self, text: str, now_ns: int) -> Code | None:
        """See `SignInCodes.take`."""
        taken: list[Code] = []

        def without() -> bytes:
            codes = self._in_force(now_ns)
            taken.extend(code for code in codes if code.sha256 == _digest(text))
            return _content([code for code in codes if code not in taken])

        if self.find(text, now_ns) is not None:
            with storage_failures():
                atomic.replace_file(self._path, without)
        return taken[0] if taken else None

    def _in_force(self, now_ns: int) -> list[Code]:
        """A file that cannot be read holds none."""
        try:
            items = i_json.loads(self._path.read_bytes())
            codes = [Code(**item) for item in items]
            return [code for code in codes if now_ns < code.expires_ns <= now_ns + LIFETIME_SECONDS * 10**9]
        except (OSError, ValueError, TypeError):
            return []


def _content(codes: Sequence[Code]) -> bytes:
    return json.dumps([asdict(code) for code in codes], indent=1).encode("ascii") + b"\n"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
