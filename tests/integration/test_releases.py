"""A release is the same bytes for ever, whoever asks, and says what it has that was withdrawn since."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import os
import random
import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from unittest import mock

import pytest

from benchmarks import make_index
from cis490_receiver.errors import StorageFailed
from cis490_receiver.files.lines import LINE_LIMIT, placed_batches
from cis490_receiver.filters import Filters
from cis490_receiver.index.base import Selection
from cis490_receiver.index.base.releases import About
from cis490_receiver.index.blocks import Blocks
from cis490_receiver.index.local import LocalIndex
from cis490_receiver.index.release_making import NewTable
from cis490_receiver.index.release_table import SortedTable, SparseIndex
from cis490_receiver.index.releases import ReleaseFolder
from tests.integration.test_withdrawals import run
from tests.support.archives import make_episode
from tests.support.receiver import AUTH, BIN, Answer, Receiver, clean_environment
from tests.unit.test_journal import record

ABOUT = About(created_at_wall="2026-11-25T00:00:00Z", filters={}, why="", by="me")


def get(receiver: Receiver, name: str, method: str = "GET", **headers: str) -> Answer:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return receiver.request(method, f"/v1/releases/{name}.jsonl", headers=AUTH | given)


def listed(receiver: Receiver) -> list[dict[str, object]]:
    answer = receiver.request("GET", "/v1/releases", headers=AUTH)
    assert answer.status == 200
    found: list[dict[str, object]] = answer.json["releases"]
    return found


def test_a_release_stays_as_it_is_and_tells_of_withdrawals(receiver: Receiver) -> None:
    assert listed(receiver) == [] and get(receiver, "paper-1").status == 404
    for number in range(6):
        receiver.put(f"h{number % 2}", f"e{number}", make_episode(number), X_Benign_Profile="idle")
    run(receiver.data_dir, "withdraw", "h0/e0", "--why", "early")
    plan = json.loads(run(receiver.data_dir, "release", "create", "paper-1", "--dry-run", "--json"))
    assert (plan["episodes"], plan["hosts"]) == (5, 2) and listed(receiver) == []
    words = ["release", "create", "paper-1", "--why", "what we submitted", "--since", "30d"]
    made = json.loads(run(receiver.data_dir, *words, "--json"))
    index = (receiver.data_dir / "index.jsonl").read_bytes().splitlines(keepends=True)
    table = b"".join(sorted(line for line in index if b'"e0"' not in line))
    path = receiver.data_dir / "releases" / "paper-1.jsonl"
    assert path.read_bytes() == table and path.stat().st_mode & 0o777 == 0o440
    assert made["sha256"] == hashlib.sha256(table).hexdigest()
    assert made["filters"]["since"].endswith("+00:00") and made["episodes"] == 5
    assert listed(receiver) == [made] and made["withdrawn_since"] == 0

    answer = get(receiver, "paper-1")
    assert (answer.status, answer.body, answer.headers["Content-Type"]) == (200, table, "application/jsonl")
    digest = base64.b64encode(hashlib.sha256(table).digest()).decode()
    assert answer.headers["Repr-Digest"] == f"sha-256=:{digest}:"
    assert answer.headers["ETag"] == f'"{made["sha256"]}"' and "X-Withdrawn-Since" not in answer.headers
    assert get(receiver, "paper-1", If_None_Match=answer.headers["ETag"]).status == 304
    part = get(receiver, "paper-1", Range="bytes=7-20", If_Range=answer.headers["ETag"])
    assert (part.status, part.body) == (206, table[7:21])
    head = get(receiver, "paper-1", "HEAD")
    assert (head.status, head.headers["Content-Length"]) == (200, str(len(table)))

    # What comes, and what is withdrawn, is nothing to it.
    receiver.put("h0", "e9", make_episode(9))
    run(receiver.data_dir, "withdraw", "h1/e3", "h0/e9", "--why", "late")
    for _ in range(4):
        answer = get(receiver, "paper-1")
        assert answer.body == table and answer.headers["X-Withdrawn-Since"] == "1"
        assert [one["withdrawn_since"] for one in listed(receiver)] == [1]
    assert "X-Withdrawn-Since" in get(receiver, "paper-1", "HEAD").headers
    shown = json.loads(run(receiver.data_dir, "release", "show", "paper-1", "--json"))
    assert [(one["episode_id"], one["why"]) for one in shown["withdrawn"]] == [("e3", "late")]
    assert "withdrawn since: 1" in run(receiver.data_dir, "release", "show", "paper-1")
    taken = json.loads(run(receiver.data_dir, "release", "create", "paper-1", "--json", status=1))
    assert taken["code"] == "release-exists" and path.read_bytes() == table
    run(receiver.data_dir, "release", "create", "paper-2")
    assert [one["name"] for one in listed(receiver)] == ["paper-2", "paper-1"]
    assert "paper-2" in run(receiver.data_dir, "release", "list").splitlines()[1]
    run(receiver.data_dir, "withdraw", "h1/e3", "--undo")
    assert "X-Withdrawn-Since" not in get(receiver, "paper-1").headers
    # Without its description it is the same release.
    (receiver.data_dir / "releases" / "paper-1.json").unlink()
    again = next(one for one in listed(receiver) if one["name"] == "paper-1")
    kept = ("name", "sha256", "size_bytes", "episodes", "episode_bytes", "hosts")
    assert [again[name] for name in kept] == [made[name] for name in kept]


def test_the_data_page_shows_releases_as_the_interface_does(receiver: Receiver) -> None:
    page = AUTH | {"Accept": "text/html"}
    receiver.put("h", "e1", make_episode(1))
    assert "Releases" not in receiver.request("GET", "/data", headers=page).body.decode()
    index = LocalIndex(receiver.data_dir)
    releases = ReleaseFolder(receiver.data_dir, index)
    for number in range(12):
        with index.selection(Filters()) as selection:
            releases.create(f"r-{number:02}", selection, dataclasses.replace(ABOUT, why="a <paper>"))
    index.close()
    run(receiver.data_dir, "withdraw", "h/e1", "--why", "late")
    shown = receiver.request("GET", "/data", headers=page).body.decode()
    known = listed(receiver)
    assert receiver.request("GET", "/data", headers=AUTH).json["releases"] == known
    [section] = re.findall(r'<section id="releases">(.*?)</section>', shown, re.DOTALL)
    rows = re.findall(r"<tr><th scope=.row.>(.*?)</tr>", section)
    assert len(rows) == 10 and "2 more" in section and 'href="/v1/releases"' in section
    for row, release in zip(rows, known[:10], strict=True):
        assert f'href="/v1/releases/{release["name"]}.jsonl"' in row and str(release["sha256"]) in row
        assert '<td class="n">1</td>' in row and "a &lt;paper&gt;" in row


@pytest.mark.parametrize(
    "arguments",
    [("../r",), (".r",), ("r", "--withdrawn", "only"), ("r", "--why", "a\nb"), ("r", "--commit", "x"), ()],
)
def test_what_cannot_be_meant_is_wrong_usage(receiver: Receiver, arguments: tuple[str, ...]) -> None:
    told = json.loads(run(receiver.data_dir, "release", "create", "--json", *arguments, status=2))
    assert told["code"] == "bad-usage" and not (receiver.data_dir / "releases").exists()


def test_a_release_of_nothing_is_not_made(receiver: Receiver) -> None:
    told = json.loads(run(receiver.data_dir, "release", "create", "r", "--json", status=1))
    assert told["code"] == "nothing-chosen" and listed(receiver) == []
    assert (
        json.loads(run(receiver.data_dir, "release", "show", "r", "--json", status=1))["code"]
        == "no-such-release"
    )


def test_of_many_that_make_one_name_at_once_one_does(receiver: Receiver) -> None:
    for number in range(4):
        receiver.put(f"h{number}", "e", make_episode(number))
    runs = [
        subprocess.Popen(
            [BIN / "cis490-receiver", "release", "create", "r", "--host", f"h{number}"],
            env=clean_environment(data_dir=receiver.data_dir),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for number in range(4)
    ]
    assert sorted(run.wait() for run in runs) == [0, 1, 1, 1]
    [made] = listed(receiver)
    assert made["sha256"] == hashlib.sha256(get(receiver, "r").body).hexdigest() and made["episodes"] == 1


def test_lines_are_those_of_the_index_byte_for_byte(tmp_path: Path) -> None:
    """Also those that this version would write in another way; of an episode with two lines the last one counts."""
    odd = record(2).to_line().replace(b'"size_bytes":1,', b'"size_bytes": 1, "later":[1,2],')
    long = record(5).to_line().replace(b"{", b'{"note":"' + b"x" * 5000 + b'",')
    older, torn = record(3, size=9).to_line(), record(4).to_line()[:50]
    index = LocalIndex(tmp_path)
    content = b"".join([record(8).to_line(), older, b"no record\n", odd, record(3).to_line(), long]) + torn
    (tmp_path / "index.jsonl").write_bytes(content)
    with index.selection(Filters()) as selection:
        assert (selection.episodes, selection.size_bytes, selection.hosts) == (4, 4, 1)
        assert list(selection.lines) == [odd, record(3).to_line(), long, record(8).to_line()]
    releases = ReleaseFolder(tmp_path, index)
    with index.selection(Filters()) as selection:
        release = releases.create("r", selection, ABOUT)
    assert release.size_bytes == (tmp_path / "releases" / "r.jsonl").stat().st_size
    index.close()


#: Makes a release, then prints the most memory that it had, in KiB (proc(5)).
_MEASURED = """
import atexit, re
atexit.register(lambda: print(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1]))
from cis490_receiver.commands import main
main(["release", "create", "r"])
"""


def test_memory_does_not_grow_with_a_release(tmp_path: Path) -> None:
    peaks = []
    for lines in (4_000, 40_000):
        make_index.make(tmp_path / str(lines), lines)
        done = subprocess.run(
            [sys.executable, "-c", _MEASURED],
            env=clean_environment(data_dir=tmp_path / str(lines)),
            capture_output=True,
            text=True,
            check=True,
        )
        peaks.append(int(done.stdout.splitlines()[-1]))
    # A page cache of SQLite's is 6 MB, the lines are 14 MB.
    assert peaks[1] - peaks[0] < 10 << 10, peaks


def test_an_index_that_is_swapped_meanwhile_is_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = LocalIndex(tmp_path)
    index.prepare()
    for number in range(3):
        index.append(record(number))
    sync, calls = index.journal.make_durable, 0

    def swap() -> None:
        (tmp_path / "new").write_bytes(record(7).to_line())
        (tmp_path / "new").rename(index.journal.path)

    def swapped_once() -> None:
        nonlocal calls
        calls += 1
        sync()
        if calls == 2:
            # The lines were chosen, and are not the index's any more.
            swap()

    monkeypatch.setattr(index.journal, "make_durable", swapped_once)
    with index.selection(Filters()) as selection:
        assert list(selection.lines) == [record(7).to_line()] and calls > 2
    monkeypatch.setattr(index.journal, "make_durable", swap)
    with pytest.raises(StorageFailed, match="made anew"), index.selection(Filters()):
        pass
    index.close()


@pytest.mark.parametrize("step", ["fsync", "rename", "link", "open", "write", "mkdir"])
def test_a_step_that_fails_makes_none(tmp_path: Path, step: str) -> None:
    index = LocalIndex(tmp_path)
    index.prepare()
    for number in range(3):
        index.append(record(number))
    real = getattr(os, step)
    for failing in range(1, 15):
        releases, calls = ReleaseFolder(tmp_path, index), 0

        def call(*arguments: object, failing: int = failing, **more: object) -> object:
            nonlocal calls
            calls += 1
            if calls == failing:
                raise OSError(5, "injected")
            return real(*arguments, **more)

        with index.selection(Filters()) as selection, mock.patch(f"os.{step}", call):
            try:
                releases.create("r", selection, ABOUT)
            except StorageFailed:
                assert not (tmp_path / "releases" / "r.jsonl").exists()
                assert not (tmp_path / "releases" / ".new.jsonl").exists()
                continue
        break
    else:
        raise AssertionError("the step never succeeded")
    assert failing > 1 and releases.find("r") is not None
    index.close()


def test_a_table_is_searched_for_names_without_being_read(tmp_path: Path) -> None:
    dice = random.Random(1)
    path = tmp_path / "table"
    names = sorted({(f"h{dice.randrange(5)}", f"e{dice.randrange(10**6)}") for _ in range(3000)})
    with path.open("wb") as stream:
        for number, name in enumerate(names):
            host_id, episode_id = name
            line = record(0, host_id).to_line().replace(b'"e0"', f'"{episode_id}"'.encode())
            stream.write(line.replace(b"{", b'{"x":"' + b"y" * 20_000 + b'",') if number % 500 == 7 else line)
    others = {(f"h{dice.randrange(7)}", f"e{dice.randrange(10**6)}") for _ in range(300)}
    for count in (1, 30, len(names)):
        asked = sorted({*dice.sample(names, count), *others, names[0], names[-1]})
        with path.open("rb") as stream:
            new = NewTable(Selection(iter(stream.readlines()), len(names), 0, 5))
            assert b"".join(new.pieces()) == path.read_bytes() and 2 < len(new.marks) < 10
            for read_at, sparse in (
                (partial(os.pread, stream.fileno()), None),
                (Blocks(stream).read_at, None),
                (Blocks(stream).read_at, SparseIndex(new.marks)),
            ):
                table = SortedTable(read_at, path.stat().st_size, sparse)
                assert list(table.of_these(asked)) == [name for name in asked if name in names]


def test_lines_are_given_with_where_they_begin(tmp_path: Path) -> None:
    dice = random.Random(2)
    path = tmp_path / "lines"
    lengths = [*(dice.randrange(300) for _ in range(20_000)), LINE_LIMIT + 10, 600_000, 0, 5]
    dice.shuffle(lengths)
    whole = b"".join(bytes([97 + number % 26]) * length + b"\n" for number, length in enumerate(lengths))
    path.write_bytes(whole)
    starts = [0]
    for length in lengths:
        starts.append(starts[-1] + length + 1)
    with path.open("rb") as stream:
        for first in (0, 5000):
            found = list(placed_batches(stream.fileno(), starts[first], len(whole)))
    assert [offset for offsets, _ in found for offset in offsets] == starts[5000:-1]
    assert all(
        whole[offset:].startswith(line)
        for offsets, lines in found
        for offset, line in zip(offsets, lines, strict=True)
    )
