"""What is not to be trained on: one line of withdrawn.jsonl.

The index says what was acknowledged, for ever; withdrawals say what is not to be used. The last line about an episode
counts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from cis490_receiver import i_json
from cis490_receiver.models import EpisodeKey

#: The longest reason, in characters, so that a line stays one that readers give whole.
WHY_LIMIT = 1000


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """An episode was withdrawn, or that was undone.

    Attributes:
        at_wall, at_ns: when; UTC, and nanoseconds since the epoch.
        withdrawn: False undoes it.
        why: the reason, a line of text.
        by: who says so: a person's login, or ``inspection``.
    """

    at_wall: str
    at_ns: int
    host_id: str
    episode_id: str
    withdrawn: bool
    why: str
    by: str

    @property
    def key(self) -> EpisodeKey:
        """The episode's name."""
        return EpisodeKey(self.host_id, self.episode_id)

    def to_line(self) -> bytes:
        """The line, newline included."""
        return json.dumps(asdict(self), separators=(",", ":")).encode("ascii") + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Withdrawal:
        """Read a line. Unknown keys are ignored, so that a later version may add some.

        Raises:
            ValueError: it is none.
        """
        data = i_json.loads(line)
        if not isinstance(data, dict):
            raise ValueError("not a withdrawal: not a JSON object")
        if not isinstance(data.get("withdrawn"), bool) or type(data.get("at_ns")) is not int:
            raise ValueError("not a withdrawal: bad withdrawn or at_ns")
        found = cls(
            at_wall=_text(data, "at_wall"),
            at_ns=data["at_ns"],
            host_id=_text(data, "host_id"),
            episode_id=_text(data, "episode_id"),
            withdrawn=data["withdrawn"],
            why=_text(data, "why"),
            by=_text(data, "by"),
        )
        EpisodeKey(found.host_id, found.episode_id)
        if not 0 <= found.at_ns < 1 << 63:
            raise ValueError("not a withdrawal: at_ns is out of range")
        return found


def _text(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    if not isinstance(value, str):
        raise ValueError(f"not a withdrawal: bad {name}")
    return value
