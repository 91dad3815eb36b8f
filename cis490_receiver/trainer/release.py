"""Exactly the episodes of one release, in a mirror's folder.

``DIR/releases/NAME.jsonl`` is the release's table, byte for byte: it is there when its SHA-256 was seen to be the
receiver's, and is never changed; ``NAME.json`` beside it says that SHA-256. The episodes lie where a mirror has them:
in ``DIR/episodes/``, or, where a mirror of all moved what was withdrawn since, in ``DIR/withdrawn/``. Nothing is moved
or taken away.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cis490_receiver.files import atomic, naming
from cis490_receiver.http_client.reader import Body
from cis490_receiver.models import Episode, EpisodeKey
from cis490_receiver.progress import SILENT, Progress
from cis490_receiver.protocol import sha256_of_repr_digest
from cis490_receiver.trainer.layout import STEP_BYTES, WITHDRAWN_FOLDER, hash_file, path_in
from cis490_receiver.trainer.remote import MirrorFailed, Remote
from cis490_receiver.trainer.state import State
from cis490_receiver.trainer.supply import Result, Supply, alone_in, told

FOLDER: Final = "releases"
_COUNT: Final = re.compile(r"\A[0-9]{1,18}\Z")


@dataclass(slots=True, kw_only=True)
class ReleaseResult(Result):
    """What a run did, the release's name, its table's SHA-256, and how many of its episodes were withdrawn since."""

    name: str
    sha256: str
    withdrawn_since: int


class ReleaseMirror:
    """One release of one receiver, in one folder, alone or beside others and a mirror of all."""

    def __init__(
        self, remote: Remote, folder: Path, name: str, *, jobs: int = 4, progress: Progress = SILENT
    ) -> None:
        self._remote = remote
        self._folder = folder
        self._name = name
        self._jobs = jobs
        self._progress = progress
        self._table = folder / FOLDER / f"{name}.jsonl"
        self._state = State(folder)

    def run(self, *, sha256: str | None = None, check: bool = False) -> ReleaseResult:
        """Fetch the table, and what is missing of its episodes. `sha256` is what the table must have, where that is
        known; with `check` every episode that is there is hashed again.

        Raises:
            MirrorFailed: the receiver has no such release, or not the one that was asked for.
        """
        with alone_in(self._folder):
            with told("cannot read the receiver's release"):
                found, gone = self._fetch_table(sha256)
            wanted = self._read_table()
            verified = {} if check else self._verified(found, wanted)
            supply = Supply(self._remote, self._folder, jobs=self._jobs, progress=self._progress)
            with told("cannot read the receiver's episodes"):
                result = supply.complete(wanted.values(), verified, _find)
            if not result.failed:
                complete = self._state.read().get("releases")
                known = complete if isinstance(complete, dict) else {}
                self._state.write(releases=known | {self._name: found})
            return ReleaseResult(
                result.fetched,
                result.fetched_bytes,
                result.present,
                result.withdrawn,
                result.failed,
                name=self._name,
                sha256=found,
                withdrawn_since=gone,
            )

    def _fetch_table(self, expected: str | None) -> tuple[str, int]:
        """Have the table here; gives its SHA-256, and how many of its episodes the receiver withdrew since."""
        here = hash_file(self._table)[0].hexdigest() if self._table.exists() else None
        headers = {"If-None-Match": f'"{here}"'} if here else {}
        response = self._remote.get(f"/v1/releases/{self._name}.jsonl", headers)
        if response.status == 404:
            raise MirrorFailed(f"the receiver has no release {self._name}")
        if response.status not in (200, 304):
            raise MirrorFailed(
                f"the receiver does not give its release {self._name} (status {response.status})"
            )
        said = sha256_of_repr_digest(response.headers.get("Repr-Digest", ""))
        if said is None:
            raise MirrorFailed("the receiver does not say what the release's SHA-256 is")
        if expected is not None and said != expected:
            raise MirrorFailed(
                f"the receiver's release {self._name} has the SHA-256 {said}, and not {expected}"
            )
        gone = (
            int(found[0]) if (found := _COUNT.findall(response.headers.get("X-Withdrawn-Since", ""))) else 0
        )
        if here == said:
            return said, gone
        if here is not None:
            raise MirrorFailed(
                f"{self._table} has the SHA-256 {here}, and the receiver's {said}: it is damaged, or another release "
                "of this name; delete it, or take another folder"
            )
        self._download(response, said)
        return said, gone

    def _download(self, response: Body, said: str) -> None:
        atomic.make_folder(self._table.parent)
        self._progress.begin("reading the release", response.length)
        new, digest = self._table.with_name(".new.jsonl"), hashlib.sha256()
        naming.write_new_file(new, self._pieces(response, digest), 0o440)
        if digest.hexdigest() != said:
            raise MirrorFailed("the release did not come as it is; run it again")
        about = {"name": self._name, "sha256": said, "size_bytes": new.stat().st_size}
        atomic.replace_file(self._table.with_suffix(".json"), json.dumps(about).encode("ascii"))
        naming.publish_new_file(new, self._table)

    def _pieces(self, response: Body, digest: Any) -> Iterator[bytes]:
        while piece := response.read(STEP_BYTES):
            digest.update(piece)
            self._progress.advance(len(piece))
            yield piece

    def _read_table(self) -> dict[EpisodeKey, Episode]:
        wanted = {}
        with open(self._table, "rb") as lines:
            for line in lines:
                try:
                    episode = Episode.from_line(line)
                except ValueError as exc:
                    raise MirrorFailed(f"a line of the release's table cannot be read: {exc}") from exc
                wanted[episode.key] = episode
        return wanted

    def _verified(self, sha256: str, wanted: dict[EpisodeKey, Episode]) -> dict[EpisodeKey, str]:
        """What an earlier run saw to be here."""
        complete = self._state.read().get("releases")
        if isinstance(complete, dict) and complete.get(self._name) == sha256:
            return {key: episode.sha256 for key, episode in wanted.items()}
        return {}


def _find(folder: Path, key: EpisodeKey) -> Path:
    usual, moved = path_in(folder, key), folder / WITHDRAWN_FOLDER / key.host_id / key.file_name
    return moved if moved.exists() and not usual.exists() else usual
