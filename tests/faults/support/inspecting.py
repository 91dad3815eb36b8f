"""Builds what a crash may leave, and what others see meanwhile, for somebody to look at."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

from cis490_receiver.index.generation import GENERATION_NAME
from cis490_receiver.index.local import JOURNAL_NAME
from tests.faults.support.course import Scenario
from tests.faults.support.model import State
from tests.faults.support.recording import Recording

#: When the files of every state were last written.
WRITTEN_NS: Final = 10**18


class Broken(AssertionError):
    """The promise is broken, or the tidying up behind it."""


class Inspector:
    """Looks at the states of one scenario, each built in a scratch folder."""

    def __init__(self, what: Scenario, scratch: Path, recording: Recording) -> None:
        self._root = scratch / "state"

    def inspect(self, state: State) -> None:
        """Raises Broken when the promise does not hold in `state`, or what is left there is in the way."""
        self._build(state)
        try:
            self._inspect(state, self._root / "data")
        except Broken as exc:
            raise Broken(f"{exc}\n  {state.story}") from exc
        except Exception as exc:
            raise Broken(f"{type(exc).__name__}: {exc}\n  {state.story}") from exc

    def look(self, state: State) -> None:
        """Raises Broken when a reader must not find `state`, which is one of a run without a crash."""
        self._build(state)
        try:
            self._look(state, self._root / "data")
        except Broken as exc:
            raise Broken(f"{exc}\n  {state.story}") from exc

    def _inspect(self, state: State, data: Path) -> None:
        raise NotImplementedError

    def _look(self, state: State, data: Path) -> None:
        """Nothing by itself."""

    def _build(self, state: State) -> None:
        root = self._root
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir()
        for folder in state.folders:
            (root / folder).mkdir()
        first: dict[int, Path] = {}
        for path, (inode, content) in state.files.items():
            place = root / path
            if inode in first:
                os.link(first[inode], place)
                continue
            first[inode] = place
            place.write_bytes(content)
            # The time of arrival where nothing else tells of one: the same in every state.
            os.utime(place, ns=(WRITTEN_NS, WRITTEN_NS))


def content_of(data: Path) -> bytes:
    """A digest of all that a process finds which starts on `data`: names, contents, and what is linked to what.

    Of the journal's generation, which is a random name, only whether there is one.
    """
    digest, first = hashlib.sha256(), dict[int, str]()
    for folder, names, files in os.walk(data):
        names.sort()
        digest.update(f"{folder} {names} {sorted(files)}\n".encode())
        for name in sorted(files):
            path = f"{folder}/{name}"
            with open(path, "rb") as stream:
                content = stream.read()
            inode = os.stat(path).st_ino
            if name == GENERATION_NAME:
                content = re.sub(rb'"(\d+)": "[0-9a-f]{32}"', _noted(data), content)
            digest.update(f"{first.setdefault(inode, path)} {len(content)}\n".encode() + content)
    return digest.digest()


def _noted(data: Path) -> Callable[[re.Match[bytes]], bytes]:
    journal = data / JOURNAL_NAME
    inode = journal.stat().st_ino if journal.exists() else None
    return lambda found: b"the journal's" if int(found[1]) == inode else b"another's"
