"""The database, and then the object store."""

from __future__ import annotations

from collections.abc import Iterator

from cis490_receiver.backends.cluster import objects_config
from cis490_receiver.backends.doctor import Finding
from cis490_receiver.backends.doctor.database import database_findings
from cis490_receiver.backends.doctor.objects import REQUEST_SECONDS, ObjectsDoctor
from cis490_receiver.config import Settings
from cis490_receiver.storage.signed_requests import SignedRequests


def findings(settings: Settings) -> Iterator[Finding]:
    """What is found, each as soon as it is.

    Raises:
        ConfigError: the keys of the object store cannot be read.
    """
    assert settings.database_url is not None
    config = objects_config(settings)
    yield from database_findings(settings.database_url)
    requests = SignedRequests(config, seconds=REQUEST_SECONDS)
    yield from ObjectsDoctor(
        requests, config.named, config.prefix, settings.longest_upload_seconds
    ).findings()
