"""Long texts as objects: ``<prefix>/.releases/<name>-<unique>.jsonl``."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import BinaryIO, Final

from cis490_receiver.storage.object_client import ObjectClient
from cis490_receiver.storage.object_reading import open_object
from cis490_receiver.storage.object_sending import ObjectWriter

#: Below this no host has its episodes, and no listing of objects looks.
FOLDER: Final = ".releases"


class ObjectBlobs:
    """See `index.base.blobs.Blobs`. Makes no connection before it is used: a fork is harmless."""

    def __init__(self, client: ObjectClient) -> None:
        self._client = client

    def new_key(self, name: str) -> str:
        """See `Blobs.new_key`."""
        return self._client.config.named(f"{FOLDER}/{name}-{secrets.token_hex(16)}.jsonl")

    def write(self, key: str, pieces: Iterable[bytes]) -> None:
        """See `Blobs.write`. What has many parts is sent while the next pieces are made."""
        writer = ObjectWriter(self._client, key)
        try:
            for piece in pieces:
                writer.append(piece)
            writer.finish()
        finally:
            writer.close()

    def open(self, key: str, size_bytes: int) -> BinaryIO | None:
        """See `Blobs.open`."""
        if self._client.size_of(key) != size_bytes:
            return None
        return open_object(self._client, key, size_bytes)

    def delete(self, key: str) -> None:
        """See `Blobs.delete`."""
        self._client.delete(key)
