"""How far the journal was read, and where that is in a journal that was made anew.

A byte offset belongs to one generation of the journal. Another one comes from a crash or a failed sync, whose torn
lines were cut away, or from `reindex`: the lines that it keeps stay in their order, those that it rebuilds stand behind
them, and behind these what was appended while it ran. Therefore:

- a mark names, beside its offset, some lines that were read, by number and digest: the last four, and further back
  fewer and fewer, about three for each doubling of the distance;
- in another journal the place is behind the last of these lines that it has, if those that it has stand there in their
  order. What `reindex` kept is not read again but for a part as long as what is missing of the last lines; and since
  nobody advances a mark while `reindex` runs (`index.base.Renewal.alone`), no line that it rebuilt stands before;
- a line before that place with a later arrival than all that was read was not: the place is before it;
- where none of the lines is found, it is another index, and is read from its start.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO, Final

from cis490_receiver.index.base import OpenJournal
from cis490_receiver.models import Episode
from cis490_receiver.state.base.inspections import Mark

#: The longest line that is taken for one; see `files.lines.LINE_LIMIT`.
_LINE_LIMIT: Final = 64 << 10


def lines_from(stream: BinaryIO, start: int, end: int) -> Iterator[tuple[int, int, bytes]]:
    """Where each whole line between two offsets begins and ends, and its bytes; of a longer one than any record is,
    only its beginning is given."""
    while start < end:
        stream.seek(start)
        line = stream.readline(_LINE_LIMIT)
        after, last = start + len(line), line
        while last and not last.endswith(b"\n"):
            last = stream.readline(_LINE_LIMIT)
            after += len(last)
        if not last:
            return
        yield start, after, line
        start = after


def record_of(line: bytes) -> Episode | None:
    """The record that a line is; None when it is none."""
    try:
        return Episode.from_line(line)
    except ValueError:
        return None


def advanced(mark: Mark, start: int, end: int, line: bytes, arrived_ns: int) -> Mark:
    """`mark` behind the next line, which begins and ends at these offsets."""
    number = mark.lines + 1
    trail = ((number, _digest(line)), *mark.trail)
    return Mark(
        mark.generation,
        start,
        end,
        number,
        max(mark.newest_ns, arrived_ns),
        tuple(step for step in trail if _is_kept(step[0], number)),
    )


def located(mark: Mark | None, journal: OpenJournal) -> Mark:
    """Where `mark` is in `journal`, as the module says."""
    if mark is None or not mark.trail:
        return Mark(journal.generation)
    if mark.generation == journal.generation and _holds(mark, journal):
        return mark
    return _found_again(mark, journal)


def _holds(mark: Mark, journal: OpenJournal) -> bool:
    """Whether the mark's last line is where it was. A crash may take away whole lines that nobody had synced, without
    anybody who cuts them; others follow then in their place."""
    if mark.offset > journal.end:
        return False
    line = next(lines_from(journal.stream, mark.start, mark.offset), (0, 0, b""))
    return line[1] == mark.offset and _digest(line[2]) == mark.trail[0][1]


def _found_again(mark: Mark, journal: OpenJournal) -> Mark:
    known = {digest: number for number, digest in mark.trail}
    here, place, later = Mark(journal.generation), Mark(journal.generation), None
    last = 0
    for start, end, line in lines_from(journal.stream, 0, journal.end):
        episode = record_of(line)
        arrived_ns = episode.received_at_ns if episode else 0
        if later is None and arrived_ns > mark.newest_ns:
            later = here
        here = advanced(here, start, end, line, arrived_ns)
        number = known.get(here.trail[0][1])
        if number is None:
            continue
        if number < last:
            # Not in their order: another index.
            return Mark(journal.generation)
        last, place = number, here
    if later is not None and later.offset < place.offset:
        return later
    # What was read of lines that are not there any more counts too.
    return replace(place, newest_ns=max(place.newest_ns, mark.newest_ns)) if place.lines else place


def _digest(line: bytes) -> str:
    return hashlib.blake2b(line, digest_size=16).hexdigest()


def _is_kept(number: int, newest: int) -> bool:
    """Whether the line of this number is still in the trail when `newest` is the last: its number is a multiple of the
    power of two that goes two to four times into the distance."""
    distance = newest - number
    return distance < 4 or number % (1 << (distance.bit_length() - 2)) == 0
