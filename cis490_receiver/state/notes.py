"""Notes about hosts in a small JSON file of each kind (see `state.base.notes`)."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from cis490_receiver import protocol
from cis490_receiver.errors import ConfigError
from cis490_receiver.files import atomic
from cis490_receiver.logfmt import event
from cis490_receiver.state.base.notes import Note
from cis490_receiver.state.failing import storage_failures

log = logging.getLogger(__name__)

#: The last second that the calendar has, in nanoseconds since the epoch.
_END_OF_TIME: Final = 253_402_300_799 * 10**9


N = TypeVar("N", bound=Note)


class NoteFile(Generic[N]):
    """The notes of one kind in the file `path`; `parse` makes a note of a JSON object or raises ValueError."""

    def __init__(self, path: Path, parse: Callable[[Mapping[str, Any]], N]) -> None:
        self._path = path
        self._parse = parse

    def read(self) -> dict[str, N]:
        """The notes by host. A file that cannot be read holds none, and the log says so."""
        try:
            return self._read()
        except (OSError, ValueError, RecursionError) as exc:
            log.warning(event("notes-damaged", file=self._path.name, reason=exc))
            return {}

    def change(self, change: Callable[[dict[str, N]], dict[str, N]]) -> None:
        """Put what `change` makes of the notes in their place. Once this returns it is on stable storage.

        Raises:
            ConfigError: the file is damaged; it is left as it is, since every note in it would be lost.
            StorageFailed: it could not be written.
        """

        def content() -> bytes:
            try:
                notes = self._read()
            except (ValueError, RecursionError) as exc:
                raise ConfigError(
                    f"{self._path} cannot be read ({exc}); mend it, or delete it and say anew what it held"
                ) from None
            changed = change(notes).values()
            return json.dumps([asdict(note) for note in changed], indent=1).encode("ascii") + b"\n"

        with storage_failures():
            atomic.replace_file(self._path, content)

    def _read(self) -> dict[str, N]:
        try:
            items = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return {}
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise ValueError("not a list of objects")
        return {note.host_id: note for note in map(self._parse, items)}


def host_in(item: Mapping[str, Any]) -> str:
    """The host of a JSON object. ValueError when it has none."""
    if not isinstance(host := item.get("host_id"), str) or not protocol.is_valid_id(host):
        raise ValueError("host_id is no host id")
    return host


def text_in(item: Mapping[str, Any], name: str) -> str:
    """A text of a JSON object. ValueError when it is none."""
    if not isinstance(text := item.get(name), str):
        raise ValueError(f"{name} is no text")
    return text


def time_in(item: Mapping[str, Any], name: str) -> int:
    """A time of a JSON object, in nanoseconds since the epoch. ValueError when it is none."""
    if type(ns := item.get(name)) is not int or not 0 <= ns <= _END_OF_TIME:
        raise ValueError(f"{name} is no time in nanoseconds")
    return ns
