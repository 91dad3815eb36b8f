"""How far long work has come: a bar on a terminal, now and then a line elsewhere, and nothing for what is quick."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, Protocol

from cis490_receiver.page import size

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

#: Work that is done sooner shows nothing, and does not pay for importing what would show it.
_QUICK_SECONDS: Final = 0.5
#: How often a terminal's bar is told of progress, and another reader gets a line.
_BAR_SECONDS: Final = 0.1
_LINE_SECONDS: Final = 10.0


class Progress(Protocol):
    """What long work tells. Threads may share it."""

    def begin(self, doing: str, total: int | None = None, unit: str = "bytes") -> None:
        """A new stage: what is being done, of how many `unit` (a plural), None where nobody knows."""
        ...

    def advance(self, count: int = 1) -> None:
        """So many more are done."""
        ...

    def skip(self, count: int) -> None:
        """So many of the total will not have to be done."""
        ...


class Silent:
    """Tells nobody."""

    def begin(self, doing: str, total: int | None = None, unit: str = "bytes") -> None:
        """See `Progress.begin`."""

    def advance(self, count: int = 1) -> None:
        """See `Progress.advance`."""

    def skip(self, count: int) -> None:
        """See `Progress.skip`."""


SILENT: Final = Silent()


@contextlib.contextmanager
def on_standard_error(*, quiet: bool = False) -> Iterator[Progress]:
    """Tell of progress on standard error while the block runs. Nothing of it stays on a terminal."""
    if quiet or sys.stderr is None:
        yield SILENT
        return
    # A terminal that cannot move its cursor is read like a log.
    is_terminal = sys.stderr.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")
    told = _Bar() if is_terminal else _Lines()
    try:
        yield told
    finally:
        told.end()


@contextlib.contextmanager
def of_bytes(doing: str, total: int, *, quiet: bool = False) -> Iterator[Callable[[int], None]]:
    """Tell of a single stage, as `on_standard_error` does; give what is told the bytes of each piece."""
    with on_standard_error(quiet=quiet) as told:
        told.begin(doing, total)
        yield told.advance


class _Told:
    """Counts, and tells from time to time."""

    every_seconds: float

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._begin("", None, "")

    def begin(self, doing: str, total: int | None = None, unit: str = "bytes") -> None:
        """See `Progress.begin`."""
        with self._lock:
            self.end()
            self._begin(doing, total, unit)

    def _begin(self, doing: str, total: int | None, unit: str) -> None:
        self.doing, self.total, self.unit = doing, total, unit
        self.done = 0
        self._started = self._now()
        self._next = self._started + max(self.every_seconds, _QUICK_SECONDS)

    def advance(self, count: int = 1) -> None:
        """See `Progress.advance`."""
        with self._lock:
            self.done += count
            now = self._now()
            if now >= self._next:
                self._next = now + self.every_seconds
                self.tell(now - self._started)

    def skip(self, count: int) -> None:
        """See `Progress.skip`."""
        with self._lock:
            if self.total is not None:
                self.total -= count

    def state(self, seconds: float) -> str:
        """How much is done, and how fast."""
        done = _amount(self.done, self.unit)
        of = f" of {_amount(self.total, self.unit)}" if self.total is not None else ""
        return f"{done}{of}, {_amount(self.done / seconds, self.unit)}/s"

    def seconds_left(self, seconds: float) -> float | None:
        """How long it goes on like this; None where nobody knows."""
        if self.total is None or not self.done:
            return None
        return max(0.0, (self.total - self.done) * seconds / self.done)

    def tell(self, seconds: float) -> None:
        raise NotImplementedError

    def end(self) -> None:
        """Clear away what does not stay."""


class _Lines(_Told):
    every_seconds = _LINE_SECONDS

    def tell(self, seconds: float) -> None:
        left = self.seconds_left(seconds)
        rest = f", {_clock(left)} left" if left is not None else ""
        print(f"{self.doing}: {self.state(seconds)}{rest}", file=sys.stderr, flush=True)


class _Bar(_Told):
    every_seconds = _BAR_SECONDS
    _bars: Bars | None = None

    def tell(self, seconds: float) -> None:
        if self._bars is None:
            self._bars = _open_bars()
            self._bars.start()
            self._bars.add_task(self.doing, total=None, state="", left="")
        left = self.seconds_left(seconds)
        self._bars.update(
            self._bars.task_ids[0],
            total=self.total,
            completed=self.done,
            state=self.state(seconds),
            left=f"{_clock(left)} left" if left is not None else "",
        )

    def end(self) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None


def _open_bars() -> Bars:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bars

    return Bars(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[state]}", markup=False),
        TextColumn("{task.fields[left]}", markup=False),
        console=Console(stderr=True, force_terminal=True),
        # What the command prints is its own affair, and goes elsewhere.
        redirect_stdout=False,
        transient=True,
    )


def _amount(count: float, unit: str) -> str:
    if unit != "bytes":
        return f"{count:,.0f} {unit}"
    return size(count)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
