"""Everything of an index that comes from another place, or goes there: rows that nobody reads until all of them are
there, and the word that closes an index.

The lines are rows of a generation of their own, at the offsets that they have at the other place, under which followers
know them. An episode's row is there when its object is. The last step lets the journal's head go over to them.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from typing import Final

from cis490_receiver import i_json
from cis490_receiver.errors import StorageFailed
from cis490_receiver.index.group_commit import GroupCommit
from cis490_receiver.index.postgres.episodes import Record, lock_notes, make_episodes
from cis490_receiver.models import Episode
from cis490_receiver.postgres.commits import Connection
from cis490_receiver.postgres.documents import Document
from cis490_receiver.postgres.pool import PROGRAM, Database, name_of_process, write_something

_STATE: Final = "arriving"
_BATCH: Final = 5000
_ADD: Final = b"""
INSERT INTO journal (generation, line_offset, line)
SELECT %s, place, line FROM unnest(%s::bigint[], %s::bytea[]) AS n (place, line) ON CONFLICT DO NOTHING
"""
_LINES: Final = """
SELECT line_offset, line FROM journal WHERE generation = %s AND line_offset >= %s AND line_offset < %s
ORDER BY line_offset LIMIT %s
"""
_THERE: Final = """
SELECT host_id, episode_id, sha256, size_bytes FROM unnest(%s::text[], %s::text[]) AS asked (host_id, episode_id)
JOIN episodes USING (host_id, episode_id) WHERE object_key IS NOT NULL
"""
_IN_FORCE: Final = b"""
UPDATE journal_head SET generation = %s, name = %s, end_offset = %s, closed_for = NULL,
    changed_at = greatest(changed_at, clock_timestamp())
WHERE closed_for IS NOT NULL
"""
#: Those of a receiver that is asked for nothing go after some minutes.
_OTHERS: Final = """
SELECT DISTINCT application_name FROM pg_stat_activity
WHERE datname = current_database() AND application_name LIKE %s AND application_name <> %s ORDER BY 1
"""


class ArrivingIndex:
    """The index that is being filled. Errors are those of `Database`; what is written is on stable storage then."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._state = Document(database, _STATE)
        self._group = GroupCommit(self._make_episodes)

    def closed_for(self) -> str | None:
        """Why the index takes no line; None when it does."""
        closed_for: str | None = self._database.read("SELECT closed_for FROM journal_head")[0][0]
        return closed_for

    def is_used(self) -> bool:
        """Whether anything was ever stored."""
        sql = "SELECT end_offset > 0 OR EXISTS (SELECT FROM episodes) FROM journal_head"
        return bool(self._database.read(sql)[0][0])

    def close(self, why: str) -> None:
        """Let it take no line from here on, whoever runs. What was appended before can be seen, and is safe."""
        self._database.write("UPDATE journal_head SET closed_for = %s", (why,))

    def reopen(self) -> None:
        """Let it take lines again."""
        self._database.write("UPDATE journal_head SET closed_for = NULL")

    def arrived_from(self) -> str | None:
        """Where the lines came from that were put in force last, or were about to be."""
        state = i_json.loads((self._state.read() or "{}").encode())
        origin: str | None = state.get("origin")
        return origin

    def number_of(self, generation: str) -> int:
        """The number of the rows for the lines of `generation`; a new one for a generation that is not the last one
        which was asked for."""
        state = i_json.loads((self._state.read() or "{}").encode())
        if state.get("generation") == generation:
            return int(state["number"])
        number = int(self._database.write_once("SELECT nextval('journal_generations')")[0][0])
        self._state.write(json.dumps({"generation": generation, "number": number}))
        return number

    def reached(self, number: int) -> int:
        """How far the lines of a generation are there, in bytes."""
        sql = (
            "SELECT line_offset + octet_length(line) + 1 FROM journal WHERE generation = %s"
            " ORDER BY line_offset DESC LIMIT 1"
        )
        rows = self._database.read(sql, (number,))
        return int(rows[0][0]) if rows else 0

    def add(self, number: int, start: int, text: bytes) -> None:
        """Add whole lines, which begin at the offset `start`."""
        lines = text.split(b"\n")[:-1]
        places = list(itertools.accumulate((len(line) + 1 for line in lines[:-1]), initial=start))
        self._database.repeat(lambda connection: connection.execute(_ADD, (number, places, lines)))

    def lines(self, number: int, start: int, end: int) -> Iterator[bytes]:
        """What the rows have between two offsets, many lines at a time.

        Raises:
            StorageFailed: rows are missing.
        """
        while start < end:
            rows = self._database.read(_LINES, (number, start, end, _BATCH))
            pieces = []
            for place, line in rows:
                if place != start:
                    raise StorageFailed(f"the database has no line at the offset {start} of the index")
                pieces.append(bytes(line) + b"\n")
                start += len(pieces[-1])
            if not rows:
                raise StorageFailed(f"the database has no line at the offset {start} of the index")
            yield b"".join(pieces)

    def those_there(self, episodes: Sequence[Episode]) -> set[Episode]:
        """Those of `episodes` that are there with these bytes."""
        columns = (
            [episode.host_id for episode in episodes],
            [episode.episode_id for episode in episodes],
        )
        found = {
            (host, name, digest, size) for host, name, digest, size in self._database.read(_THERE, columns)
        }
        return {one for one in episodes if (one.host_id, one.episode_id, one.sha256, one.size_bytes) in found}

    def keep(self, episode: Episode, line: bytes, object_key: str) -> bool:
        """Make an episode of an object whose upload is noted; False when there is another one of the name, or the
        note is gone."""
        return self._group.submit(Record(episode, object_key, line.rstrip(b"\n")))

    def _make_episodes(self, records: Sequence[Record]) -> Sequence[bool]:
        def make(connection: Connection) -> Sequence[bool]:
            keys = [record.object_key for record in records]
            noted = lock_notes(connection, keys)
            won = make_episodes(connection, [record for record in records if record.object_key in noted])
            if len(noted) < len(keys):
                # Of a transaction whose end was not known.
                sql = b"SELECT object_key FROM episodes WHERE object_key = ANY(%s)"
                won |= {row[0] for row in connection.execute(sql, (keys,))}
                write_something(connection)
            return [key in won for key in keys]

        return self._database.repeat(make)

    def count(self) -> int:
        """How many episodes are there."""
        sql = "SELECT count(*) FROM episodes WHERE object_key IS NOT NULL"
        return int(self._database.read(sql)[0][0])

    def put_in_force(self, number: int, generation: str, end: int, *, origin: str) -> None:
        """Let the lines of a generation be the index, and let it take others; `origin` is where they come from."""
        self._state.write(json.dumps({"generation": generation, "number": number, "origin": origin}))

        def do(connection: Connection) -> None:
            done = connection.execute(_IN_FORCE, (number, generation, end)).rowcount
            row = connection.execute(b"SELECT generation, closed_for FROM journal_head").fetchone()
            if not done and row != (number, None):
                raise StorageFailed("the index was opened by somebody else meanwhile")
            write_something(connection)

        self._database.repeat(do)

    def others(self) -> list[str]:
        """The processes of receivers and commands that have connections, beside this one."""
        return [row[0] for row in self._database.read(_OTHERS, (f"{PROGRAM} %", name_of_process()))]
