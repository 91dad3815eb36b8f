"""An answer as a whole."""

from __future__ import annotations

import contextlib
import email.utils
import http.client
import time
from dataclasses import dataclass
from typing import Any, Final

from cis490_receiver import i_json

#: Statuses that say "not now": another try may go better.
TRANSIENT: Final = frozenset({408, 425, 429, 500, 502, 503, 504, 507})


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer.

    Attributes:
        json: its body, where that is a JSON object.
    """

    status: int
    headers: http.client.HTTPMessage
    json: dict[str, Any] | None

    @property
    def retry_after_seconds(self) -> float | None:
        """What ``Retry-After`` asks for."""
        return retry_after_seconds(self.headers)

    def says(self, name: str) -> str:
        """A text of the answer's JSON; empty where it has none."""
        value = (self.json or {}).get(name)
        return value if isinstance(value, str) else ""


def retry_after_seconds(headers: http.client.HTTPMessage) -> float | None:
    """What ``Retry-After`` asks for, as a number or a date (RFC 9110 §10.2.3)."""
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    with contextlib.suppress(ValueError, TypeError):
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    return None


def json_object(body: bytes) -> dict[str, Any] | None:
    """The JSON object that `body` is; None where it is none."""
    try:
        document = i_json.loads(body)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None
