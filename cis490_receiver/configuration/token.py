"""A bearer token in a file of its own, as both ends and the trainers keep it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from cis490_receiver.configuration.keys import Kind, parse_text
from cis490_receiver.files.small import read_small

_MAX_FILE_BYTES: Final = 64 * 1024


def _parse(value: object) -> str:
    text = parse_text(value)
    if not re.fullmatch(r"[\x21-\x7e]{1,4096}", text):
        raise ValueError("must be visible ASCII without spaces; `openssl rand -hex 32` makes one")
    return text


TOKEN: Final = Kind(_parse, "visible ASCII without spaces")


def read_token(path: Path) -> str:
    """The token in the file `path`.

    Raises:
        OSError: the file cannot be read, or is too large for one.
        ValueError: it holds something else; the text says what it must be, and nothing of what it is.
    """
    content = read_small(path, _MAX_FILE_BYTES)
    return _parse(content.decode("ascii", errors="replace"))
