"""The one name under which the records' callers meet what a disk refuses."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from cis490_receiver.errors import StorageFailed


@contextlib.contextmanager
def storage_failures() -> Iterator[None]:
    """Raises:
    StorageFailed: in place of an OSError in this block, which stays its cause.
    """
    try:
        yield
    except OSError as exc:
        raise StorageFailed from exc
