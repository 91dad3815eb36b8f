"""What the server's processes need before there is a worker."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from typing import Final

#: Connections a worker has at most, those that wait for their client among them.
MAX_CONNECTIONS: Final = 4096
#: File descriptors that a request has open at most, beside its connection's, and those of the process.
_FILES_A_THREAD: Final = 4
_FILES: Final = 64
#: More open files than that are never needed, whatever the hard limit is.
_MAX_FILES: Final = 65536


def let_stop_reach_new_workers() -> None:
    """See to it that a worker that is told to stop before it listens for that stops.

    A forked worker has the master's signal handlers until it installs its own. A SIGTERM in between lands
    in the master's handler, in the wrong process, and is lost: the master then waits for the worker for
    the whole graceful timeout. Here the signal's default action, which ends the worker, is in force from its
    first moment on.
    """
    stops = {signal.SIGTERM, signal.SIGQUIT, signal.SIGINT}

    def block() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, stops)

    def unblock() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, stops)

    def reset_and_unblock() -> None:
        for number in stops:
            signal.signal(number, signal.SIG_DFL)
        unblock()

    os.register_at_fork(before=block, after_in_parent=unblock, after_in_child=reset_and_unblock)


def raise_file_limit() -> None:
    """Raise the soft limit on open files to the hard one (RLIMIT_NOFILE, getrlimit(2)): each connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, _MAX_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        # A system call filter may forbid it.
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def connection_limit(threads: int) -> int:
    """How many connections a worker with so many threads may have: as many as it may open files for, beside those
    that its threads need, and at least some more than it has threads."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = _MAX_FILES if soft == resource.RLIM_INFINITY else soft
    return max(threads + 64, min(MAX_CONNECTIONS, files - threads * _FILES_A_THREAD - _FILES))
