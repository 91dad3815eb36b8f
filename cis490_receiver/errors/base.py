"""What every expected failure has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class ReceiverError(Exception):
    """Base of every expected failure.

    Attributes:
        code: stable identifier of the kind of failure, sent to clients.
        message: one sentence for the client.
        what_to_do: what its reader can do about it, one sentence for the documents.
        details: further members of the JSON answer.
    """

    code: ClassVar[str] = "error"
    default_message: ClassVar[str] = "request refused"
    what_to_do: ClassVar[str] = ""

    def __init__(self, message: str | None = None, /, **details: Any) -> None:
        self.message = message or self.default_message
        self.details: Mapping[str, Any] = details
        super().__init__(self.message)

    @property
    def reason(self) -> str:
        """Why, for the log: what the operating system said where it was asked, else what the cause says or we do."""
        cause = self.__cause__
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        return str(cause or self.message)


class ConfigError(ReceiverError):
    """The configuration cannot be used; the message names the key, its source and the remedy."""

    code = "bad-configuration"
    #: Whether it may be over by itself, as when a database is not up yet, so that another try makes sense.
    may_pass = False
