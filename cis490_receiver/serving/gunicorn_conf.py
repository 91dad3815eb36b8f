"""gunicorn's configuration: what `cis490-receiver serve` and etc/gunicorn.conf.py run when they start and reload.

Everything comes from the receiver's own configuration (CIS490_CONFIG, CIS490_*). The names are gunicorn's settings.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import sys
from typing import Any

from cis490_receiver.config import load
from cis490_receiver.errors import ConfigError
from cis490_receiver.serving.address import check_bind
from cis490_receiver.serving.head import MAX_LINE_BYTES
from cis490_receiver.serving.process import connection_limit, let_stop_reach_new_workers, raise_file_limit
from cis490_receiver.serving.worker import Worker

try:
    _settings = load()
except ConfigError as exc:
    print(f"cis490-receiver: {exc.message}", file=sys.stderr)
    raise SystemExit(2) from None

# Each thread would have an allocator of its own, which keeps what the thread once needed (M_ARENA_MAX, mallopt(3)).
with contextlib.suppress(AttributeError, OSError):
    ctypes.CDLL(None).mallopt(-8, 2)

Worker.settings = _settings
let_stop_reach_new_workers()
raise_file_limit()
# What is made beside the episodes is as private as they are: files 0640, folders 0750.
os.umask(0o027)

bind = _settings.bind
worker_class = Worker
workers = _settings.workers
threads = _settings.threads
# A slow upload holds a thread, which is cheap; connections that wait for their client hold none. Beyond this
# many, the one that can be missed most easily gives way to a new one.
worker_connections = connection_limit(_settings.threads)
# As long as the kernel lets it be (net.core.somaxconn).
backlog = 4096
# READY=1 goes to systemd when the application was really loaded, and a bad configuration stops the start.
preload_app = True
# gthread's heartbeat comes from its main loop: this ends a worker that hangs, never a long upload.
timeout = 120
# On SIGTERM, uploads under way are let finish for so long; new connections are refused at once.
graceful_timeout = _settings.graceful_seconds
keepalive = 75
# The one that malformed requests are tried against, wherever another one is installed too.
http_parser = "python"
limit_request_line = MAX_LINE_BYTES
limit_request_fields = 64
limit_request_field_size = 8190
control_socket_disable = True
# No header of a request changes its path or scheme, whoever sends it.
forwarded_allow_ips = ""
secure_scheme_headers: dict[str, str] = {}
forwarder_headers = ""
# For the unix socket alone: its folder decides who may connect (etc/tmpfiles.d: Caddy's group, which needs no
# right to the data and so is not the receiver's own).
umask = 0o000
# The heartbeat files must not be on a disk that may stall.
_MEMORY = "/dev/shm"  # noqa: S108
worker_tmp_dir = _MEMORY if os.access(_MEMORY, os.W_OK) else None
accesslog = None
errorlog = "-"
loglevel = _settings.log_level


def on_starting(server: Any) -> None:
    """An address that cannot be listened on is told in our words. Sockets that were handed over listen already."""
    if "LISTEN_FDS" in os.environ or "GUNICORN_FD" in os.environ:
        return
    try:
        check_bind(bind)
    except ConfigError as exc:
        print(f"cis490-receiver: {exc.message}", file=sys.stderr)
        raise SystemExit(2) from None


def when_ready(server: Any) -> None:
    """What is loaded by now stays: the garbage collector need not look at it again, in any worker."""
    gc.freeze()


def post_worker_init(worker: Any) -> None:
    """A worker that was killed left its uploads behind: the one that takes its place tidies up. For what needs a look
    into an archive, nobody waits."""
    from cis490_receiver.backends import use_backends
    from cis490_receiver.upkeep.recovery import complete_in_background, recover_quietly

    backends = use_backends(_settings)
    recover_quietly(backends.store, backends.index)
    backends = use_backends(_settings)
    complete_in_background(backends.store, backends.index)
