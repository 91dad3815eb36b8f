"""FIXYOURSELF.md, walked on real clones: each stuck host is recognised, mended, and ships again."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cis490_receiver.policy import remedies
from tests.conftest import need
from tests.gate.document import Guide, commands, section
from tests.gate.repos import World, git_environment, run_command
from tests.support.archives import make_episode
from tests.support.receiver import BIN, TOKEN, Receiver, running

WINDOW = 3
GUIDE = Guide()
NOBODY = 65534


class Lab:
    """A lab host's clone, the upstream it follows, and the receiver that judges it."""

    def __init__(self, folder: Path, receiver: Receiver) -> None:
        self.world = World(folder)
        self.receiver = receiver
        (folder / "lab").mkdir()
        self.clone = self.world.clone("lab/orchestrator")
        self.world.clone("receiver.git", "--bare")
        #: What the host's shipper says when git cannot be asked.
        self.known_commit = self.clone.head()
        self.host = f"lab-{secrets.token_hex(4)}"
        self.shipped = 0
        (folder / "token").write_text(TOKEN)
        self.configuration = {
            "CIS490_LAB_RECEIVER_URL": f"http://127.0.0.1:{receiver.port}",
            "CIS490_LAB_TOKEN_FILE": str(folder / "token"),
            "CIS490_LAB_SPOOL_DIR": str(folder),
            "CIS490_LAB_ORCHESTRATOR_DIR": str(self.clone.path),
        }
        self.refresh()

    def refresh(self) -> None:
        done = run_command("gate-refresh", "--fetch", **self.receiver.settings)
        assert done.returncode == 0, done.stderr

    def shell(self, script: str) -> str:
        """What a student sees who pastes `script` into a terminal in the clone."""
        environment = git_environment(self.world.folder)
        given = {"ORCHESTRATOR": str(self.clone.path), "PATH": f"{BIN}:{environment['PATH']}"}
        # Who runs this is root already, or needs not be.
        done = subprocess.run(
            ["bash", "-c", 'sudo() { "$@"; }\n' + script],
            env=environment | self.configuration | given,
            cwd=self.clone.path if self.clone.path.is_dir() else self.world.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        return done.stdout

    def ship(self, commit: str) -> tuple[int, dict[str, object]]:
        self.shipped += 1
        answer = self.receiver.put(
            self.host, f"run-{self.shipped}", make_episode(self.shipped), X_Cis490_Code_Commit=commit
        )
        return answer.status, answer.json

    def walk(self) -> list[str]:
        """Step 1, the branch it names, step 1 again, until nothing is wrong; gives the branches."""
        branches: list[str] = []
        while (branch := GUIDE.recognise(self.shell(GUIDE.recognise_commands))) != "fine":
            branches.append(branch)
            assert len(branches) < 4, branches
            self.shell(GUIDE.branch_commands(branch))
        return branches

    def is_kept(self, commit: str) -> bool:
        """Whether a branch that a student can see still holds `commit`."""
        return bool(self.clone.git("branch", "--list", "my-work-*", "--contains", commit))


@dataclass(frozen=True)
class Stuck:
    """A way to be stuck: what makes it, what the receiver says, where the table leads, what must be left."""

    make: Callable[[Lab], object]
    reason: str
    branches: list[str]
    kept: Callable[[Lab, object], bool]


def behind(lab: Lab) -> None:
    lab.world.advance(WINDOW)


def local_commit(lab: Lab) -> str:
    return lab.clone.commit("my tuning", mine_py="x = 1\n")


def local_commit_and_behind(lab: Lab) -> str:
    lab.world.advance(2)
    return local_commit(lab)


def force_pushed(lab: Lab) -> str:
    lab.world.advance(2)
    lab.clone.git("pull", "--quiet", "--ff-only")
    lab.world.maintainer.git("reset", "--quiet", "--hard", "HEAD~2")
    lab.world.advance(2)
    return lab.clone.head()


def force_pushed_and_edited(lab: Lab) -> str:
    commit = force_pushed(lab)
    (lab.clone.path / "recorder.py").write_text("print('an edit')\n")
    return commit


def dirty(lab: Lab) -> None:
    (lab.clone.path / "recorder.py").write_text("print('my edit')\n")
    (lab.clone.path / "notes.txt").write_text("my notes\n")
    # The receiver sees the commit and not the files, so a dirty host goes on for a while.
    assert lab.ship(lab.clone.head())[0] == 201
    lab.world.advance(WINDOW)
    lab.world.maintainer.commit("notes", notes_txt="the maintainer's notes\n")
    lab.world.advance()
    lab.clone.git("fetch", "--quiet")
    with pytest.raises(subprocess.CalledProcessError):
        lab.clone.git("merge", "--ff-only", "origin/main")


def stashed(lab: Lab, _: object) -> bool:
    shown = lab.clone.git("stash", "show", "-p", "--include-untracked")
    return "+print('my edit')" in shown and "+my notes" in shown


def detached(lab: Lab) -> str:
    lab.clone.git("checkout", "--quiet", "--detach", "HEAD~1")
    commit = lab.clone.commit("tried something", tried_py="y = 2\n")
    lab.world.advance(WINDOW)
    return commit


def wrong_branch(lab: Lab) -> str:
    lab.clone.git("checkout", "--quiet", "-b", "feature")
    lab.clone.git("branch", "--quiet", "--delete", "main")
    return lab.clone.commit("a feature", feature_py="z = 3\n")


def power_cut(lab: Lab) -> None:
    (lab.clone.path / "notes.txt").write_text("my notes\n")
    lab.world.advance(WINDOW)
    (lab.clone.path / ".git" / "HEAD").write_bytes(b"")


def owned_by_another(lab: Lab) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    power_cut(lab)
    (lab.clone.path / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    for path in [lab.clone.path, *lab.clone.path.rglob("*")]:
        os.chown(path, NOBODY, NOBODY)


def old_clone_is_there(lab: Lab, _: object) -> bool:
    [old] = lab.clone.path.parent.glob("orchestrator.old-*")
    return (old / "notes.txt").read_text() == "my notes\n" and (old / ".git" / "objects").is_dir()


def always(lab: Lab, _: object) -> bool:
    return True


def commit_is_kept(lab: Lab, commit: object) -> bool:
    return lab.is_kept(str(commit))


STUCK = {
    "A behind": Stuck(behind, "behind", ["A"], always),
    "B local commit": Stuck(local_commit, "not-on-branch", ["B"], commit_is_kept),
    "C local commit on an old state": Stuck(local_commit_and_behind, "not-on-branch", ["C"], commit_is_kept),
    "C force-push": Stuck(force_pushed, "not-on-branch", ["C"], commit_is_kept),
    "D then C": Stuck(force_pushed_and_edited, "not-on-branch", ["D", "C"], commit_is_kept),
    "D dirty": Stuck(dirty, "behind", ["D", "A"], stashed),
    "E detached": Stuck(detached, "not-on-branch", ["E", "A"], commit_is_kept),
    "E wrong branch": Stuck(wrong_branch, "not-on-branch", ["E"], commit_is_kept),
    "F power cut": Stuck(power_cut, "behind", ["F"], old_clone_is_there),
    "F another's": Stuck(owned_by_another, "behind", ["F"], old_clone_is_there),
}


@pytest.fixture(scope="module")
def gated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    """A receiver with the gate on, which reads the clone `receiver.git` of whichever lab is at it."""
    need("git")
    folder = tmp_path_factory.mktemp("gated")
    clone = folder / "world" / "receiver.git"
    with running(folder, gate_enabled=True, gate_repo=clone, gate_window=WINDOW, workers=1) as started:
        yield started


@pytest.fixture
def lab(gated: Receiver) -> Iterator[Lab]:
    folder = gated.data_dir.parent / "world"
    (gated.data_dir / "gate.json").unlink(missing_ok=True)
    yield Lab(folder, gated)
    shutil.rmtree(folder)


def wait_for(lab: Lab, commit: str, code: str | None) -> None:
    """Until the receiver has taken the snapshot up that says `code` to `commit`."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        answer = lab.receiver.request(
            "POST",
            "/v1/ping",
            headers={"Authorization": f"Bearer {TOKEN}", "X-Cis490-Code-Commit": commit},
        )
        if answer.json.get("code") == code:
            return
    raise AssertionError(f"{commit} is never told {code}: {answer.json}")


@pytest.mark.parametrize("stuck", STUCK.values(), ids=STUCK)
def test_a_stuck_host_finds_its_branch_and_ships_again(lab: Lab, stuck: Stuck) -> None:
    wait_for(lab, lab.known_commit, None)
    left = stuck.make(lab)
    broken = stuck.branches == ["F"]
    commit = lab.known_commit if broken else lab.clone.head()
    lab.refresh()
    wait_for(lab, lab.world.upstream.head("main"), None)
    status, refusal = lab.ship(commit)
    assert (status, refusal["your_commit"], refusal["reason"]) == (412, commit, stuck.reason)
    assert (refusal["valid_window_size"], refusal["see_also"]) == (WINDOW, "FIXYOURSELF.md")
    assert refusal["head_commit"] == lab.world.upstream.head("main")

    told = lab.shell(GUIDE.check_commands)
    assert "OK   gate" not in told
    assert ("FAIL gate" in told and remedies.SEE_ALSO in told) or "F: " in told
    assert lab.walk() == stuck.branches
    assert stuck.kept(lab, left)

    checked = lab.shell(GUIDE.check_commands).splitlines()
    assert checked[0] == "## main...origin/main"
    assert re.fullmatch("[0-9a-f]{40}", checked[1])
    assert re.search(rf"^OK   gate .* {checked[1][:12]}$", "\n".join(checked[2:]), re.MULTILINE)
    assert lab.ship(checked[1])[0] == 201
    assert lab.clone.head() == lab.world.upstream.head("main")


def test_a_remote_that_is_away_is_not_taken_for_a_broken_clone(lab: Lab) -> None:
    lab.clone.git("remote", "set-url", "origin", "http://127.0.0.1:1/orchestrator.git")
    assert GUIDE.recognise(lab.shell(GUIDE.recognise_commands)) == "elsewhere"


def test_a_branch_that_the_maintainer_renamed_is_not_the_students_to_mend(lab: Lab) -> None:
    lab.world.upstream.git("branch", "--move", "main", "trunk")
    assert GUIDE.recognise(lab.shell(GUIDE.recognise_commands)) == "elsewhere"


def test_every_branch_of_the_table_is_walked_and_nothing_in_them_can_lose_work() -> None:
    named = {row.branch for row in GUIDE.rows} - {"fine", "elsewhere"}
    assert named == set("ABCDEF") == {letter for stuck in STUCK.values() for letter in stuck.branches}
    scripts = "".join(commands(GUIDE.text))
    for danger in ("--hard", "clean", "--force", "rm ", "checkout", "drop", "branch -D"):
        assert danger not in scripts
    for link in re.findall(r"\]\(#([a-z0-9-]+)\)", GUIDE.text):
        headings = re.findall(r"^## (.*)$", GUIDE.text, re.MULTILINE)
        assert link in {re.sub(r"[^a-z0-9 -]", "", text.lower()).replace(" ", "-") for text in headings}


def test_the_refusals_name_steps_and_branches_that_exist() -> None:
    texts = [
        remedies.MISSING,
        remedies.MALFORMED,
        remedies.behind("main", 1, 3),
        remedies.foreign("main", "T"),
    ]
    for text in texts:
        assert "FIXYOURSELF.md" in text and "step 1" in text
    assert section(GUIDE.text, "1. Find your branch")
    assert "branch A is a clone that is merely behind" in texts[2] and section(GUIDE.text, "A. Behind")
    assert "branches B to E" in texts[3]
    assert "1 commit older" in texts[2] and "origin/main" in texts[2]


def test_the_command_in_the_refusal_of_a_host_that_is_behind_is_the_cure(lab: Lab) -> None:
    commit = lab.clone.head()
    behind(lab)
    lab.refresh()
    wait_for(lab, commit, "commit-rejected")
    remediation = str(lab.ship(commit)[1]["remediation"])
    assert "only the newest 3 are accepted" in remediation and "3 commits older" in remediation
    lab.shell(re.findall(r"`([^`]+)`", remediation)[0])
    assert lab.ship(lab.clone.head())[0] == 201


def test_a_commit_pushed_after_the_refresh_is_told_to_wait(lab: Lab) -> None:
    commit = lab.world.advance()
    wait_for(lab, lab.known_commit, None)
    status, refusal = lab.ship(commit)
    assert (status, refusal["reason"]) == (412, "not-on-branch")
    assert "just retry in ten minutes" in str(refusal["remediation"])
    lab.refresh()
    wait_for(lab, commit, None)
    assert lab.ship(commit)[0] == 201
