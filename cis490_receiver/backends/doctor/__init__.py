"""What a cluster's database and object store keep of what is promised, found out by trying."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: In order; weaker: the receiver makes up for it; unknown: it could not be found out; refused: no receiver should, or
#: does, run on this.
Verdict = Literal["ok", "weaker", "unknown", "refused"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found.

    Attributes:
        name: what was looked at, in some words.
        says: what is so, and what that means.
        remedy: what to do; empty where there is nothing to be done.
    """

    name: str
    verdict: Verdict
    says: str
    remedy: str = ""
