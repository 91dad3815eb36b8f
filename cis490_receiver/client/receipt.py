"""What the answer to a PUT means for the file on the host."""

from __future__ import annotations

import enum
from typing import Final

from cis490_receiver.http_client.reply import Reply


class Verdict(enum.Enum):
    """What happens to the file, and to those behind it."""

    #: The receiver has it, on stable storage: it may go.
    ACKNOWLEDGED = "acknowledged"
    #: The receiver will never take it as it is: a person has to look.
    REFUSED = "refused"
    #: It stays and is tried again; the next file may do better.
    LATER = "later"
    #: It stays, and so does every other: the receiver, or the way to it, is not in order.
    WAIT = "wait"


#: Statuses with which the receiver refuses for good.
FINAL: Final = frozenset({400, 409, 412, 422})
#: Codes under these statuses that speak of this one try, or that come from a proxy.
AGAIN: Final = frozenset(
    {"bad-request", "body-malformed", "body-truncated", "offset-mismatch", "proxy-refused", "sha-mismatch"}
)
#: Statuses that speak of this one request and say nothing of the next.
OF_ONE_FILE: Final = frozenset({400, 404, 405, 408, 409, 410, 411, 412, 413, 414, 422, 423, 431})


def judge(reply: Reply, sha256: str) -> Verdict:
    """Read the answer to a PUT of a file whose digest is `sha256`.

    A success without a receipt for these very bytes is none: proxies answer 200 by themselves. A refusal is final only
    when the receiver itself says so, in JSON and with its code.
    """
    if reply.status in (200, 201):
        named = reply.says("status") in ("stored", "already-present")
        return Verdict.ACKNOWLEDGED if named and reply.says("sha256") == sha256 else Verdict.WAIT
    code = reply.says("code")
    if reply.status in FINAL and code and code not in AGAIN:
        return Verdict.REFUSED
    return Verdict.LATER if reply.status in OF_ONE_FILE else Verdict.WAIT
