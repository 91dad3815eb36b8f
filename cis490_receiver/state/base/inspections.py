"""What the inspection of stored episodes leaves for its next run and for the fleet monitor."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Protocol

from cis490_receiver import protocol
from cis490_receiver.models import EpisodeKey

#: What can be wrong with a host's episodes: they do not open; their bytes are not any more what was acknowledged; what
#: was said of them when they came and what their meta.json says do not agree, or lack something.
UNOPENABLE: Final = "unopenable"
CHANGED: Final = "changed"
MISLABELLED: Final = "mislabelled"
KINDS: Final = (UNOPENABLE, CHANGED, MISLABELLED)

#: How many of a trouble's episodes are named, how many troubles and how many episodes to look at again are kept, and
#: how much is kept of what is said of one.
EXAMPLES: Final = 3
MAX_TROUBLES: Final = 2000
MAX_AGAIN: Final = 100
MAX_DETAIL: Final = 300


@dataclass(frozen=True, slots=True)
class Example:
    """An episode that has the trouble, and what is wrong with it."""

    episode_id: str
    detail: str


@dataclass(frozen=True, slots=True)
class Trouble:
    """What was found wrong with the episodes of a host.

    Attributes:
        kind: one of `KINDS`.
        count: how many of its episodes, since it began.
        since_ns, last_ns: when the first and the last of them were found, in nanoseconds since the epoch.
        examples: the last ones, the newest first, at most `EXAMPLES`.
    """

    host_id: str
    kind: str
    count: int
    since_ns: int
    last_ns: int
    examples: tuple[Example, ...]

    def and_another(self, example: Example, now_ns: int) -> Trouble:
        """The same with one more episode."""
        others = [known for known in self.examples if known.episode_id != example.episode_id]
        return replace(self, count=self.count + 1, last_ns=now_ns, examples=(example, *others)[:EXAMPLES])


@dataclass(frozen=True, slots=True)
class Mark:
    """How far the journal was inspected: everything before `offset`, which is the end of a line.

    Attributes:
        generation: of the journal that the offset belongs to.
        start, offset: where the last line that was inspected begins and ends, in bytes.
        lines: how many lines there are before the offset.
        newest_ns: the latest arrival among them.
        trail: the number and the digest of some of these lines, by which the place is found again in a journal that was
            made anew; the first is the line that ends at the offset.
    """

    generation: str
    start: int = 0
    offset: int = 0
    lines: int = 0
    newest_ns: int = 0
    trail: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Inspected:
    """All that is known of what was inspected.

    Attributes:
        mark: None before anything was.
        troubles: what is wrong, the latest first; at most `MAX_TROUBLES`.
        again: episodes before the mark that could not be read and are looked at again; at most `MAX_AGAIN`.
    """

    mark: Mark | None = None
    troubles: tuple[Trouble, ...] = ()
    again: tuple[EpisodeKey, ...] = ()

    def with_troubles(
        self, found: Iterable[tuple[EpisodeKey, str, str]], *, now_ns: int, forget_ns: int
    ) -> Inspected:
        """The same, with more episodes that have a trouble: which, of what kind, what it is. A trouble that was not
        seen for `forget_ns` begins anew."""
        # The latest last, as a dict keeps them.
        known = {(trouble.host_id, trouble.kind): trouble for trouble in reversed(self.troubles)}
        for key, kind, detail in found:
            example = Example(key.episode_id, detail[:MAX_DETAIL])
            before = known.pop((key.host_id, kind), None)
            if before is None or now_ns - before.last_ns > forget_ns:
                before = Trouble(key.host_id, kind, 0, now_ns, now_ns, ())
            known[key.host_id, kind] = before.and_another(example, now_ns)
        return replace(self, troubles=tuple(reversed(known.values()))[:MAX_TROUBLES])

    def as_dict(self) -> dict[str, Any]:
        """As it stands in JSON."""
        return {
            "mark": asdict(self.mark) if self.mark else None,
            "troubles": [asdict(trouble) for trouble in self.troubles],
            "again": [[key.host_id, key.episode_id] for key in self.again],
        }

    @classmethod
    def from_dict(cls, data: Any) -> Inspected:
        """Read what `as_dict` gave.

        Raises:
            ValueError: it is something else.
        """
        try:
            return cls(
                _mark(data["mark"]) if data["mark"] is not None else None,
                tuple(_trouble(item) for item in data["troubles"][:MAX_TROUBLES]),
                tuple(EpisodeKey(host_id, episode_id) for host_id, episode_id in data["again"][:MAX_AGAIN]),
            )
        except (KeyError, TypeError) as exc:
            raise ValueError("not what was inspected") from exc


class Inspections(Protocol):
    """Where that is kept. Any number of processes, on any number of machines, may ask."""

    def alone_or_not(self) -> AbstractContextManager[bool]:
        """Be the only one that inspects while the block runs; gives False at once when another one is at it. Ends with
        the process, however that dies, so that the next run finds nobody in its way."""
        ...

    def read(self) -> Inspected:
        """What is known; nothing where it cannot be read, which costs no more than inspecting anew."""
        ...

    def write(self, inspected: Inspected) -> None:
        """Put this in the place of what was known, for who is alone. After a crash there is the one from before or this
        one, whole; once this returns it is on stable storage.

        Raises:
            StorageFull, StorageFailed: it could not be written; the one before stands.
        """
        ...


def _mark(data: Any) -> Mark:
    return Mark(
        str(data["generation"]),
        start=_number(data["start"]),
        offset=_number(data["offset"]),
        lines=_number(data["lines"]),
        newest_ns=_number(data["newest_ns"]),
        trail=tuple((_number(line), str(digest)) for line, digest in data["trail"]),
    )


def _trouble(data: Any) -> Trouble:
    if not protocol.is_valid_id(data["host_id"]) or data["kind"] not in KINDS:
        raise ValueError("not a trouble")
    return Trouble(
        data["host_id"],
        data["kind"],
        count=_number(data["count"]),
        since_ns=_number(data["since_ns"]),
        last_ns=_number(data["last_ns"]),
        examples=_examples(data["examples"]),
    )


def _examples(items: Iterable[Any]) -> tuple[Example, ...]:
    return tuple(Example(str(item["episode_id"]), str(item["detail"])) for item in items)[:EXAMPLES]


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise ValueError("not a number in range")
    return value
