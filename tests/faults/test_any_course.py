"""Any course of events: uploads, repeats, conflicts, cuts, kills, restarts, reindex, a moving gate and a full disk,
against a model of what must be true."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from cis490_receiver.files import atomic
from cis490_receiver.state.base.gate_list import GateCommit, GateSnapshot
from tests.support.archives import Archive, make_episode
from tests.support.receiver import AUTH, BIN, Receiver, clean_environment, put_headers

#: Few names, so that they meet.
KEYS = st.tuples(st.sampled_from(["a", "b"]), st.sampled_from(["e1", "e2", "e3", "e4"]))
SEEDS = st.integers(0, 3)
COMMITS = [f"{number:040x}" for number in range(4)]
ROOT = os.geteuid() == 0


class Course(RuleBasedStateMachine):
    """One receiver and what it promised."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="course-"))
        self.data = self.folder / "data"
        self.data.mkdir()
        if ROOT:
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "course", self.data], check=True)
        self.receiver = Receiver(self.data, self.folder / "log", gate_enabled="true", workers=1)
        self.promised: dict[tuple[str, str], Archive] = {}
        self.accepted: set[str] = set()
        #: What the headers of any upload of an episode said, or its meta.json does.
        self.commits: dict[tuple[str, str], set[str]] = {}
        self.full = False

    @initialize()
    def begin(self) -> None:
        self.move_gate(set(COMMITS[:2]))
        self.receiver.start()

    def teardown(self) -> None:
        self.receiver.end()
        if ROOT:
            subprocess.run(["umount", "-l", self.data], check=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    @rule(key=KEYS, seed=SEEDS, commit=st.sampled_from(COMMITS), large=st.booleans())
    def put(self, key: tuple[str, str], seed: int, commit: str, large: bool) -> None:
        episode = make_episode(seed, size=3_000_000 if large else 3000)
        self.commits.setdefault(key, set()).update({commit, f"{seed:040x}"})
        answer = self.receiver.put(*key, episode, X_Cis490_Code_Commit=commit)
        known = self.promised.get(key)
        # A worker looks at a new list within half a second: until then either answer is right.
        if answer.status == 412:
            assert commit not in self.accepted or self.gate_moved
        elif known is not None and self.free_bytes() < len(episode.data):
            # The space is judged before the name is looked at.
            assert self.full and answer.status == 507, answer
        elif known is not None:
            assert answer.status == (200 if known == episode else 409), answer
        elif answer.status in (200, 201):
            self.promised[key] = episode
        else:
            assert answer.status in (409, 507), answer
            assert self.full or answer.status == 409

    @rule(key=KEYS, seed=SEEDS, part=st.floats(0, 0.99))
    def cut_short(self, key: tuple[str, str], seed: int, part: float) -> None:
        episode = make_episode(seed, size=3000)
        headers = put_headers(episode, X_Cis490_Code_Commit=COMMITS[0]) | {
            "Content-Length": str(len(episode.data))
        }
        head = f"PUT /v1/episodes/{key[0]}/{key[1]}.tar.zst HTTP/1.1\r\nHost: x\r\n"
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        with contextlib.closing(self.receiver.raw()) as connection:
            connection.sendall(f"{head}{lines}\r\n".encode() + episode.data[: int(len(episode.data) * part)])

    @rule(accepted=st.sets(st.sampled_from(COMMITS), min_size=1))
    def move_gate(self, accepted: set[str]) -> None:
        if self.full:
            return
        commits = tuple(GateCommit(commit, "", "") for commit in sorted(accepted))
        snapshot = GateSnapshot("r", "main", commits[0].commit, 9, commits, (), "", 0)
        atomic.replace_file(self.data / "gate.json", snapshot.to_json())
        self.gate_moved = True
        self.accepted = accepted

    @rule()
    def kill_and_restart(self) -> None:
        self.receiver.kill()
        if self.full:
            self.make_room()
        self.receiver.start()
        self.gate_moved = False
        assert self.receiver.incoming() == []
        self.index_and_disk_agree()

    @precondition(lambda self: not self.full)
    @rule(lose=st.booleans())
    def reindex(self, lose: bool) -> None:
        journal = self.data / "index.jsonl"
        if lose and (lines := journal.read_bytes().splitlines(keepends=True)):
            with atomic.locked_file(journal):
                replacement = self.data / "replacement"
                replacement.write_bytes(b"".join(lines[1:]))
                replacement.rename(journal)
        done = subprocess.run(
            [str(BIN / "cis490-receiver"), "reindex", "--json"],
            env=clean_environment(data_dir=self.data),
            capture_output=True,
            check=True,
        )
        assert json.loads(done.stdout)["damaged"] == []

    @precondition(lambda self: ROOT and not self.full)
    @rule(room=st.integers(0, 200_000))
    def fill_disk(self, room: int) -> None:
        free = self.free_bytes()
        # The receiver may take the last block in the meantime: then the disk is full as well.
        with contextlib.suppress(OSError), (self.data / "filler").open("wb", buffering=0) as filler:
            filler.write(bytes(max(0, free - room)))
        self.full = True

    @precondition(lambda self: self.full)
    @rule()
    def make_room(self) -> None:
        (self.data / "filler").unlink()
        self.full = False

    @invariant()
    def every_promise_is_kept(self) -> None:
        stored = self.receiver.stored() if self.receiver.process else {}
        for (host, name), episode in self.promised.items():
            assert stored[host, f"{name}.tar.zst"] == episode.data
        if self.promised and not self.full:
            host, name = next(iter(self.promised))
            answer = self.receiver.request("GET", f"/v1/episodes/{host}/{name}.tar.zst", headers=AUTH)
            assert answer.body == self.promised[host, name].data

    def free_bytes(self) -> int:
        """What is left, as the receiver counts it; nothing is reserved."""
        status = os.statvfs(self.data)
        return status.f_bavail * status.f_frsize

    def index_and_disk_agree(self) -> None:
        lines = {(line["host_id"], line["episode_id"]): line["sha256"] for line in self.receiver.index()}
        assert len(lines) == len(self.receiver.index())
        assert {(host, f"{name}.tar.zst") for host, name in lines} == self.receiver.stored().keys()
        for line in self.receiver.index():
            assert line["code_commit"] in self.commits[line["host_id"], line["episode_id"]]
        assert {key: episode.sha256 for key, episode in self.promised.items()}.items() <= lines.items()


@pytest.mark.slow
def test_any_course_of_events_keeps_every_promise() -> None:
    examples = int(os.environ.get("FAULTS_COURSES", "6"))
    run_state_machine_as_test(
        Course,
        settings=settings(
            max_examples=examples,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
