"""What a release is compared with: another one, its episodes on disk, what a paper says of it."""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cis490_receiver.errors import ReleaseDamaged
from cis490_receiver.models import Episode
from cis490_receiver.upkeep.release_diff import differences
from tests.commands.running import PROGRAM, answer, run, write_index
from tests.integration.test_withdrawals import run as done
from tests.support.archives import make_episode
from tests.support.receiver import Receiver, clean_environment
from tests.unit.test_journal import record


def rewritten(path: Path, old: bytes, new: bytes) -> None:
    """Change a read-only file in place, as no program of ours does."""
    path.chmod(0o640)
    content = path.read_bytes()
    assert len(old) == len(new) and old in content
    path.write_bytes(content.replace(old, new, 1))


def test_verify_finds_what_is_not_what_was_frozen(receiver: Receiver) -> None:
    data = receiver.data_dir
    for number in range(6):
        receiver.put(f"h{number % 2}", f"e{number}", make_episode(number))
    made = json.loads(done(data, "release", "create", "r", "--json"))
    # What was withdrawn since still belongs to it.
    done(data, "withdraw", "h0/e0", "--why", "late")
    well = json.loads(done(data, "release", "verify", "r", "--json"))
    assert (well["checked"], well["damaged"], well["complete"]) == (6, [], True)
    assert well["sha256"] == well["actual_sha256"] == made["sha256"]
    assert well["size_bytes"] == made["episode_bytes"]
    assert made["sha256"] in done(data, "release", "verify", "r", "--sha256", made["sha256"].upper())
    assert "the table is another" in done(data, "release", "verify", "r", "--sha256", "0" * 64, status=1)

    rotten, lost = (data / "episodes" / "h1" / f"e{number}.tar.zst" for number in (1, 3))
    content = bytearray(rotten.read_bytes())
    content[20] ^= 1
    rotten.write_bytes(content)
    lost.unlink()
    found = json.loads(done(data, "release", "verify", "r", "--json", status=1))
    assert {(one["episode_id"], one["kind"]) for one in found["damaged"]} == {
        ("e1", "sha256"),
        ("e3", "missing"),
    }
    assert json.loads(done(data, "release", "verify", "r", "--host", "h0", "--json"))["checked"] == 3
    assert "h1/e3: missing" in done(data, "release", "verify", "r", "--host", "h1", status=1)

    # Another episode's name in the table, and then a line that is none.
    table = data / "releases" / "r.jsonl"
    rewritten(table, b'"e0"', b'"e9"')
    assert "the table is another" in done(data, "release", "verify", "r", "--host", "h0", status=1)
    rewritten(table, b'{"host_id"', b'X"host_id"')
    found = json.loads(done(data, "release", "verify", "r", "--host", "h0", "--json", status=1))
    assert found["bad_lines"] == 1 and found["actual_sha256"] != found["sha256"]
    [listed] = json.loads(done(data, "release", "list", "--json"))["releases"]
    assert listed["withdrawn_since"] is None and "damaged" in done(data, "release", "show", "r")


def test_a_run_that_was_stopped_goes_on(tmp_path: Path) -> None:
    write_index(tmp_path, 30)
    for number in range(30):
        path = tmp_path / "episodes" / f"h{number % 3}" / f"e{number}.tar.zst"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes(1000))
    assert run("release", "create", "r", data_dir=tmp_path).returncode == 0
    # The place is noted by a run that ^C ends; here, when it opens its tenth episode.
    stopped = subprocess.run(
        [sys.executable, "-c", _STOPPED, "release", "verify", "r", "--json"],
        env=clean_environment(data_dir=tmp_path),
        capture_output=True,
        text=True,
    )
    assert stopped.returncode == 130, stopped.stderr
    first = json.loads(stopped.stdout)
    assert (first["complete"], len(first["damaged"])) == (False, 9)
    rest = answer(run("release", "verify", "r", "--resume", "--json", data_dir=tmp_path))
    assert (rest["complete"], len(rest["damaged"])) == (True, 21)
    both = {(one["host_id"], one["episode_id"]) for one in first["damaged"] + rest["damaged"]}
    assert len(both) == 30
    # Done: the next one begins anew.
    assert answer(run("release", "verify", "r", "--resume", "--json", data_dir=tmp_path))["checked"] == 30


