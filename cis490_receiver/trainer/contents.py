"""What a dataset's source lists: records and withdrawals, of a receiver or of a folder."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import urlencode

from cis490_receiver import i_json, protocol
from cis490_receiver.filters import Filters
from cis490_receiver.models import Episode
from cis490_receiver.trainer.failures import DatasetFailed, told
from cis490_receiver.trainer.layout import LISTED_FILE, REMOTE_FILE, WITHDRAWN_FOLDER
from cis490_receiver.trainer.lines import Lines
from cis490_receiver.trainer.records import lines_of
from cis490_receiver.withdrawal import Withdrawal

#: Host and episode.
Name = tuple[str, str]
_PAGE: Final = 1000
_STEP_BYTES: Final = 1 << 20
_LARGEST_PAGE: Final = 8 << 20


class Withdrawn(NamedTuple):
    """When and why an episode was withdrawn, where the source tells."""

    at_wall: str | None
    why: str | None


class Contents(Protocol):
    """What a source lists. Every call looks anew."""

    def records(self, filters: Filters) -> list[Episode]:
        """What passes the filters, whether withdrawn or not, in any order.

        Raises:
            DatasetFailed: the source does not tell.
        """
        ...

    def release(self, name: str) -> bytes:
        """The table of a release, which is what the source says its digest is.

        Raises:
            DatasetFailed: there is none, or it is not whole.
        """
        ...

    def withdrawn(self, filters: Filters) -> Mapping[Name, Withdrawn]:
        """What is withdrawn now of what passes the filters, or of more.

        Raises:
            DatasetFailed: the source does not tell.
        """
        ...


class ReceiverContents:
    """What a receiver lists."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines

    def records(self, filters: Filters) -> list[Episode]:
        """See `Contents.records`."""
        return [_record(item) for item in self._list(filters.but(withdrawn="include"))]

    def withdrawn(self, filters: Filters) -> Mapping[Name, Withdrawn]:
        """See `Contents.withdrawn`."""
        return {
            (str(item.get("host_id")), str(item.get("episode_id"))): Withdrawn(
                item.get("withdrawn_at_wall"), item.get("withdrawn_why")
            )
            for item in self._list(filters.but(withdrawn="only"))
        }

    def release(self, name: str) -> bytes:
        """See `Contents.release`."""
        status, headers, table = self._get(f"/v1/releases/{name}.jsonl", "its releases", 1 << 40)
        if status == 404:
            raise DatasetFailed(f"the receiver has no release {name}; `GET /v1/releases` lists those it has")
        if status != 200:
            raise DatasetFailed(f"the receiver does not give its release {name} (status {status})")
        if (
            protocol.sha256_of_repr_digest(headers.get("Repr-Digest", ""))
            != hashlib.sha256(table).hexdigest()
        ):
            raise DatasetFailed(f"the release {name} did not come as it is: its digest is another; try again")
        return table

    def _list(self, filters: Filters) -> Iterator[dict[str, Any]]:
        query = {**filters.as_query(), "limit": str(_PAGE)}
        while True:
            status, _, text = self._get(f"/v1/episodes?{urlencode(query)}", "its episodes", _LARGEST_PAGE)
            page = _object(text)
            if status != 200 or page is None:
                why = str((page or {}).get("error", "no page of records"))
                raise DatasetFailed(f"the receiver does not list its episodes (status {status}: {why})")
            items, cursor = page.get("episodes"), page.get("next")
            if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
                raise DatasetFailed("the receiver's list of episodes cannot be read: no records in it")
            yield from items
            if not cursor:
                return
            query["cursor"] = str(cursor)

    def _get(self, path: str, what: str, limit_bytes: int) -> tuple[int, Any, bytes]:
        with told(f"the receiver does not tell of {what}"):
            line = self._lines.take()
            try:
                body = self._lines.permitted(line.get(path))
                text = bytearray()
                while len(text) < limit_bytes and (piece := body.read(_STEP_BYTES)):
                    text += piece
            finally:
                self._lines.give_back(line)
        return body.status, body.headers, bytes(text)


class FolderContents:
    """What the folder of a mirror lists, or a receiver's own data folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def records(self, filters: Filters) -> list[Episode]:
        """See `Contents.records`. The files of withdrawn episodes lie in ``withdrawn/``; their records are not in the
        mirror's index any more, but in what it read of the receiver's."""
        path = self._folder / "index.jsonl"
        if not path.is_file():
            raise DatasetFailed(
                f"{self._folder} is no mirror's folder: it has no index.jsonl; make it one by "
                "`cis490-receiver mirror URL FOLDER`"
            )
        found = _records_of(path)
        moved = set(self._moved()) - found.keys()
        for read in (REMOTE_FILE, LISTED_FILE) if moved else ():
            records = _records_of(self._folder / read)
            found |= {name: records[name] for name in moved & records.keys()}
        return [record for record in found.values() if filters.passes(record)]

    def withdrawn(self, filters: Filters) -> Mapping[Name, Withdrawn]:
        """See `Contents.withdrawn`."""
        found = dict.fromkeys(self._moved(), Withdrawn(None, None))
        with contextlib.suppress(FileNotFoundError), open(self._folder / "withdrawn.jsonl", "rb") as lines:
            for line in lines:
                with contextlib.suppress(ValueError):
                    item = Withdrawal.from_line(line)
                    if item.withdrawn:
                        found[item.host_id, item.episode_id] = Withdrawn(item.at_wall, item.why)
                    else:
                        found.pop((item.host_id, item.episode_id), None)
        return found

    def release(self, name: str) -> bytes:
        """See `Contents.release`."""
        path = self._folder / "releases" / f"{name}.jsonl"
        try:
            table = path.read_bytes()
        except FileNotFoundError:
            raise DatasetFailed(f"there is no release {name} in {self._folder}") from None
        except OSError as exc:
            raise DatasetFailed(f"{path} cannot be read: {exc.strerror}") from exc
        with contextlib.suppress(OSError):
            said = (_object(path.with_suffix(".json").read_bytes()) or {}).get("sha256")
            if said is not None and said != hashlib.sha256(table).hexdigest():
                raise DatasetFailed(f"{path} is not what it was: its SHA-256 is not the one beside it")
        return table

    def _moved(self) -> Iterator[Name]:
        """The names of the files that a mirror took out of its episodes."""
        for path in (self._folder / WITHDRAWN_FOLDER).glob(f"*/*{protocol.EPISODE_SUFFIX}"):
            yield path.parent.name, path.name.removesuffix(protocol.EPISODE_SUFFIX)


def parse_table(table: bytes, name: str) -> list[Episode]:
    """The records of a release's table.

    Raises:
        DatasetFailed: a line is no record.
    """
    try:
        return [Episode.from_line(line) for line in table.splitlines()]
    except ValueError as exc:
        raise DatasetFailed(f"the table of the release {name} cannot be read: {exc}") from exc


def _object(text: bytes) -> dict[str, Any] | None:
    try:
        value = i_json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _record(item: dict[str, Any]) -> Episode:
    try:
        return Episode.from_dict(item)
    except ValueError as exc:
        raise DatasetFailed(f"the receiver's list of episodes cannot be read: {exc}") from exc


def _records_of(path: Path) -> dict[Name, Episode]:
    """The last record of each episode in a file of index lines."""
    return {(record.host_id, record.episode_id): record for record, _ in lines_of(path)}
