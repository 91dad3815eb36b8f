"""Log lines as ``event key=value …``, safe to print whatever a client put into a value."""

from __future__ import annotations

import logging
import re
import sys
from json.encoder import encode_basestring_ascii
from typing import Final, TextIO

_PLAIN: Final = re.compile(r"[A-Za-z0-9._:/@+,%-]+")
_MAX_VALUE: Final = 200


def quoted(value: object) -> str:
    """`value` for a log line: bare where it is plain, else a JSON string with every control and non-ASCII
    character escaped; cut after 200 characters, so that a client cannot make a line long."""
    text = str(value)
    if len(text) > _MAX_VALUE:
        text = text[:_MAX_VALUE] + "…"
    if _PLAIN.fullmatch(text):
        return text
    # JSON leaves DEL as it is.
    return encode_basestring_ascii(text).replace("\x7f", "\\u007f")


def event(name: str, /, **fields: object) -> str:
    """One line: `name`, then the fields that are not None."""
    parts = [f"{key}={quoted(value)}" for key, value in fields.items() if value is not None]
    return " ".join([name, *parts])


class _JournalFormatter(logging.Formatter):
    """Prefixes a line with its syslog priority, which journald reads and strips (sd-daemon(3))."""

    _PRIORITIES: Final = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))

    def format(self, record: logging.LogRecord) -> str:
        priority = next((p for level, p in self._PRIORITIES if record.levelno >= level), 7)
        return "\n".join(f"<{priority}>{line}" for line in super().format(record).splitlines())


def configure(level: str, *, stream: TextIO | None = None, journal: bool = False) -> None:
    """Send the package's log to `stream` (standard error when None), once per process."""
    logger = logging.getLogger("cis490_receiver")
    logger.setLevel(level.upper())
    if logger.handlers:
        return
    handler = logging.StreamHandler(stream or sys.stderr)
    if journal:
        handler.setFormatter(_JournalFormatter("%(message)s"))
    else:
        handler.setFormatter(
            logging.Formatter("%(asctime)s %(levelname)s %(message)s", datefmt="%Y-%m-%dT%H:%M:%S%z")
        )
    logger.addHandler(handler)
    logger.propagate = False