_STOPPED = """
import os, signal
from cis490_receiver.commands import main
from cis490_receiver.storage.filesystem import FilesystemStore
open_episode, calls = FilesystemStore.open, 0
def counted(self, key):
    global calls
    calls += 1
    if calls == 10:
        os.kill(os.getpid(), signal.SIGINT)
    return open_episode(self, key)
FilesystemStore.open = counted
main()
"""


def test_diff_tells_what_came_went_and_changed(receiver: Receiver) -> None:
    data = receiver.data_dir
    for number in range(4):
        receiver.put("h", f"e{number}", make_episode(number))
    done(data, "release", "create", "old")
    receiver.put("h", "e9", make_episode(9))
    done(data, "withdraw", "h/e1", "--why", "bad")
    # As reindex would, from other headers.
    journal = data / "index.jsonl"
    line = next(line for line in journal.read_bytes().splitlines(keepends=True) if b'"e2"' in line)
    with journal.open("ab") as stream:
        stream.write(line.replace(b'"episode_type":null', b'"episode_type":"control"'))
    done(data, "release", "create", "new")
    told: dict[str, Any] = json.loads(done(data, "release", "diff", "old", "new", "--json"))
    assert (told["added"], told["removed"], told["changed"]) == (1, 1, 1)
    assert [(one["kind"], one["episode_id"], one["fields"]) for one in told["differences"]] == [
        ("removed", "e1", []),
        ("changed", "e2", ["episode_type"]),
        ("added", "e9", []),
    ]
    assert done(data, "release", "diff", "old", "new").splitlines()[1:] == [
        "- h/e1",
        "~ h/e2: episode_type",
        "+ h/e9",
    ]
    assert done(data, "release", "diff", "new", "new.jsonl") == "0 added, 0 removed, 0 changed\n"
    assert (
        json.loads(done(data, "release", "diff", "old", "x", "--json", status=1))["code"] == "no-such-release"
    )


def test_a_table_that_is_not_sorted_is_not_compared() -> None:
    def table(*episodes: Episode) -> io.BytesIO:
        return io.BytesIO(b"".join(episode.to_line() for episode in episodes))

    good = table(record(1), record(2))
    for bad in (table(record(2), record(1)), table(record(1), record(1)), io.BytesIO(b"no record\n")):
        good.seek(0)
        with pytest.raises(ReleaseDamaged):
            list(differences(good, bad))


def test_a_citation_names_what_proves_a_copy(receiver: Receiver) -> None:
    receiver.put("h", "e", make_episode(1))
    made = json.loads(done(receiver.data_dir, "release", "create", "set_1", "--json"))
    words = [PROGRAM, "release", "show", "set_1", "--bibtex"]
    settings = {"institution": "R&D {Lab}\\~", "public_url": "https://receiver.lab/"}
    entry = subprocess.run(
        words,
        env=clean_environment(data_dir=receiver.data_dir, **settings),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert entry.startswith("@misc{set_1,\n")
    fields = dict(re.findall(r"^  (\w+) = \{(.*)\},$", entry, re.MULTILINE))
    assert fields["title"] == r"{Malware-behaviour episodes, release set\_1}"
    assert fields["author"] == r"{R\&D \{Lab\}\textbackslash{}\textasciitilde{}}"
    assert fields["year"] == made["created_at_wall"][:4]
    assert fields["url"] == "https://receiver.lab/v1/releases/set_1.jsonl"
    table = (receiver.data_dir / "releases" / "set_1.jsonl").read_bytes()
    assert fields["note"].endswith(hashlib.sha256(table).hexdigest())
    assert entry.count("{") - entry.count(r"\{") == entry.count("}") - entry.count(r"\}")
    without = subprocess.run(
        [*words, "--json"], env=clean_environment(data_dir=receiver.data_dir), capture_output=True, check=True
    ).stdout
    assert "author" not in json.loads(without)["bibtex"] and "url" not in json.loads(without)["bibtex"]
