"""A body on its way into one object, in parts and in bounded memory.

A body of one part is one request, made when the body is whole. From the second part on, a thread of its own sends
them while the caller receives and hashes the next: a part is being filled, one waits, and `IN_FLIGHT` are on their
way. Nothing of an upload in parts can be seen before it is completed; one that is cut is aborted. One
whose store failed may leave its parts there: the rule AbortIncompleteMultipartUpload of the bucket takes them away.
"""

from __future__ import annotations

import hashlib
import logging
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Final, NoReturn

from cis490_receiver.errors import StoreUnavailable
from cis490_receiver.logfmt import event
from cis490_receiver.storage.object_client import ObjectClient, object_errors
from cis490_receiver.storage.object_reading import sha256_of_object

log = logging.getLogger(__name__)

#: The length of a part, in bytes; a store wants at least 5 MiB of each but the last.
PART_BYTES: Final = 8 << 20
IN_FLIGHT: Final = 2
#: How much is lent at a time, in bytes.
LEND_BYTES: Final = 1 << 20


class _Cut(Exception):
    """The body will not be whole: the upload is to be aborted."""


class ObjectWriter:
    """Hashes a body and sends it to `object_key`. One thread at a time may use it.

    Attributes:
        size_bytes: how many bytes were committed.
        may_come: whether the object may appear yet, since it is not known what became of the request for it.
    """

    def __init__(self, client: ObjectClient, object_key: str) -> None:
        self._client = client
        self._object_key = object_key
        self._hash = hashlib.sha256()
        # Most episodes are small, and a part costs what it has pages.
        self._part = bytearray(LEND_BYTES)
        self._filled = 0
        self._sender: _Sender | None = None
        self._is_sent = False
        self.may_come = False
        self.size_bytes = 0

    @property
    def is_sent(self) -> bool:
        """Whether the object is there as a whole, and is what was committed."""
        return self._is_sent

    def lend(self) -> memoryview:
        """A buffer to fill.

        Raises:
            StorageFailed: an earlier part could not be sent.
        """
        if self._filled == PART_BYTES:
            self._hand_over()
        elif self._filled == len(self._part):
            part = bytearray(PART_BYTES)
            part[: self._filled] = self._part
            self._part = part
        return memoryview(self._part)[self._filled : self._filled + LEND_BYTES]

    def commit(self, count: int) -> None:
        """Hash the first `count` bytes of the lent buffer, and send them, now or soon."""
        with memoryview(self._part) as view:
            self._hash.update(view[self._filled : self._filled + count])
        self._filled += count
        self.size_bytes += count

    def append(self, data: bytes | memoryview) -> None:
        """Commit all of `data`, by way of lent buffers.

        Raises:
            StorageFailed: an earlier part could not be sent.
        """
        view = memoryview(data)
        while view:
            buffer = self.lend()
            count = min(len(buffer), len(view))
            buffer[:count] = view[:count]
            self.commit(count)
            view = view[count:]

    def hexdigest(self) -> str:
        """SHA-256 of everything that was committed, as 64 hex digits."""
        return self._hash.hexdigest()

    def small(self) -> bytes | None:
        """The whole body, where it has no second part and was not sent; else None."""
        return None if self._sender or self._is_sent else bytes(memoryview(self._part)[: self._filled])

    def finish(self) -> None:
        """Send what is left, and find the object to be what was committed. Nothing more may be committed.

        Raises:
            StorageFailed: it is not, or that cannot be told.
        """
        if self._is_sent:
            return
        last = memoryview(self._part)[: self._filled]
        self.may_come = True
        if self._sender is None:
            answered = self._client.put_small(self._object_key, last)
            expected = hashlib.md5(last, usedforsecurity=False).hexdigest()
        else:
            if self._filled:
                self._sender.send(last)
            answered = self._sender.complete()
            expected = self._sender.expected_tag()
        self._part = bytearray()
        self._filled = 0
        self.may_come = False
        _check(self._client, self._object_key, self.size_bytes, answered, expected, self.hexdigest)
        self._is_sent = True

    def close(self) -> None:
        """Abort what is not complete."""
        if self._sender is not None:
            self._sender.abort()
        self._part = bytearray()

    def _hand_over(self) -> None:
        if self._sender is None:
            self._sender = _Sender(self._client, self._object_key)
        self._sender.send(memoryview(self._part))
        self._part = bytearray(PART_BYTES)
        self._filled = 0


