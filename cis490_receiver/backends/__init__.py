"""Open the places that a configuration names: here alone it is picked what they are made of."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from cis490_receiver.backends.everything import Backends
from cis490_receiver.backends.local import open_local, use_local
from cis490_receiver.config import Settings
from cis490_receiver.errors import ConfigError

__all__ = ["Backends", "needs_extra", "open_backends", "use_backends"]


def open_backends(settings: Settings) -> Backends:
    """What a receiver works with, made when absent: on the local disk, or where a cluster keeps it.

    Raises:
        ConfigError: something cannot be made, or not be written, or does not keep what a receiver promises.
    """
    if not settings.is_cluster:
        return open_local(settings)
    with needs_extra():
        from cis490_receiver.backends.cluster import open_cluster

        return open_cluster(settings)


def use_backends(settings: Settings) -> Backends:
    """The same as they are, nothing made: for commands.

    Raises:
        ConfigError: health_dir is a folder for other things, or the cluster cannot be used.
    """
    if not settings.is_cluster:
        return use_local(settings)
    with needs_extra():
        from cis490_receiver.backends.cluster import use_cluster

        return use_cluster(settings)


@contextlib.contextmanager
def needs_extra() -> Iterator[None]:
    """Tell what to install where an import of the block needs it.

    Raises:
        ConfigError: the extra `cluster` is not there.
    """
    try:
        yield
    except ModuleNotFoundError as exc:
        if exc.name is None or exc.name.startswith("cis490_receiver"):
            raise
        raise ConfigError(
            f"{exc.name} is not installed; run: pip install 'cis490-receiver[cluster]'"
        ) from None
