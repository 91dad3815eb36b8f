"""Everything that a receiver keeps, whatever it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cis490_receiver.clock import Clock
from cis490_receiver.index.base import EpisodeIndex, RejectionLog, ReportStore, WithdrawalLog
from cis490_receiver.index.base.releases import Releases
from cis490_receiver.state.base.alerts import AlertLog, Outbox
from cis490_receiver.state.base.gate_list import GateList
from cis490_receiver.state.base.inspections import Inspections
from cis490_receiver.state.base.marks import Heartbeat, Memo
from cis490_receiver.state.base.notes import Mutes, Retirements
from cis490_receiver.state.base.place import Place
from cis490_receiver.state.base.signing_in import SessionKey, SignInCodes
from cis490_receiver.state.base.tokens import TokenList
from cis490_receiver.storage.base import EpisodeStore, Inventory
from cis490_receiver.storage.base.partials import Partials

if TYPE_CHECKING:
    from cis490_receiver.postgres.pool import Database
    from cis490_receiver.storage.base.placements import Noted, Placements
    from cis490_receiver.storage.object_client import ObjectClient


@dataclass(frozen=True, slots=True)
class Cluster:
    """What the receivers of many machines share, as it is."""

    database: Database
    client: ObjectClient
    placements: Placements
    #: What is noted of objects that something was to be made of.
    pieces: Noted
    tables: Noted


@dataclass(frozen=True, slots=True, kw_only=True)
class Backends:
    """All that one receiver keeps. What each part promises stands at its class."""

    place: Place
    #: What everything goes by, on all machines.
    clock: Clock
    store: EpisodeStore
    #: Uploads in pieces.
    partials: Partials
    #: The same episodes, to be looked at without being read.
    inventory: Inventory
    index: EpisodeIndex
    rejections: RejectionLog
    #: None when no folder for reports is configured.
    reports: ReportStore | None
    mutes: Mutes
    retirements: Retirements
    heartbeat: Heartbeat
    #: What the fleet monitor found wrong with episodes.
    faults: Memo
    #: Where verify stopped.
    verify_place: Memo
    #: What inspection found, and where it is.
    inspections: Inspections
    #: Where the verification of a release stopped.
    release_verify_place: Memo
    alerts: AlertLog
    outbox: Outbox
    #: The version gate's.
    gate_list: GateList
    #: None when no file for tokens is configured.
    tokens: TokenList | None
    #: What is not to be trained on.
    withdrawals: WithdrawalLog
    #: Frozen tables of contents.
    releases: Releases
    #: What browsers' sessions are signed with, and what signs a browser in once.
    session_key: SessionKey
    codes: SignInCodes
    #: None where everything is on the local disk.
    cluster: Cluster | None = None
