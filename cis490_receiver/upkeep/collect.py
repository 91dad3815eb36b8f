"""Take away what uploads, and makers of releases, left behind in an object store: their notes and their objects.

An upload is given up first (`storage.base.placements`). Whatever happens after that, nobody can make an episode of its
object. Its note stays until the object was deleted once more, long after: a writer may have been under way, and been
killed before it could discard what it sent.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from cis490_receiver.errors import StorageFailed
from cis490_receiver.logfmt import event
from cis490_receiver.storage.base.placements import Listed, Noted, Objects, Placements

log = logging.getLogger(__name__)

#: Younger than this, an upload may be under way still, in seconds: a day, longer than any takes.
PATIENCE_SECONDS: Final = 86400
#: How many objects are asked about at a time.
_CHUNK: Final = 500


@dataclass(frozen=True, slots=True)
class Collected:
    """What was done: how many objects were deleted, and how many could not be, which the next run tries again."""

    deleted: int
    failed: int


def collect(objects: Objects, placements: Placements, *, before_ns: int) -> Collected:
    """Delete the objects of uploads that were begun before `before_ns` and never became an episode. Safe beside
    writers, and beside others that collect.

    Args:
        objects: where the objects are.
        placements: what is known of them.
        before_ns: nanoseconds since the epoch, longer ago than the longest upload takes. A writer that is slower
            still fails, so that its sender sends it again.

    Raises:
        StorageFailed: the notes cannot be read, or not be changed.
    """
    again = list(placements.given_up(before_ns))
    deleted = failed = 0
    for object_key in placements.give_up_old(before_ns):
        if _is_deleted(objects, object_key):
            deleted += 1
            log.info(event("discarded-upload", file=object_key))
        else:
            failed += 1
    # What a writer sent that was under way when it was given up, and was killed before it could discard it.
    gone = [object_key for object_key in again if _is_deleted(objects, object_key)]
    placements.forget(gone)
    return Collected(deleted, failed + len(again) - len(gone))


def _is_deleted(objects: Objects, object_key: str) -> bool:
    try:
        objects.delete(object_key)
    except StorageFailed as exc:
        log.error(event("orphan-left", file=object_key, reason=exc.reason.partition("\n")[0]))
        return False
    return True


def collect_pieces(objects: Objects, pieces: Noted, *, older_than_seconds: float) -> Collected:
    """Delete the objects of uploads in pieces that a dead writer did not come to count, and those that were left when
    an upload ended. Safe beside writers, and beside others that collect.

    The note goes last here. What keeps anybody from making use of the object is that the note belongs to no upload any
    more; without the note nobody would know of an object that could not be deleted.

    Args:
        objects: where the objects are.
        pieces: what is known of them.
        older_than_seconds: longer than one request of a writer takes, or the object comes after it was deleted.

    Raises:
        StorageFailed: the notes cannot be read, or not be taken away.
    """
    return _collect_garbage(objects, pieces, older_than_seconds, "discarded-upload")


def collect_tables(
    objects: Objects, tables: Noted, *, older_than_seconds: float = PATIENCE_SECONDS
) -> Collected:
    """Delete the objects of tables of which no release came, because their maker died or had not the name. Safe beside
    those who make releases, and beside others that collect. The note goes last, as in `collect_pieces`.

    Args:
        objects: where the objects are.
        tables: what is known of them.
        older_than_seconds: longer than the making of a release takes, which fails when it was slower.

    Raises:
        StorageFailed: the notes cannot be read, or not be taken away.
    """
    return _collect_garbage(objects, tables, older_than_seconds, "discarded-table")


def _collect_garbage(objects: Objects, noted: Noted, older_than_seconds: float, told_as: str) -> Collected:
    deleted = failed = 0
    for object_key in noted.garbage(older_than_seconds=older_than_seconds):
        if not _is_deleted(objects, object_key):
            failed += 1
            continue
        noted.forget([object_key])
        deleted += 1
        log.info(event(told_as, file=object_key))
    return Collected(deleted, failed)


def orphans(objects: Objects, placements: Placements, *, before_ns: int) -> Iterator[Listed]:
    """The objects that were written before `before_ns` and of which nothing is known. They are told, and not deleted:
    after a database was restored from a backup they may be all that is left of an episode.

    Raises:
        StorageFailed: they cannot be listed, or not be asked about.
    """
    old = (found for found in objects.list() if found.modified_ns < before_ns)
    while chunk := list(itertools.islice(old, _CHUNK)):
        unknown = placements.unknown([found.object_key for found in chunk])
        yield from (found for found in chunk if found.object_key in unknown)
