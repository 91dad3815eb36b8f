"""moved.json: where everything of a data folder goes to or comes from, and whether receivers may use the folder."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from cis490_receiver.files import atomic
from cis490_receiver.state.base.moving import Moving

FILE_NAME: Final = "moved.json"


def read(folder: Path) -> Moving | None:
    """What was said last of `folder`; None when it was never moved.

    Raises:
        OSError, ValueError: that cannot be told.
    """
    try:
        return Moving.from_json((folder / FILE_NAME).read_bytes())
    except FileNotFoundError:
        return None


def write(folder: Path, moving: Moving) -> None:
    """Say it of `folder`. Once this returns it is on stable storage.

    Raises:
        OSError: it may be so or as before.
    """
    atomic.replace_file(folder / FILE_NAME, moving.to_json().encode("ascii") + b"\n")