def put_piece(client: ObjectClient, object_key: str, data: memoryview) -> None:
    """Make an object of `data` by one request, and find it to be that.

    Raises:
        StorageFailed: it is not, or that cannot be told.
    """
    answered = client.put_small(object_key, data)
    expected = hashlib.md5(data, usedforsecurity=False).hexdigest()
    _check(client, object_key, len(data), answered, expected, lambda: hashlib.sha256(data).hexdigest())


def _check(
    client: ObjectClient,
    object_key: str,
    size_bytes: int,
    answered: str | None,
    expected: str,
    sha256: Callable[[], str],
) -> None:
    """Many stores make the entity tag from the MD5 of what came. One that equals ours proves that every byte came;
    where it does not (another kind of tag, an encrypted bucket), the object is read back."""
    found = client.size_of(object_key)
    if found != size_bytes:
        _refuse_word(object_key, f"{size_bytes} bytes were sent, and it has {found}")
    if answered is not None and answered.strip('"') == expected:
        return
    if sha256_of_object(client, object_key, size_bytes) != sha256():
        _refuse_word(object_key, "it has other bytes than were sent")


def _refuse_word(object_key: str, reason: str) -> NoReturn:
    """The store said that it has an object, and has not. It may the next time."""
    log.error(event(StoreUnavailable.code, doing="check", file=object_key, reason=reason))
    raise StoreUnavailable from ValueError(reason)


class _Sender:
    """Sends parts in order, in a thread of its own."""

    def __init__(self, client: ObjectClient, object_key: str) -> None:
        self._client = client
        self._object_key = object_key
        self._parts: queue.SimpleQueue[memoryview | _Cut | None] = queue.SimpleQueue()
        self._room = threading.Semaphore(1)
        self._tags: list[bytes] = []
        self._answered: str | None = None
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="object-writer", daemon=True)
        self._thread.start()

    def send(self, part: memoryview) -> None:
        """Send `part`, which nobody changes any more, when there is room for it.

        Raises:
            StorageFailed: an earlier one could not be sent.
        """
        self._room.acquire()
        if self._failure is not None:
            self._room.release()
            raise self._failure
        self._parts.put(part)

    def complete(self) -> str | None:
        """Make an object of the parts; gives the entity tag that the store answers.

        Raises:
            StorageFailed: it could not be done.
        """
        self._parts.put(None)
        self._thread.join()
        if self._failure is not None:
            raise self._failure
        return self._answered

    def abort(self) -> None:
        """Let nothing come of it, if it is not complete; waits until the store knows."""
        self._parts.put(_Cut())
        self._thread.join()

    def expected_tag(self) -> str:
        """The entity tag of an object in parts, where a store makes it from MD5: that of the parts' own, with how
        many they are."""
        whole = hashlib.md5(b"".join(self._tags), usedforsecurity=False)
        return f"{whole.hexdigest()}-{len(self._tags)}"

    def _run(self) -> None:
        import obstore

        try:
            with object_errors("put"):
                result = obstore.put(
                    self._client.store,
                    self._object_key,
                    self._next_parts(),
                    use_multipart=True,
                    chunk_size=PART_BYTES,
                    max_concurrency=IN_FLIGHT,
                )
            self._answered = result["e_tag"]
        except _Cut:
            pass
        except BaseException as exc:
            self._failure = exc
            self._room.release()

    def _next_parts(self) -> Iterator[memoryview]:
        while (part := self._parts.get()) is not None:
            if isinstance(part, _Cut):
                raise part
            self._room.release()
            self._tags.append(hashlib.md5(part, usedforsecurity=False).digest())
            yield part
