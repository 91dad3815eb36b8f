"""What was refused for its commit is asked about again: a commit that was pushed a moment ago is not known yet."""

from __future__ import annotations

import logging
from typing import Any, Final

from cis490_receiver.client.spool import Spool
from cis490_receiver.client.transport import Transport
from cis490_receiver.errors import CommitRejected
from cis490_receiver.http_client import failures
from cis490_receiver.logfmt import event
from cis490_receiver.protocol import HEADER_CODE_COMMIT

log = logging.getLogger(__name__)

WITHIN_SECONDS: Final = 24 * 3600.0


def reconsider(spool: Spool, transport: Transport, now_ns: int) -> int:
    """Take back what was refused for its commit in the last day, if the receiver knows the commit by now; gives how
    many. Each commit is asked about once, which costs no upload."""
    count = 0
    answers: dict[str, bool] = {}
    for path, told in spool.refusals():
        headers = _question(told, now_ns)
        if headers is None:
            continue
        commit = headers.get(HEADER_CODE_COMMIT, "")
        try:
            if commit not in answers:
                answer = transport.ping(headers).json or {}
                answers[commit] = answer.get("would_accept") is True
            if answers[commit] and spool.take_back(path):
                log.info(event("reconsidered", file=path.name))
                count += 1
        except (failures.TransportFailed, OSError):
            break
    return count


def _question(told: dict[str, Any], now_ns: int) -> dict[str, str] | None:
    """The headers to ask with, where what is told of a refusal is a reason to ask again."""
    headers, answer, at = told.get("headers"), told.get("answer"), told.get("refused_at_ns")
    if not isinstance(headers, dict) or not isinstance(answer, dict) or not isinstance(at, int):
        return None
    if answer.get("code") != CommitRejected.code or (now_ns - at) / 1e9 > WITHIN_SECONDS:
        return None
    return {str(name): str(value) for name, value in headers.items()}
