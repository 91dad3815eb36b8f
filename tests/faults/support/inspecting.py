"""Builds what a crash may leave, and what others see meanwhile, for somebody to look at."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.faults.support.course import Scenario
from tests.faults.support.model import State
from tests.faults.support.recording import Recording


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
