"""``/v1/episodes/{host_id}/{episode_id}/contents``: what is in an archive, read as it streams, never extracted."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Final

from flask import Blueprint, Response, request

from cis490_receiver import protocol
from cis490_receiver.archive import Contents, look
from cis490_receiver.errors import LooksBusy, NotFound, StorageFailed
from cis490_receiver.models import Episode, EpisodeKey
from cis490_receiver.policy.labels import disagreements, lacking
from cis490_receiver.views.answers import json_answer
from cis490_receiver.views.openapi import parameters, schemas
from cis490_receiver.views.openapi.declaration import Answer, operation
from cis490_receiver.views.wiring import Services, authenticate

#: How many archives a process looks into at once. Each look holds a thread for as long as it may take.
MAX_LOOKS: Final = 2


class Looks:
    """Looks into archives, a few at a time."""

    def __init__(self, services: Services, *, at_once: int = MAX_LOOKS) -> None:
        self._services = services
        self._free = threading.BoundedSemaphore(at_once)

    def look(self, host_id: str, episode_id: str) -> tuple[Episode, Contents]:
        """An episode's record, and what is in its archive.

        Raises:
            NotFound: there is no such episode.
            LooksBusy: others are being looked into.
            StorageFailed: the archive cannot be opened.
        """
        if not (protocol.is_valid_id(host_id) and protocol.is_valid_id(episode_id)):
            raise NotFound
        key = EpisodeKey(host_id, episode_id)
        episode = self._services.index.find(key)
        if episode is None:
            raise NotFound("no such episode is stored")
        with self._turn():
            stored = self._services.store.open(key)
            if stored is None:
                raise NotFound("the episode's file is missing; `cis490-receiver verify` tells more")
            with stored:
                return episode, look(stored.stream)

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._free.acquire(blocking=False):
            raise LooksBusy
        try:
            yield
        finally:
            self._free.release()


def blueprint(services: Services, looks: Looks) -> Blueprint:
    """The route."""
    views = Blueprint("contents", __name__)

    @views.get("/v1/episodes/<host_id>/<episode_id>/contents")
    @operation(
        "What is in an episode: its members and its meta.json",
        access="read",
        path="/v1/episodes/{host_id}/{episode_id}/contents",
        parameters=parameters.EPISODE,
        answers={200: Answer("What was seen within some seconds.", schemas.CONTENTS)},
        errors=(NotFound, LooksBusy, StorageFailed),
        example="/v1/episodes/lab-1/run-0001/contents",
        doc="Read as it streams; nothing is extracted. An archive that is damaged or goes on for too long is answered "
        "200 too: `problem` says why there may be more than is told.",
    )
    def get_contents(host_id: str, episode_id: str) -> Response:
        authenticate(services, request).require("read")
        episode, contents = looks.look(host_id, episode_id)
        return json_answer(as_json(episode, contents))

    return views


def as_json(episode: Episode, contents: Contents) -> dict[str, Any]:
    """The answer."""
    return {
        "host_id": episode.host_id,
        "episode_id": episode.episode_id,
        "sha256": episode.sha256,
        "size_bytes": episode.size_bytes,
        **asdict(contents),
        "mislabelled": mislabelled(episode, contents),
    }


def mislabelled(episode: Episode, contents: Contents) -> list[str]:
    """What the record and its meta.json do not agree about, or lack, a phrase each."""
    if contents.meta is None:
        return []
    return disagreements(episode, contents.meta) + lacking(episode, contents.meta)
