"""Real episodes, small."""

from __future__ import annotations

import hashlib
import io
import json
import random
import tarfile
from dataclasses import dataclass
from typing import Any

import zstandard


@dataclass(frozen=True)
class Archive:
    """A `.tar.zst` and its digest."""

    data: bytes

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


def make_episode(seed: int = 0, *, size: int = 2000, meta: dict[str, Any] | None = None) -> Archive:
    """An episode that a recorder could have made: meta.json first, then `size` bytes that do not compress."""
    content = {
        "schema_version": 2,
        "code_commit": f"{seed:040x}",
        "episode_type": "control",
        "benign_profile": "idle",
        **(meta or {}),
    }
    files = {"meta.json": json.dumps(content).encode(), "telemetry.bin": random.Random(seed).randbytes(size)}
    return Archive(pack(files))


def pack(files: dict[str, bytes]) -> bytes:
    """A `.tar.zst` of `files`, in their order."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return zstandard.ZstdCompressor(level=1).compress(packed.getvalue())
