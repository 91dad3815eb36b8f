"""That everything a receiver keeps is on its way to another place, or went there.

Whoever would use a place asks for this first: there is never more than one place where episodes are acknowledged.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Final, Literal, Self, get_args

from cis490_receiver import i_json

#: Filling: everything of the other place comes here. Arrived: it did, and the place is in use. Leaving: it is about to
#: go to the other place, for good. Left: it is there.
State = Literal["filling", "arrived", "leaving", "left"]
_STATES: Final[tuple[str, ...]] = get_args(State)


@dataclass(frozen=True, slots=True)
class Moving:
    """Where everything goes to, or comes from.

    Attributes:
        other: what the place is called that everything comes from or goes to.
        since_wall: since when; UTC.
    """

    state: State
    other: str
    since_wall: str

    @property
    def folder(self) -> str:
        """The folder that `other` is, without its machine."""
        return self.other.partition(":")[2]

    @property
    def is_closed(self) -> bool:
        """Whether the place takes nothing."""
        return self.state != "arrived"

    def to_json(self) -> str:
        """As text, in ASCII."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ValueError: it is something else.
        """
        data = i_json.loads(text)
        if not isinstance(data, dict) or data.get("state") not in _STATES:
            raise ValueError("not a note of a move")
        other, since = data.get("other"), data.get("since_wall")
        if not isinstance(other, str) or not isinstance(since, str):
            raise ValueError("not a note of a move")
        return cls(data["state"], other, since)

    def told(self, option: str) -> str:
        """Why a place is closed, and what to do. `option` is how `migrate` was called, such as ``--from /data``."""
        run = f"cis490-receiver migrate {option}"
        if self.state == "filling":
            return f"which is being filled with what is kept in {self.other}, and is not complete; run: {run} --finish"
        if self.state == "leaving":
            return (
                f"which is about to be moved to {self.other} since {self.since_wall}; run: {run} --finish, or to go on "
                f"here: {run} --give-up"
            )
        return f"which was moved to {self.other} on {self.since_wall}; run the receiver there"
