"""What can go wrong for somebody who trains; each message ends with what to do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from cis490_receiver.errors import ReceiverError
from cis490_receiver.http_client.failures import TransportFailed


class DatasetFailed(ReceiverError):
    """The source cannot be read: no receiver or mirror is there, or it does not answer as one."""

    code = "dataset-failed"


class EpisodeFailed(ReceiverError):
    """One episode cannot be read."""

    code = "episode-failed"


class EpisodeMissing(EpisodeFailed):
    """The episode is in the index, and its bytes are not there."""

    code = "episode-missing"


class DigestMismatch(EpisodeFailed):
    """The bytes that came are not those of the index line. What was read of them so far is worth nothing."""

    code = "digest-mismatch"


class BadEpisode(EpisodeFailed):
    """The bytes are those that were shipped, and no archive that can be read."""

    code = "bad-episode"


class NoSuchMember(EpisodeFailed, KeyError):
    """The episode has no file of that name."""

    code = "no-such-member"

    def __str__(self) -> str:
        return self.message


class ExtraMissing(ReceiverError, ImportError):
    """A library that this needs, and nothing else here does, is not installed."""

    code = "extra-missing"

    def __init__(self, what: str, library: str, extra: str = "") -> None:
        package = f"'cis490-receiver[{extra}]'" if extra else library
        super().__init__(f"{what} needs {library}: pip install {package}")


@contextlib.contextmanager
def told(what: str) -> Iterator[None]:
    """Let a failure on the way to the receiver be one sentence that ends with what to do.

    Raises:
        DatasetFailed: instead of `TransportFailed`, which is its cause.
    """
    try:
        yield
    except TransportFailed as exc:
        raise DatasetFailed(f"{what}: {exc.message}; {exc.remedy}") from exc
