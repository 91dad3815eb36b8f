"""An asynchronous intake on Starlette and uvicorn that keeps the receiver's promise.

The same path and headers, and the same durability: 201 means that the bytes, their name and a journal line are
synced. It has nothing else of the receiver: no gate, no limits, no repair after a crash, no hosts' tokens.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import hmac
import json
import os
import threading
import time
import uuid
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

#: Gathered before a thread hashes and writes it.
PIECE_BYTES = 1 << 20

_DATA = Path(os.environ["BENCH_DATA"])
_TOKEN = os.environ["BENCH_TOKEN"]
_THREAD_LOCK = threading.Lock()


def _append(fd: int, digest: Any, pieces: list[bytes]) -> None:
    for piece in pieces:
        digest.update(piece)
        view = memoryview(piece)
        while view:
            view = view[os.write(fd, view) :]


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _publish(fd: int, incoming: Path, final: Path, line: dict[str, Any]) -> bool:
    os.fsync(fd)
    if not final.parent.exists():
        final.parent.mkdir(parents=True, exist_ok=True)
        _sync_folder(final.parent.parent)
    try:
        os.link(incoming, final)
    except FileExistsError:
        return False
    _sync_folder(final.parent)
    with _THREAD_LOCK, open(_DATA / "index.jsonl", "ab", buffering=0) as journal:
        fcntl.flock(journal, fcntl.LOCK_EX)
        journal.write(json.dumps(line).encode() + b"\n")
        os.fdatasync(journal.fileno())
    return True


async def put_episode(request: Request) -> JSONResponse:
    """Store one episode."""
    given = request.headers.get("authorization", "").encode()
    if not hmac.compare_digest(given, f"Bearer {_TOKEN}".encode()):
        return JSONResponse({"error": "bad bearer token"}, 401)
    host, episode = request.path_params["host"], request.path_params["episode"]
    incoming = _DATA / "incoming" / uuid.uuid4().hex
    digest, size = hashlib.sha256(), 0
    fd = os.open(incoming, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o640)
    try:
        gathered: list[bytes] = []
        count = 0
        async for piece in request.stream():
            gathered.append(piece)
            count += len(piece)
            if count >= PIECE_BYTES:
                await asyncio.to_thread(_append, fd, digest, gathered)
                gathered, count, size = [], 0, size + count
        size += count
        wanted = request.headers.get("x-content-sha256")

        def finish() -> JSONResponse:
            _append(fd, digest, gathered)
            actual = digest.hexdigest()
            if actual != wanted:
                return JSONResponse({"status": "sha-mismatch", "actual_sha256": actual}, 400)
            line = {"host_id": host, "episode_id": episode, "sha256": actual, "size_bytes": size}
            line["received_at_ns"] = time.time_ns()
            if not _publish(fd, incoming, _DATA / "episodes" / host / episode, line):
                return JSONResponse({"status": "conflict"}, 409)
            return JSONResponse({"status": "stored", "sha256": actual, "size_bytes": size}, 201)

        return await asyncio.to_thread(finish)
    finally:
        os.close(fd)
        incoming.unlink()


async def health(_: Request) -> JSONResponse:
    """Say that it runs."""
    return JSONResponse({"status": "ok"})


app = Starlette(
    routes=[
        Route("/v1/health", health),
        Route("/v1/episodes/{host}/{episode}", put_episode, methods=["PUT"]),
    ]
)
