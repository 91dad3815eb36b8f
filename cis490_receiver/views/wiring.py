"""What the views need, put together once by `create_app` and handed to each blueprint."""

from __future__ import annotations

from dataclasses import dataclass

from werkzeug.wrappers import Request

from cis490_receiver.clock import Clock
from cis490_receiver.config import Settings
from cis490_receiver.index.base import EpisodeIndex, RejectionLog, ReportStore
from cis490_receiver.policy.auth import Authenticator, Principal
from cis490_receiver.policy.gate import VersionGate
from cis490_receiver.state.base.alerts import AlertLog
from cis490_receiver.state.base.marks import Heartbeat
from cis490_receiver.state.base.notes import Mutes
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
    rejections: RejectionLog
    #: None when no folder for reports is configured.
    reports: ReportStore | None
    #: None when every commit is taken.
    gate: VersionGate | None
    alerts: AlertLog
    mutes: Mutes
    heartbeat: Heartbeat
    uploads: UploadMetrics


def authenticate(services: Services, request: Request) -> Principal:
    """Who sent `request`.

    Raises:
        MissingToken, BadToken: nobody who may come in.
    """
    return services.authenticator.authenticate(request.headers, request.remote_addr or "")
