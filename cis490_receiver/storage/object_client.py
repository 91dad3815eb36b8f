"""The object store as one process sees it: bounded patience, and failures by name.

obstore (the extra ``cluster``) is imported when the first request is made, and its client belongs to the process that
made it: its threads and connections do not survive a fork.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cis490_receiver.errors import StorageFailed, StoreUnavailable
from cis490_receiver.logfmt import event
from cis490_receiver.storage.base.placements import Listed

if TYPE_CHECKING:
    from obstore.store import S3Store

log = logging.getLogger(__name__)

#: The longest that a request with a part of an object may take, in seconds, and one with little or nothing in it; and
#: how long and how often it is tried again.
REQUEST_SECONDS: Final = 60
QUICK_SECONDS: Final = 10
CONNECT_SECONDS: Final = 5
RETRY_SECONDS: Final = 20
RETRIES: Final = 3
#: How much `put_small` takes for little, in bytes.
QUICK_BYTES: Final = 1 << 20

#: What obstore says of an answer that it takes for a failure.
_STATUS: Final = re.compile(r"non-2xx status code: ([0-9]{3})")
#: What a store says of why (Amazon S3 API, *Error responses*), and what of it passes: of an upload in parts it forgot
#: what it had, or this machine's clock is wrong.
_WHY: Final = re.compile(r"<Code>([A-Za-z]{1,60})</Code>")
_PASSING_CODES: Final = frozenset({"NoSuchUpload", "InvalidPart", "RequestTimeTooSkewed"})
#: How the name of an upload's object ends.
_UPLOAD: Final = re.compile(r"/[0-9a-f]{32}\Z")
#: What obstore says of a server that answers a range with 200.
_IGNORES_RANGES: Final = "non-partial response"
#: How many objects one request deletes (Amazon S3 API, DeleteObjects).
_AT_ONCE: Final = 1000
#: Refusals that pass (RFC 9110 §15.5.9, RFC 6585 §4).
_PASSING: Final = (408, 429)


@dataclass(frozen=True)
class ObjectsConfig:
    """Where the objects are.

    Attributes:
        bucket: the bucket, which is there already.
        prefix: what every object's name begins with, without a slash at its ends; may be empty.
        options: what obstore shall know beside that: ``endpoint``, ``region``, ``access_key_id`` and so on; what is
            not said comes from the usual AWS variables.
        request_seconds, retries: see `REQUEST_SECONDS` and `RETRIES`.
    """

    bucket: str
    prefix: str
    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    request_seconds: float = REQUEST_SECONDS
    retries: int = RETRIES

    def named(self, name: str) -> str:
        """The whole name of the object `name`."""
        return f"{self.prefix}/{name}" if self.prefix else name


class ObjectClient:
    """Requests to one bucket. Threads share it; after a fork it is made anew."""

    def __init__(self, config: ObjectsConfig) -> None:
        self.config = config
        self._lock = threading.Lock()
        self._made: tuple[int, S3Store, S3Store] | None = None

    @property
    def store(self) -> S3Store:
        """Obstore's client of this process, for what moves bytes."""
        return self._clients()[1]

    @property
    def _quick(self) -> S3Store:
        """The same for what moves few or none, which a store that hangs does not hold up for so long."""
        return self._clients()[2]

    def _clients(self) -> tuple[int, S3Store, S3Store]:
        made = self._made
        if made is None or made[0] != os.getpid():
            with self._lock:
                made = self._made
                if made is None or made[0] != os.getpid():
                    patient = self._open(self.config.request_seconds, RETRY_SECONDS)
                    quick_seconds = min(self.config.request_seconds, QUICK_SECONDS)
                    made = self._made = (os.getpid(), patient, self._open(quick_seconds, quick_seconds))
        return made

    def _open(self, request_seconds: float, retry_seconds: float) -> S3Store:
        from obstore.store import S3Store

        endpoint = self.config.options.get("endpoint", "")
        return S3Store(
            self.config.bucket,
            client_options={
                "allow_http": endpoint.startswith("http://"),
                "connect_timeout": dt.timedelta(seconds=CONNECT_SECONDS),
                "timeout": dt.timedelta(seconds=request_seconds),
            },
            retry_config={
                "max_retries": self.config.retries,
                "retry_timeout": dt.timedelta(seconds=retry_seconds),
                "backoff": {
                    "init_backoff": dt.timedelta(milliseconds=100),
                    "max_backoff": dt.timedelta(seconds=3),
                    "base": 2,
                },
            },
            **self.config.options,  # type: ignore[arg-type]
        )

    def put_small(self, object_key: str, data: bytes | bytearray | memoryview) -> str | None:
        """Write an object by one request; gives the entity tag that the store answers.

        Raises:
            StorageFailed: it may be there or not.
        """
        import obstore

        store = self._quick if len(data) <= QUICK_BYTES else self.store
        with object_errors("put"):
            return obstore.put(store, object_key, data, use_multipart=False)["e_tag"]

    def size_of(self, object_key: str) -> int | None:
        """The length of an object in bytes; None when it is not there.

        Raises:
            StorageFailed: it cannot be told.
        """
        import obstore

        with object_errors("head"):
            try:
                return obstore.head(self._quick, object_key)["size"]
            except FileNotFoundError:
                return None

    def read(self, object_key: str, start: int, end: int) -> memoryview:
        """The bytes from `start` up to `end` of an object, which is no shorter.

        Raises:
            StorageFailed: they cannot be read.
        """
        import obstore
        from obstore.exceptions import GenericError

        with object_errors("read"):
            try:
                read = memoryview(obstore.get_range(self.store, object_key, start=start, end=end))
            except GenericError as exc:
                if _IGNORES_RANGES not in str(exc):
                    raise
                read = memoryview(self._read_through(object_key, start, end))
            if len(read) != end - start:
                raise OSError(f"{len(read)} bytes came, and {end - start} were asked for")
            return read

    def _read_through(self, object_key: str, start: int, end: int) -> bytes:
        """The same from a server that answers with the whole, as it may (RFC 9110 §14.2): what comes before is read
        and dropped."""
        import obstore

        found, offset = bytearray(), 0
        for chunk in obstore.get(self.store, object_key).stream(min_chunk_size=1 << 20):
            found += memoryview(chunk)[max(start - offset, 0) : max(end - offset, 0)]
            offset += len(chunk)
            if offset >= end:
                break
        return bytes(found)

    def delete(self, object_key: str) -> None:
        """Delete an object, if it is there.

        Raises:
            StorageFailed: it may be there still.
        """
        import obstore

        with object_errors("delete"):
            try:
                obstore.delete(self._quick, object_key)
            except FileNotFoundError:
                return

    def delete_all(self, object_keys: Sequence[str]) -> None:
        """Delete objects, those of them that are there.

        Raises:
            StorageFailed: some may be there still.
        """
        import obstore

        for start in range(0, len(object_keys), _AT_ONCE):
            with object_errors("delete"), contextlib.suppress(FileNotFoundError):
                obstore.delete(self._quick, object_keys[start : start + _AT_ONCE])

    def list(self) -> Iterator[Listed]:
        """See `Objects.list`: what is below the prefix, and is named as an upload's object is.

        Raises:
            StorageFailed: they cannot be listed.
        """
        import obstore

        with object_errors("list"):
            for chunk in obstore.list(self.store, self.config.prefix or None):
                for found in chunk:
                    if not _UPLOAD.search(found["path"]):
                        continue
                    modified_ns = int(found["last_modified"].timestamp() * 1000) * 1_000_000
                    yield Listed(found["path"], found["size"], modified_ns)


class object_errors:  # noqa: N801 - reads as the statement it is used in
    """Turns whatever obstore raises in the block into a named error, its cause chained for the log."""

    __slots__ = ("_doing",)

    def __init__(self, doing: str) -> None:
        self._doing = doing

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: object) -> None:
        from obstore.exceptions import BaseError

        if not isinstance(exc, (BaseError, OSError)):
            return
        reason = str(exc).partition("\n")[0]
        said = _WHY.search(str(exc))
        why = said[1] if said else type(exc).__name__
        is_refusal = _is_refusal(exc, reason) and why not in _PASSING_CODES
        named = StorageFailed if is_refusal else StoreUnavailable
        log.error(event(named.code, doing=self._doing, kind=why, reason=reason[:300]))
        raise named from exc


def _is_refusal(exc: BaseException, reason: str) -> bool:
    """Whether the store answered, and will answer the same again: a bucket that is not there, a right that lacks."""
    from obstore.exceptions import GenericError

    status = _STATUS.search(reason)
    if status is not None:
        return int(status[1]) < 500 and int(status[1]) not in _PASSING
    return not isinstance(exc, GenericError)
