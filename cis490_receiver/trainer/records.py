"""What a mirror goes by: the records of a receiver's episodes, as they were read into its folder."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from cis490_receiver.models import Episode


class Records(Protocol):
    """The records of one receiver, kept in the mirror's folder."""

    def update(self) -> str:
        """Read what is new; gives a mark that is another one whenever what was read is something else.

        Raises:
            MirrorFailed: the receiver's answer cannot be used.
            TransportFailed: it cannot be reached.
        """
        ...

    def lines(self) -> Iterator[tuple[Episode, bytes]]:
        """Each record that was read, with its line of the index, in the order of arrival. Of several records of one
        episode the last one counts."""
        ...


def lines_of(path: Path) -> Iterator[tuple[Episode, bytes]]:
    """The records in a file of index lines, which may be absent; what is no record, or is torn, is passed over."""
    try:
        stream = open(path, "rb")  # noqa: SIM115 - closed by the with below
    except FileNotFoundError:
        return
    with stream:
        for line in stream:
            # Ids are checked by the record itself.
            with contextlib.suppress(ValueError):
                if line.endswith(b"\n"):
                    yield Episode.from_line(line), line
