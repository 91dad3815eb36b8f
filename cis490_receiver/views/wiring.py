"""What the views need, put together once by `create_app` and handed to each blueprint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from werkzeug.wrappers import Request

from cis490_receiver.clock import Clock
from cis490_receiver.config import Settings
from cis490_receiver.index.base import EpisodeIndex, RejectionLog, ReportStore
from cis490_receiver.index.base.releases import Releases
from cis490_receiver.monitor.watch import Watch
from cis490_receiver.policy.auth import Authenticator, Principal
from cis490_receiver.policy.gate import VersionGate
from cis490_receiver.policy.quota import check_reserve
from cis490_receiver.policy.sessions import Session, Sessions
from cis490_receiver.policy.slowdown import Slowdown
from cis490_receiver.resumable import Resumables
from cis490_receiver.state.base.alerts import AlertLog
from cis490_receiver.state.base.marks import Heartbeat
from cis490_receiver.state.base.notes import Mutes, Retirements
from cis490_receiver.state.base.signing_in import SignInCodes
from cis490_receiver.storage.base import EpisodeStore
from cis490_receiver.views.upload_metrics import UploadMetrics


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of one receiver."""

    settings: Settings
    clock: Clock
    authenticator: Authenticator
    store: EpisodeStore
    index: EpisodeIndex
    releases: Releases
    rejections: RejectionLog
    #: None when no folder for reports is configured.
    reports: ReportStore | None
    #: None when every commit is taken.
    gate: VersionGate | None
    alerts: AlertLog
    mutes: Mutes
    heartbeat: Heartbeat
    retirements: Retirements
    watch: Watch
    sessions: Sessions
    codes: SignInCodes
    slowdown: Slowdown
    uploads: UploadMetrics
    resumables: Resumables

    def free_bytes(self) -> int | None:
        """How much more could be stored beside what is still to come of uploads that were begun."""
        free = self.store.free_bytes()
        return None if free is None else free - self.resumables.partials.announced_bytes()

    def check_space(self) -> None:
        """Raises:
        StorageFull: less is left than the reserve.
        StorageFailed: it cannot be told.
        """
        check_reserve(self.free_bytes(), 0, self.settings.disk_reserve_bytes)


SESSION_COOKIE: Final = "cis490_session"


def session_of(services: Services, request: Request) -> Session | None:
    """The browser session that `request` belongs to."""
    cookie = request.cookies.get(SESSION_COOKIE)
    return services.sessions.read(cookie, services.clock.now_ns()) if cookie else None


def authenticate(services: Services, request: Request) -> Principal:
    """Who sent `request`. A browser's session will do where nothing is changed.

    Raises:
        MissingToken, BadToken: nobody who may come in.
    """
    if "Authorization" not in request.headers and request.method in ("GET", "HEAD"):
        session = session_of(services, request)
        if session is not None:
            return session.principal
    return services.authenticator.authenticate(request.headers, request.remote_addr or "")
