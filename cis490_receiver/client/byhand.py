"""Files that a person names: shipped from wherever they lie, or only looked at."""

from __future__ import annotations

import os
import pwd
import stat
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from cis490_receiver import i_json, progress
from cis490_receiver.client import inspection
from cis490_receiver.client.episode import RENAME, url_path
from cis490_receiver.client.inspection import Findings
from cis490_receiver.client.pieces import Forgetful, Pieces
from cis490_receiver.client.receipt import Verdict, judge
from cis490_receiver.client.transport import Transport, receiver_failed
from cis490_receiver.errors import BadEpisodeName, ReceiverError
from cis490_receiver.http_client import failures
from cis490_receiver.http_client.reply import Reply
from cis490_receiver.page import say, size
from cis490_receiver.protocol import HEADER_SHA256

ACKNOWLEDGED: Final = Verdict.ACKNOWLEDGED.value
GOOD: Final = "good"
#: Something is wrong with the file; nothing was sent.
BAD_FILE: Final = "bad-file"
#: The receiver was not reached, or did not take it this time.
NOT_SHIPPED: Final = "not-shipped"
_ATTEMPTS: Final = 5
_FAILED = (ReceiverError, OSError)


def check(path: Path) -> dict[str, Any]:
    """Look at the file `path` as the shipper does with ``check = "full"``, and say what there is in it."""
    try:
        found = _look(path, "full")
    except _FAILED as exc:
        return {"file": i_json.readable(str(path)), "verdict": BAD_FILE} | _trouble(exc)
    return {"file": i_json.readable(str(path)), "verdict": GOOD, **asdict(found)}


def ship(transport: Transport, path: Path) -> dict[str, Any]:
    """Ship the file `path`, trying again while the receiver says "not now"."""
    result: dict[str, Any] = {
        "file": i_json.readable(str(path)),
        "verdict": BAD_FILE,
        "status": None,
        "answer": None,
        "notes": [],
    }
    try:
        where = url_path(path, transport.host.host_id)
        found = _look(path, transport.host.check)
        result["notes"] = list(found.notes)
        headers = {HEADER_SHA256: found.sha256} | found.headers
        pieces, memory = Pieces(transport), Forgetful()
        reply = transport.persist(lambda: _put(pieces, path, where, headers, memory), attempts=_ATTEMPTS)
    except failures.TransportFailed as exc:
        return result | {"verdict": NOT_SHIPPED} | _trouble(exc)
    except _FAILED as exc:
        return result | _trouble(exc)
    return result | _judged(reply, found)


def _judged(reply: Reply, found: Findings) -> dict[str, Any]:
    verdict = judge(reply, found.sha256)
    answer = {"status": reply.status, "answer": reply.json}
    if verdict in (Verdict.ACKNOWLEDGED, Verdict.REFUSED):
        return answer | {"verdict": verdict.value}
    failure = _trouble(receiver_failed(reply)) if verdict is Verdict.WAIT or not reply.json else {}
    return answer | {"verdict": NOT_SHIPPED} | failure


def _look(path: Path, how: str) -> Findings:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError("this is not an ordinary file")
    with progress.of_bytes(f"checking {path.name}", status.st_size) as seen:
        return inspection.CHECKS[how](path, seen)


def _put(pieces: Pieces, path: Path, where: str, headers: dict[str, str], memory: Forgetful) -> Reply:
    with progress.of_bytes(path.name, path.stat().st_size) as sent:
        return pieces.put_file(path, where, headers, memory=memory, sent=sent)


def _trouble(exc: Exception) -> dict[str, str]:
    """What went wrong, and what to do."""
    if isinstance(exc, FileNotFoundError):
        return {"code": "missing", "error": "there is no such file", "remedy": "look at its name and folder"}
    if isinstance(exc, PermissionError):
        user = pwd.getpwuid(os.geteuid()).pw_name
        advice = f"put it where {user}, whom this program runs as, may read it"
        return {"code": "unreadable", "error": f"{exc.strerror}: {exc.filename}", "remedy": advice}
    if isinstance(exc, OSError):
        return {
            "code": "unreadable",
            "error": exc.strerror or str(exc),
            "remedy": "name a file that can be read",
        }
    remedy = getattr(exc, "remedy", "")
    if isinstance(exc, BadEpisodeName):
        remedy = RENAME
    if isinstance(exc, failures.FileChanged):
        remedy = "ship it again once nothing writes to it"
    told = {"code": getattr(exc, "code", "error"), "error": str(exc)}
    return told | ({"remedy": remedy} if remedy else {})


def show(result: dict[str, Any]) -> None:
    """Print what `ship` or `check` gave, for a person."""
    answer = result.get("answer") or {}
    texts = [result.get("error"), answer.get("error") or answer.get("status"), _contents(result)]
    say(f"{result['file']}  " + "; ".join(_sentences(texts)), label=f"{result['verdict']:<12} ")
    for note in result.get("notes", ()):
        say(note, label=f"{'':<12} note: ")
    for text in _sentences([answer.get("remediation"), result.get("remedy")]):
        say(text, label=f"{'':<12} -> ")


def _contents(result: dict[str, Any]) -> str:
    if result["verdict"] != GOOD:
        return ""
    stamped = ", ".join(f"{name}: {value}" for name, value in result["headers"].items())
    content = size(result["content_bytes"])
    return f"{result['members']} members, {content}, SHA-256 {result['sha256']}; {stamped or 'no headers'}"


def _sentences(texts: list[Any]) -> list[str]:
    return list(dict.fromkeys(text for text in texts if isinstance(text, str) and text))
