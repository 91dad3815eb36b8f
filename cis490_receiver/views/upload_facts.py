"""What is left behind of an upload that stored nothing: a line in the log, and a fact for the fleet monitor."""

from __future__ import annotations

import logging

from cis490_receiver import protocol
from cis490_receiver.errors import ReceiverError
from cis490_receiver.logfmt import event
from cis490_receiver.models import Rejection, wall_time
from cis490_receiver.views.errors import status_of
from cis490_receiver.views.wiring import Services

log = logging.getLogger(__name__)


def refused(
    services: Services,
    names: tuple[str, str],
    commit: str | None,
    error: ReceiverError,
    *,
    authenticated: bool,
) -> None:
    """An upload was refused with `error`. `names` are what it gave as host and episode, valid or not, and `commit` as
    the commit."""
    status = status_of(error)
    log.warning(event("refused", host=names[0], id=names[1], status=status, code=error.code, commit=commit))
    _record(services, names, commit, status, error.code, authenticated=authenticated)


def already_present(services: Services, names: tuple[str, str], commit: str | None) -> None:
    """The bytes of an upload were stored already."""
    _record(services, names, commit, 200, "already-present", authenticated=True)


def _record(
    services: Services,
    names: tuple[str, str],
    commit: str | None,
    status: int,
    code: str,
    *,
    authenticated: bool,
) -> None:
    host_id, episode_id = names
    now_ns = services.clock.now_ns()
    services.rejections.record(
        Rejection(
            received_at_wall=wall_time(now_ns),
            received_at_ns=now_ns,
            host_id=host_id if protocol.is_valid_id(host_id) else None,
            episode_id=episode_id if protocol.is_valid_id(episode_id) else None,
            status=status,
            code=code,
            code_commit=commit if commit and protocol.is_commit(commit) else None,
            authenticated=authenticated,
        )
    )
