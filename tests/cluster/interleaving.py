"""Every order in which the steps of some actors can follow one another, each actor real code in a thread of its own.

A step is what an actor does to what it shares with the others, such as a row or an object. One actor may be killed
before any of its steps: none of those that follow, of cleaning up either, is done.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field


class Killed(BaseException):
    """The actor is dead; whatever it tries fails."""


@dataclass
class Stage:
    """One run of actors, by the choices made for it."""

    choices: list[int]
    may_kill: bool
    #: How many ways there were to go on at each step.
    options: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._go: list[threading.Semaphore] = []
        self._paused = threading.Semaphore(0)
        self._ended: list[bool] = []
        self._killed: list[bool] = []
        self._failures: list[BaseException] = []

    def step(self, actor: int) -> None:
        """Wait until it is `actor`'s turn.

        Raises:
            Killed: it is dead.
        """
        if not self._killed[actor]:
            self._paused.release()
            self._go[actor].acquire()
        if self._killed[actor]:
            raise Killed

    def play(self, actors: list[Callable[[int], None]]) -> list[bool]:
        """Run all to their ends; gives which were killed."""
        self._go = [threading.Semaphore(0) for _ in actors]
        self._ended, self._killed = [False] * len(actors), [False] * len(actors)
        threads = [
            threading.Thread(target=self._act, args=(number, actor), daemon=True)
            for number, actor in enumerate(actors)
        ]
        for thread in threads:
            thread.start()
            self._paused.acquire()
        while alive := [number for number, ended in enumerate(self._ended) if not ended]:
            ways = len(alive) * (2 if self.may_kill and not any(self._killed) else 1)
            place = len(self.options)
            choice = self.choices[place] if place < len(self.choices) else 0
            self.options.append(ways)
            actor = alive[choice % len(alive)]
            self._killed[actor] = choice >= len(alive)
            self._go[actor].release()
            self._paused.acquire()
        for thread in threads:
            thread.join()
        if self._failures:
            raise self._failures[0]
        return self._killed

    def _act(self, number: int, actor: Callable[[int], None]) -> None:
        try:
            actor(number)
        except Killed:
            pass
        except BaseException as exc:
            self._failures.append(exc)
        finally:
            self._ended[number] = True
            self._paused.release()


def every_order(*, may_kill: bool) -> Iterator[Stage]:
    """Stages, each to be played once, with every choice that there is."""
    choices: list[int] | None = []
    while choices is not None:
        stage = Stage(choices, may_kill)
        yield stage
        made = choices + [0] * (len(stage.options) - len(choices))
        choices = None
        for place in reversed(range(len(made))):
            if made[place] + 1 < stage.options[place]:
                choices = [*made[:place], made[place] + 1]
                break
