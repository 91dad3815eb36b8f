"""What signing in to the pages needs to keep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class SessionKey(Protocol):
    """What the sessions of browsers are signed with."""

    def load(self) -> bytes:
        """The key, at least 32 bytes, made when there is none; whoever asks gets the same one. Where it can be neither
        read nor made, it is one for this process and its children, and the log says so."""
        ...


@dataclass(frozen=True, slots=True)
class Code:
    """Something that signs a browser in once; digests are SHA-256, as hex digits."""

    sha256: str
    #: The token that it signs in by, which must still have this digest.
    token: str
    token_sha256: str
    #: When it is good no more, in nanoseconds since the epoch.
    expires_ns: int


class SignInCodes(Protocol):
    """Codes that sign a browser in once. Their digests are kept, never they themselves."""

    def make(self, token: str, token_sha256: str, now_ns: int) -> str:
        """A new code, good for 15 minutes, once it is on stable storage.

        Raises:
            StorageFailed: it could not be kept.
        """
        ...

    def find(self, text: str, now_ns: int) -> Code | None:
        """The code `text`, which stays good; None when there is none."""
        ...

    def take(self, text: str, now_ns: int) -> Code | None:
        """The code `text`, which is good no more; None when it was not. Of all who ask at once, one gets it, whatever
        crashes when.

        Raises:
            StorageFailed: it could not be taken back, and stays good.
        """
        ...
