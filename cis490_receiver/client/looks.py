"""What a PUT of each waiting file says: looked at once, remembered, and doubted when the receiver saw other bytes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final

from cis490_receiver.client import inspection
from cis490_receiver.client.config import LabHost
from cis490_receiver.client.episode import Described, url_path
from cis490_receiver.client.inspection import Damaged, Findings, Unfinished
from cis490_receiver.client.records import Kept, Records, UploadRecord
from cis490_receiver.client.spool import Spool, Waiting
from cis490_receiver.protocol import HEADER_SHA256

#: Given what is done and to how many bytes; gives, while it is done, what is told the bytes of each piece.
Watch = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
#: Why a file stays that a second look at the same bytes would not judge otherwise.
_CERTAIN: Final = Unfinished.code


class Looks:
    """The looks at one spool."""

    def __init__(self, host: LabHost, spool: Spool, watch: Watch) -> None:
        self._host_id = host.host_id
        self._check = host.check
        self._records = Records(spool)
        self._watch = watch
        self._known: dict[Waiting, Findings] = {}

    def knows(self, one: Waiting) -> bool:
        """Whether `describe` answers without reading the file."""
        return one in self._known

    def describe(self, one: Waiting) -> Described:
        """What a PUT of `one` says.

        Raises:
            BadEpisodeName: its name is none for an episode.
            NotShippable: so is what is in it; the class says how.
            FileChanged: it was written to meanwhile.
            OSError: it cannot be read.
        """
        path = url_path(one.path, self._host_id)
        if one not in self._known:
            self._known[one] = self._recalled(one) or self._look(one)
        found = self._known[one]
        return Described(path, found.sha256, {HEADER_SHA256: found.sha256} | found.headers, found.notes)

    def _recalled(self, one: Waiting) -> Findings | None:
        kept = self._records.kept(one)
        if kept is not None and kept.code == _CERTAIN:
            raise Unfinished(kept.reason)
        return self._records.findings(one, self._check)

    def _look(self, one: Waiting) -> Findings:
        with self._watch(f"checking {one.path.name}", one.size_bytes) as seen:
            found = inspection.CHECKS[self._check](one.path, seen)
        earlier = self._records.doubted(one)
        if earlier not in (None, found.sha256):
            raise Damaged(
                f"its bytes are others than they were, and nobody wrote to it: SHA-256 {found.sha256}, was {earlier}"
            )
        self._records.note_findings(one, self._check, found)
        return found

    def upload_of(self, one: Waiting) -> UploadRecord:
        """Where the upload in pieces of `one` is remembered."""
        return self._records.upload_of(one)

    def doubt(self, one: Waiting) -> None:
        """The receiver got other bytes than were announced: look at the file again."""
        found = self._known.pop(one, None)
        if found is not None:
            self._records.note_doubt(one, found.sha256)

    def keep(self, one: Waiting, code: str, reason: str, remedy: str = "") -> None:
        """Remember, for `status` and the doctor, why a file stays."""
        self._records.note_kept(one, Kept(code, reason, remedy))

    def forget(self, one: Waiting) -> None:
        """The file has left the spool."""
        self._known.pop(one, None)
        self._records.forget(one)

    def forget_others(self, waiting: set[Waiting]) -> None:
        """Keep nothing about files that are gone, or that changed and are others now."""
        for one in self._known.keys() - waiting:
            del self._known[one]
        self._records.sweep(waiting)
