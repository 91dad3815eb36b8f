"""What is kept of an upload in pieces beside its bytes, as lines of JSON in ASCII: in logs on the local disk, and in
rows of PostgreSQL."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from typing import Any, Final

from cis490_receiver import protocol
from cis490_receiver.models import EpisodeKey, Upload
from cis490_receiver.stamps import Grammar, Stamps
from cis490_receiver.storage.base.partials import Announced, PartialUpload, Verdict

#: How much of a reason is kept.
_REASON_CHARACTERS: Final = 300


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


def announced_of(line: bytes) -> Announced | None:
    """What an upload was made with, by its first line; None when that is none."""
    data = _parse(line)
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


def later(state: PartialUpload, line: bytes) -> PartialUpload | None:
    """`state` as a further line changes it; None when that is none."""
    made = state.announced
    data = _parse(line)
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


def _line(**content: Any) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode("ascii") + b"\n"


def _parse(line: bytes) -> Mapping[str, Any]:
    with contextlib.suppress(ValueError, RecursionError):
        data = json.loads(line.decode("ascii"))
        if isinstance(data, dict):
            return data
    return {}


def _whole(value: object) -> int:
    if type(value) is not int:
        raise TypeError
    return value
