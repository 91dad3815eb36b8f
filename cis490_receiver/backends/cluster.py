"""A receiver that is one of many: episodes in an object store, all else in PostgreSQL. Its own machine keeps nothing
but a copy of the index's lines, which is made anew when it is gone."""

from __future__ import annotations

import logging

from cis490_receiver.backends.everything import Backends, Cluster
from cis490_receiver.config import Settings
from cis490_receiver.errors import ConfigError, StorageFailed
from cis490_receiver.index.postgres.episodes import PostgresIndex
from cis490_receiver.index.postgres.rejections import PostgresRejections
from cis490_receiver.index.postgres.releases import PostgresReleases
from cis490_receiver.index.postgres.replica import FOLDER as REPLICA_FOLDER
from cis490_receiver.index.postgres.reports import PostgresReports
from cis490_receiver.index.postgres.withdrawals import PostgresWithdrawals
from cis490_receiver.logfmt import event
from cis490_receiver.postgres.pool import Database
from cis490_receiver.state.postgres.alerts import PostgresAlerts
from cis490_receiver.state.postgres.clock import DatabaseClock
from cis490_receiver.state.postgres.gate_list import PostgresGateList
from cis490_receiver.state.postgres.inspections import PostgresInspections
from cis490_receiver.state.postgres.marks import PostgresHeartbeat, PostgresMemo
from cis490_receiver.state.postgres.notes import PostgresMutes, PostgresRetirements
from cis490_receiver.state.postgres.outbox import PostgresOutbox
from cis490_receiver.state.postgres.place import ClusterPlace
from cis490_receiver.state.postgres.signing_in import PostgresCodes, PostgresSessionKey
from cis490_receiver.state.postgres.tokens import PostgresTokens
from cis490_receiver.storage.lifecycle import harmful_rules
from cis490_receiver.storage.object_blobs import ObjectBlobs
from cis490_receiver.storage.object_client import ObjectClient, ObjectsConfig
from cis490_receiver.storage.object_credentials import read_credentials
from cis490_receiver.storage.objects import ObjectStore
from cis490_receiver.storage.postgres.cluster_partials import ClusterPartials
from cis490_receiver.storage.postgres.inventory import ClusterInventory
from cis490_receiver.storage.postgres.placements import PostgresPlacements
from cis490_receiver.storage.signed_requests import SignedRequests

log = logging.getLogger(__name__)

#: How long each step of the question for the bucket's rules may take at a start.
_RULES_SECONDS = 3.0
#: What a rejection that is noted may cost an answer, in connections and seconds.
_REJECTION_CONNECTIONS = 2
_REJECTION_SECONDS = 0.2


def open_cluster(settings: Settings) -> Backends:
    """What a receiver works with. The object store may be away: all else goes on then.

    Raises:
        ConfigError: the database cannot be used, or would lose commits, or data_dir cannot be written, or everything is
            on its way to another place or from there, or the bucket has rules that would eat episodes.
    """
    ClusterPlace(settings.data_dir, _url(settings)).check_used()
    _refuse_rules_that_eat(settings)
    try:
        (settings.data_dir / REPLICA_FOLDER).mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise ConfigError(
            f"data_dir is {settings.data_dir}, which cannot be written ({exc.strerror}); a receiver of a cluster keeps "
            "a copy of the index there: give it to the user that runs the receiver, or name another folder"
        ) from exc
    return use_cluster(settings)


def _refuse_rules_that_eat(settings: Settings) -> None:
    config = objects_config(settings)
    requests = SignedRequests(config, seconds=_RULES_SECONDS)
    try:
        rules = harmful_rules(requests, config.prefix, settings.longest_upload_seconds)
    except StorageFailed as exc:
        log.info(event("lifecycle-unknown", bucket=config.bucket, reason=exc.reason))
        return
    if rules:
        raise ConfigError(
            f"objects_url: in the bucket {config.bucket} {'; '.join(rules)}, so that acknowledged episodes would be "
            "lost; delete the rule, or name a bucket without any"
        )


def use_cluster(settings: Settings) -> Backends:
    """The same as it is, nothing asked and nothing made: for commands."""
    url = _url(settings)
    database, client = Database(url), ObjectClient(objects_config(settings))
    placements = PostgresPlacements(database)
    index = PostgresIndex(settings.data_dir, database)
    partials = ClusterPartials(database, client, placements)
    releases = PostgresReleases(database, ObjectBlobs(client), index)
    guarded = settings.bearer_token is not None or settings.tokens_file is not None
    return Backends(
        place=ClusterPlace(settings.data_dir, url),
        clock=DatabaseClock(database),
        store=ObjectStore(client, placements),
        partials=partials,
        inventory=ClusterInventory(database, client),
        index=index,
        rejections=PostgresRejections(
            Database(url, connections=_REJECTION_CONNECTIONS, patience_seconds=_REJECTION_SECONDS)
        ),
        reports=PostgresReports(database) if settings.health_dir else None,
        mutes=PostgresMutes(database),
        retirements=PostgresRetirements(database),
        heartbeat=PostgresHeartbeat(database),
        faults=PostgresMemo(database, "faults"),
        verify_place=PostgresMemo(database, "verify"),
        inspections=PostgresInspections(database),
        release_verify_place=PostgresMemo(database, "release-verify"),
        alerts=PostgresAlerts(database),
        outbox=PostgresOutbox(database),
        gate_list=PostgresGateList(database),
        tokens=PostgresTokens(database) if guarded else None,
        withdrawals=PostgresWithdrawals(database),
        releases=releases,
        session_key=PostgresSessionKey(database),
        codes=PostgresCodes(database),
        cluster=Cluster(database, client, placements, partials.pieces, releases.tables),
    )


def objects_config(settings: Settings) -> ObjectsConfig:
    """Where the objects are.

    Raises:
        ConfigError: the credentials cannot be read.
    """
    assert settings.objects_url is not None
    bucket, _, prefix = settings.objects_url.removeprefix("s3://").partition("/")
    options = {"region": settings.objects_region}
    if settings.objects_endpoint is not None:
        options["endpoint"] = settings.objects_endpoint
    if settings.objects_credentials_file is not None:
        options |= read_credentials(settings.objects_credentials_file)
    return ObjectsConfig(bucket, prefix, options)


def _url(settings: Settings) -> str:
    assert settings.database_url is not None
    return settings.database_url
