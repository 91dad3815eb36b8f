"""A mirror of some episodes asks the listing for them: for all of them, for no more than that, and only once."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from cis490_receiver.filters import Filters
from cis490_receiver.http_client.failures import ReceiverFailed
from cis490_receiver.http_client.reader import Body
from cis490_receiver.models import Episode, wall_time
from cis490_receiver.progress import SILENT
from cis490_receiver.trainer.listing import Listing
from cis490_receiver.trainer.mirror import Mirror
from cis490_receiver.trainer.remote import Remote
from cis490_receiver.trainer.state import State
from tests.support.archives import make_episode
from tests.support.receiver import TOKEN, Receiver
from tests.trainer.test_mirror import mirror

SECOND_NS = 10**9
START_NS = 1_760_000_000 * SECOND_NS


class Told(Remote):
    """A receiver that is asked for real, and what it was asked for. `before` may change a path, or fail."""

    def __init__(self, receiver: Receiver, before: Callable[[str], str] = str) -> None:
        super().__init__(f"http://127.0.0.1:{receiver.port}", TOKEN)
        self.asked: list[str] = []
        self.before = before

    def get(self, path: str, headers: dict[str, str]) -> Body:
        self.asked.append(path)
        return super().get(self.before(path), headers)

    def pages(self) -> list[dict[str, list[str]]]:
        """The queries of the pages that were asked for since this was asked."""
        found = [parse_qs(urlsplit(path).query) for path in self.asked if path.startswith("/v1/episodes?")]
        self.asked.clear()
        return found

    def close(self) -> None:
        self._reader.drop()


def record(number: int, host: str, at_ns: int | None = None) -> bytes:
    at_ns = START_NS + number * SECOND_NS if at_ns is None else at_ns
    return Episode(
        host_id=host,
        episode_id=f"e{number}",
        sha256=f"{number:064x}",
        size_bytes=number,
        received_at_wall=wall_time(at_ns),
        received_at_ns=at_ns,
    ).to_line()


def append(receiver: Receiver, *lines: bytes) -> None:
    with (receiver.data_dir / "index.jsonl").open("ab") as journal:
        journal.writelines(lines)


def of_host(receiver: Receiver, host: str) -> list[bytes]:
    lines = (receiver.data_dir / "index.jsonl").read_bytes().splitlines(keepends=True)
    return sorted((line for line in lines if json.loads(line)["host_id"] == host), key=_when)


def _when(line: bytes) -> int:
    return int(json.loads(line)["received_at_ns"])


def listed(remote: Remote, folder: Path, **filters: object) -> list[bytes]:
    listing = Listing(remote, folder, Filters(**filters), State(folder), SILENT)
    listing.update()
    return [line for _, line in listing.lines()]


def test_pages_are_read_until_all_is_known(receiver: Receiver, tmp_path: Path) -> None:
    remote = Told(receiver)
    assert listed(remote, tmp_path, host="a") == []
    append(receiver, *(record(number, "ab"[number % 2]) for number in range(5000)))
    assert listed(remote, tmp_path, host="a") == of_host(receiver, "a")
    assert len(remote.pages()) == 1 + 3
    # Nothing new; something of another host; something new; something new with an old date.
    for lines, pages in (
        ((), 0), ((record(5001, "b"),), 1), ((record(5002, "a"), record(5003, "a")), 1),
        ((record(5004, "a", START_NS - 1),), 3),
    ):  # fmt: skip
        append(receiver, *lines)
        assert listed(remote, tmp_path, host="a") == of_host(receiver, "a")
        assert len(remote.pages()) == pages
    # What is known of one choice is known of another.
    moment = START_NS + 4990 * SECOND_NS
    assert listed(remote, tmp_path, host="a", since=moment) == [
        line for line in of_host(receiver, "a") if _when(line) >= moment
    ]
    assert len(remote.pages()) == 1
    # What was taken out is known no more.
    journal = receiver.data_dir / "index.jsonl"
    os.rename(journal, tmp_path / "old")
    journal.write_bytes((tmp_path / "old").read_bytes().split(b"\n", 2)[2])
    assert listed(remote, tmp_path, host="a") == of_host(receiver, "a")
    assert len(remote.pages()) == 3
    remote.close()


def test_a_reading_that_was_cut_off_is_gone_on_with(receiver: Receiver, tmp_path: Path) -> None:
    append(receiver, *(record(number, "a") for number in range(3500)))

    def fail(path: str) -> str:
        if len(remote.asked) == 5:
            raise ReceiverFailed("cut off", "try again")
        return path

    remote = Told(receiver, fail)
    with pytest.raises(ReceiverFailed):
        listed(remote, tmp_path, host="a")
    with (tmp_path / "listed.jsonl").open("ab") as stream:
        stream.write(b'{"torn')
    remote.pages()
    remote.before = str
    append(receiver, record(3500, "a"))
    assert listed(remote, tmp_path, host="a") == of_host(receiver, "a")
    # Two that were missing, and one from the top.
    assert [len(query.get("cursor", ())) for query in remote.pages()] == [1, 1, 0]
    assert listed(remote, tmp_path, host="a") == of_host(receiver, "a")
    remote.close()


@pytest.mark.parametrize("options", [[], ["--host", "h"]], ids=["all", "some"])
def test_a_run_that_ended_before_it_fetched_leaves_nothing_out(
    receiver: Receiver, tmp_path: Path, token_file: Path, options: list[str]
) -> None:
    folder = tmp_path / "mirror"
    assert receiver.put("h", "e0", make_episode(0)).status == 201
    assert mirror(receiver, folder, token_file, *options)["fetched"] == 1
    assert receiver.put("h", "e1", make_episode(1)).status == 201
    remote = Told(receiver)
    Mirror(remote, folder, Filters(host="h") if options else Filters())._update()
    assert any(path == "/v1/index.jsonl" for path in remote.asked)
    remote.close()
    assert mirror(receiver, folder, token_file, *options)["fetched"] == 1
    assert mirror(receiver, folder, token_file, *options)["fetched"] == 0
    # The whole index was read by whoever wants all of it.
    assert (folder / "remote.jsonl").exists() is not bool(options)
    assert (folder / "index.jsonl").read_bytes() == (receiver.data_dir / "index.jsonl").read_bytes()


def test_the_index_is_read_where_the_receiver_does_not_know_a_filter(
    receiver: Receiver, tmp_path: Path
) -> None:
    append(receiver, record(0, "a"), record(1, "b"))
    remote = Told(receiver, lambda path: path.replace("host=", "hots="))
    records, _ = Mirror(remote, tmp_path, Filters(host="a"))._update()
    assert [episode.host_id for episode, _ in records.lines()] == ["a", "b"]
    remote.close()
