"""``incoming/<upload id>~upload``, later ``receipts/<upload id>~upload``: what is known of an upload in pieces.

The first line says what it was made with. Each further one says how many bytes were on stable storage before the line
was, or how it ended, and when. The last whole line holds; one that a crash tore is cut out by the next writer.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from cis490_receiver import protocol
from cis490_receiver.files.lines import LINE_LIMIT, end_of_lines
from cis490_receiver.models import EpisodeKey, Upload
from cis490_receiver.stamps import Grammar, Stamps
from cis490_receiver.storage.base.partials import Announced, PartialUpload, Verdict

SUFFIX: Final = "~upload"
#: The folder, below the data folder, of the logs that have a verdict.
RECEIPTS: Final = "receipts"
_NAME: Final = re.compile(r"([0-9a-f]{32})~upload")
#: More than any line but the first has, and a torn one behind it.
_END_BYTES: Final = 8192
#: How much of a reason is kept.
_REASON_CHARACTERS: Final = 300


def name_of(upload_id: str) -> str:
    """The file's name."""
    return upload_id + SUFFIX


def id_of(name: str) -> str | None:
    """The upload whose file `name` is; None when it is another file."""
    match = _NAME.fullmatch(name)
    return match[1] if match else None


def first_line(announced: Announced) -> bytes:
    """The line that a new upload begins with."""
    return _line(
        host_id=announced.upload.key.host_id,
        episode_id=announced.upload.key.episode_id,
        sha256=announced.upload.sha256,
        size_bytes=announced.upload.size_bytes,
        stamps=vars(announced.upload.stamps),
        owner=announced.owner,
        metadata=announced.metadata,
        at_ns=announced.at_ns,
    )


def offset_line(offset: int, now_ns: int) -> bytes:
    """The line that promises so many bytes."""
    return _line(offset=offset, at_ns=now_ns)


def verdict_line(verdict: Verdict) -> bytes:
    """The line that ends an upload."""
    reason = None if verdict.reason is None else verdict.reason[:_REASON_CHARACTERS]
    return _line(status=verdict.status, sha256=verdict.sha256, reason=reason, at_ns=verdict.at_ns)


def read(path: Path) -> PartialUpload | None:
    """The upload that `path` tells of; None when there is no such file, or no crash left a whole first line in it.

    Raises:
        OSError: it cannot be read.
    """
    upload_id = id_of(path.name)
    if upload_id is None:
        return None
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return read_open(fd, upload_id)
    finally:
        os.close(fd)


def read_open(fd: int, upload_id: str) -> PartialUpload | None:
    """The same of an open file."""
    beginning, newline, _ = os.pread(fd, LINE_LIMIT, 0).partition(b"\n")
    announced = _announced(_parse(beginning)) if newline else None
    if announced is None:
        return None
    end = end_of_lines(fd)
    start = max(len(beginning) + 1, end - _END_BYTES)
    state = PartialUpload(upload_id, announced, 0, announced.at_ns, None)
    for line in reversed(os.pread(fd, end - start, start).splitlines()):
        later = _later(state, _parse(line))
        if later is not None:
            return later
    return state


def _line(**content: Any) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode("ascii") + b"\n"


def _parse(line: bytes) -> Mapping[str, Any]:
    with contextlib.suppress(ValueError, RecursionError):
        data = json.loads(line.decode("ascii"))
        if isinstance(data, dict):
            return data
    return {}


def _announced(data: Mapping[str, Any]) -> Announced | None:
    try:
        size_bytes = _whole(data["size_bytes"])
        if not protocol.is_sha256(data["sha256"]) or not 0 <= size_bytes <= protocol.MAX_SIZE_BYTES:
            return None
        upload = Upload(
            EpisodeKey(data["host_id"], data["episode_id"]),
            data["sha256"],
            Stamps.read(data["stamps"], Grammar.of_json),
            size_bytes,
        )
        return Announced(upload, str(data["owner"]), str(data["metadata"]), _whole(data["at_ns"]))
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _later(state: PartialUpload, data: Mapping[str, Any]) -> PartialUpload | None:
    """`state` as the line `data` changes it; None when it is no such line."""
    made = state.announced
    try:
        at_ns = _whole(data["at_ns"])
        if "status" in data:
            verdict = Verdict(str(data["status"]), at_ns, data["sha256"], data["reason"])
            return PartialUpload(state.upload_id, made, 0, at_ns, verdict)
        offset = _whole(data["offset"])
    except (KeyError, TypeError):
        return None
    return (
        PartialUpload(state.upload_id, made, offset, at_ns, None) if 0 <= offset <= made.size_bytes else None
    )


def _whole(value: object) -> int:
    if type(value) is not int:
        raise TypeError
    return value
