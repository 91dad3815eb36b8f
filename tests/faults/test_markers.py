"""Where there are no hard links, a marker stands for the second name."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from cis490_receiver.models import EpisodeKey
from cis490_receiver.stamps import Stamps
from cis490_receiver.storage import linking
from cis490_receiver.storage.filesystem import FilesystemStore
from tests.faults.support.promises import append

KEY = EpisodeKey("host-a", "ep-1")
LONG = EpisodeKey("h" * 128, "e" * 128)
STAMPS = Stamps(3, "c" * 40, "infected", "db_query")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FilesystemStore:
    """A store on a disk without hard links; renameat2(2) is the real one."""

    def no_links(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", no_links)
    made = FilesystemStore(tmp_path)
    made.prepare()
    return made


def _publish_and_die(store: FilesystemStore, key: EpisodeKey, content: bytes) -> None:
    with store.receive(key, STAMPS) as incoming:
        append(incoming, content)
        incoming.sync()
        assert incoming.publish()


def _read(store: FilesystemStore, key: EpisodeKey) -> bytes:
    stored = store.open(key)
    assert stored is not None
    with stored:
        return stored.stream.read()


@pytest.mark.parametrize("key", [KEY, LONG], ids=["short-ids", "long-ids"])
def test_a_dead_writers_episode_is_found_by_its_marker(
    store: FilesystemStore, key: EpisodeKey, tmp_path: Path
) -> None:
    _publish_and_die(store, key, b"published")
    assert list(store.unsettled()) == [key]
    with store.hold(key, wait_seconds=1) as held:
        assert held is not None
        assert held.stamps() == STAMPS
        held.republish()
        held.settle()
        assert held.stamps() is None
    assert _read(store, key) == b"published"
    assert os.listdir(tmp_path / "incoming") == []


def test_a_live_writers_marker_is_nobody_elses(
    store: FilesystemStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One writer died after its rename; another, whose marker is there and whose rename is about to fail,
    keeps its upload while the dead one's episode is named anew."""
    _publish_and_die(store, KEY, b"published")
    dead = os.listdir(tmp_path / "incoming")
    rename = linking.rename_no_replace

    def meanwhile(source: Path, name: str, folder: int) -> None:
        monkeypatch.setattr(linking, "rename_no_replace", rename)
        for marker in dead:
            (tmp_path / "incoming" / marker).unlink()
        assert list(store.unsettled()) == []
        with store.hold(KEY, wait_seconds=1) as held:
            assert held is not None
            held.republish()
            held.settle()
        assert source.read_bytes() == b"live"
        rename(source, name, folder)

    monkeypatch.setattr(linking, "rename_no_replace", meanwhile)
    with store.receive(KEY, STAMPS) as incoming:
        append(incoming, b"live")
        incoming.sync()
        assert not incoming.publish()
    assert _read(store, KEY) == b"published"
    assert os.listdir(tmp_path / "incoming") == []


def test_a_marker_without_an_upload_or_an_episode_is_discarded(
    store: FilesystemStore, tmp_path: Path
) -> None:
    marker = tmp_path / "incoming" / linking.marker_of("host-a~ep-1~0")
    for content in (b"", b"ep-", b"ep-1", b"ep-1.tar.zst", b"../../x.tar.zst", b"\xff"):
        marker.write_bytes(content)
        assert list(store.unsettled()) == []
        assert not marker.exists()
