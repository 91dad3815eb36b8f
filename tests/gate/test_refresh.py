"""gate-refresh on real git: what it reads, what it refuses to read, and that a failure changes nothing."""

from __future__ import annotations

import json
import os
import re
import resource
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cis490_receiver.git.clone import command_to_make
from cis490_receiver.git.failures import GitTimeout
from cis490_receiver.upkeep.gate_clone import GateClone
from tests.conftest import need
from tests.gate.repos import Repo, World, git_environment, run_command

WINDOW = 3
OPERATIONS = (Path(__file__).resolve().parents[2] / "docs" / "operations.md").read_text()


class Refresher:
    """A data folder and a clone for gate-refresh."""

    def __init__(self, world: World, clone: Path) -> None:
        self.world = world
        self.data_dir = world.folder / "data"
        self.data_dir.mkdir()
        self.settings: dict[str, object] = {
            "data_dir": self.data_dir,
            "gate_repo": clone,
            "gate_window": WINDOW,
        }

    def run(self, *arguments: str, environment: dict[str, str] | None = None, **settings: object) -> Any:
        home = {"HOME": str(self.world.folder), "GIT_CONFIG_NOSYSTEM": "1"}
        return run_command(
            "gate-refresh",
            *arguments,
            environment=home | (environment or {}),
            **(self.settings | settings),
        )

    def refresh(self, *arguments: str, **settings: object) -> dict[str, Any]:
        """Run it for success; gives the snapshot."""
        done = self.run(*arguments, **settings)
        assert done.returncode == 0, done.stderr
        return self.snapshot()

    def snapshot(self) -> dict[str, Any]:
        data: dict[str, Any] = json.loads((self.data_dir / "gate.json").read_text())
        return data

    def ids(self) -> list[str]:
        return [item["commit"] for item in self.snapshot()["commits"]]


@pytest.fixture
def world(tmp_path: Path) -> World:
    need("git")
    return World(tmp_path / "world")


@pytest.fixture(params=["bare", "mirror", "ordinary"])
def any_clone(world: World, request: pytest.FixtureRequest) -> Refresher:
    options = {"bare": ["--bare"], "mirror": ["--mirror"], "ordinary": []}[request.param]
    return Refresher(world, world.clone("clone", *options).path)


@pytest.fixture
def bare(world: World) -> Refresher:
    return Refresher(world, world.clone("clone.git", "--bare").path)


def test_the_last_commits_in_order_with_what_people_know_them_by(any_clone: Refresher) -> None:
    head = any_clone.world.advance(2)
    assert any_clone.refresh()["head"] != head, "nothing is fetched unasked"
    snapshot = any_clone.refresh("--fetch")
    log = any_clone.world.maintainer.git("log", "--format=%H%n%cI%n%s").splitlines()
    assert [
        text for item in snapshot["commits"] for text in (item["commit"], item["date"], item["subject"])
    ] == log[: 3 * WINDOW]
    assert snapshot["older"] == log[3 * WINDOW :: 3]
    assert (snapshot["head"], snapshot["ref"], snapshot["window"]) == (head, "origin/main", WINDOW)
    assert snapshot["repo"] == str(any_clone.settings["gate_repo"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", snapshot["refreshed_at_wall"])
    assert (any_clone.data_dir / "gate.json").stat().st_mode & 0o777 == 0o640


def test_the_page_and_the_messages_make_the_same_clone() -> None:
    path = Path("/var/lib/cis490-receiver/orchestrator.git")
    assert f"-- {command_to_make(path)}\n".replace("<url>", "URL") in OPERATIONS


def test_a_force_push_is_followed(any_clone: Refresher) -> None:
    old = any_clone.refresh("--fetch")["head"]
    any_clone.world.maintainer.git("reset", "--quiet", "--hard", "HEAD~2")
    new = any_clone.world.advance()
    snapshot = any_clone.refresh("--fetch")
    assert snapshot["head"] == new
    assert old not in any_clone.ids() + snapshot["older"]


def test_a_renamed_branch_is_followed_by_head_and_never_by_a_stale_copy(any_clone: Refresher) -> None:
    any_clone.refresh("--fetch")
    any_clone.world.upstream.git("branch", "--move", "main", "trunk")
    any_clone.world.maintainer.git("push", "--quiet", "origin", "HEAD:trunk")
    new = any_clone.world.maintainer.commit("on trunk")
    any_clone.world.maintainer.git("push", "--quiet", "origin", "HEAD:trunk")
    kept = any_clone.snapshot()
    done = any_clone.run("--fetch")
    assert done.returncode == 2
    assert "gate_ref is origin/main" in done.stderr and "trunk" in done.stderr
    assert any_clone.snapshot() == kept
    assert any_clone.refresh("--fetch", gate_ref="origin/HEAD")["head"] == new
    assert any_clone.refresh(gate_ref="origin/trunk")["head"] == new


def test_what_entered_and_left_is_told_and_a_dry_run_writes_nothing(bare: Refresher) -> None:
    bare.refresh()
    before = bare.ids()
    written = (bare.data_dir / "gate.json").read_bytes()
    new = bare.world.advance()
    dry = bare.run("--fetch", "--dry-run")
    assert (dry.returncode, (bare.data_dir / "gate.json").read_bytes()) == (0, written)
    assert "not written (dry run)" in dry.stdout
    wet = bare.run()
    assert [line.split()[:2] for line in wet.stdout.splitlines()[1:]] == [
        ["+", new[:12]],
        ["-", before[-1][:12]],
    ]
    assert dry.stdout.splitlines()[1:] == wet.stdout.splitlines()[1:]
    again = json.loads(bare.run("--json").stdout)
    assert (again["entered"], again["left"], again["head"], again["accepted"]) == ([], [], new, WINDOW)


def test_show_and_check_speak_of_the_same_window(bare: Refresher) -> None:
    bare.refresh()
    *accepted, extra = [*bare.ids(), "e" * 40]
    settings = bare.settings | {"gate_extra_commits": extra.upper()}
    shown = run_command("gate-show", **settings)
    assert shown.returncode == 0
    assert "read 0 min ago" in shown.stdout and "gate off" in shown.stdout
    for commit in [*accepted, extra]:
        assert commit[:12] in shown.stdout
        assert run_command("gate-check", f" {commit.upper()} ", **settings).returncode == 0
    behind = run_command("gate-check", bare.snapshot()["older"][0], "--json", **settings)
    answer = json.loads(behind.stdout)
    assert (behind.returncode, answer["code"], answer["commits_behind"]) == (1, "commit-rejected", WINDOW)
    foreign = run_command("gate-check", "f" * 40, **settings)
    assert foreign.returncode == 1 and "FIXYOURSELF.md" in foreign.stdout
    snapshot = bare.snapshot()
    snapshot["refreshed_at_ns"] -= 25 * 3600 * 10**9
    (bare.data_dir / "gate.json").write_text(json.dumps(snapshot))
    old = run_command("gate-show", "--json", **settings)
    assert (old.returncode, json.loads(old.stdout)["too_old"]) == (1, True)
    (bare.data_dir / "gate.json").unlink()
    for missing in (["gate-show"], ["gate-check", "f" * 40]):
        assert run_command(*missing, **settings).returncode == 1


Break = Callable[[Refresher], dict[str, Any]]


def no_git(_: Refresher) -> dict[str, Any]:
    return {"environment": {"PATH": "/nowhere"}}


def no_repo(bare: Refresher) -> dict[str, Any]:
    return {"gate_repo": bare.world.folder / "elsewhere"}


def no_repo_in_it(bare: Refresher) -> dict[str, Any]:
    # A folder inside of a work tree is not a clone, though git alone would find the one around it.
    inner = bare.world.maintainer.path / "inner"
    inner.mkdir()
    return {"gate_repo": inner}


def no_ref(_: Refresher) -> dict[str, Any]:
    return {"gate_ref": "origin/nosuch"}


def an_option_for_a_ref(_: Refresher) -> dict[str, Any]:
    return {"gate_ref": "--all"}


def not_ours(bare: Refresher) -> dict[str, Any]:
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    path = Path(str(bare.settings["gate_repo"]))
    os.chown(path, 65534, 65534)
    return {}


def no_commits(bare: Refresher) -> dict[str, Any]:
    Repo(bare.world.folder).git("init", "--quiet", "--bare", "empty.git")
    return {"gate_repo": bare.world.folder / "empty.git"}


def no_remote(bare: Refresher) -> dict[str, Any]:
    Repo(Path(str(bare.settings["gate_repo"]))).git("remote", "remove", "origin")
    return {"arguments": ["--fetch"]}


def sha256_ids(bare: Refresher) -> dict[str, Any]:
    Repo(bare.world.folder).git("init", "--quiet", "--object-format=sha256", "long")
    long = Repo(bare.world.folder / "long")
    long.commit("one")
    return {"gate_repo": long.path}


def remote_away(bare: Refresher) -> dict[str, Any]:
    url = "http://reader:s3cret@127.0.0.1:1/orchestrator.git"
    Repo(Path(str(bare.settings["gate_repo"]))).git("remote", "set-url", "origin", url)
    return {"arguments": ["--fetch"]}


def remote_gone(bare: Refresher) -> dict[str, Any]:
    bare.world.upstream.path.rename(bare.world.folder / "moved")
    return {"arguments": ["--fetch"]}


def objects_lost(bare: Refresher) -> dict[str, Any]:
    for path in (Path(str(bare.settings["gate_repo"])) / "objects").rglob("*"):
        if path.is_file():
            path.unlink()
    return {}


FAILURES: dict[str, tuple[Break, int, str]] = {
    "git missing": (no_git, 2, "git is not installed"),
    "repo missing": (no_repo, 2, "not a folder; make the clone: git clone --bare"),
    "not a repo": (no_repo_in_it, 2, "not a git repository"),
    "ref missing": (no_ref, 2, "gate_ref is origin/nosuch, which"),
    "ref is an option": (an_option_for_a_ref, 2, "gate_ref is --all, which"),
    "dubious ownership": (not_ours, 2, "git config --system --add safe.directory"),
    "empty window": (no_commits, 2, "has no commits, and an empty list would refuse everybody"),
    "no remote": (no_remote, 2, "has no remote to fetch from"),
    "SHA-256": (sha256_ids, 2, "names commits by 64 digits"),
    "fetch: nobody there": (remote_away, 1, "git fetch origin failed: unable to access 'http://127.0.0.1:1/"),
    "fetch: no such repository": (remote_gone, 1, "does not appear to be a git repository"),
    "objects lost": (objects_lost, 2, "main in "),
}


@pytest.mark.parametrize(("fail", "status", "message"), FAILURES.values(), ids=FAILURES)
def test_each_failure_has_its_message_and_status_and_keeps_the_old_list(
    bare: Refresher, fail: Break, status: int, message: str
) -> None:
    bare.refresh()
    kept = (bare.data_dir / "gate.json").read_bytes()
    options = fail(bare)
    arguments = options.pop("arguments", [])
    done = bare.run(*arguments, **options)
    assert done.returncode == status, done.stderr
    assert message in done.stderr and "the list in force stays" in done.stderr
    assert len(done.stderr.splitlines()) == 1 and "Traceback" not in done.stderr
    assert "s3cret" not in done.stderr
    assert (bare.data_dir / "gate.json").read_bytes() == kept
    assert {path.name for path in bare.data_dir.iterdir()} == {"gate.json"}
    code = json.loads(bare.run(*arguments, "--json", **options).stdout)["code"]
    assert re.fullmatch("[a-z-]+", code)


def test_a_wrong_configuration_is_said_before_git_is_asked(bare: Refresher) -> None:
    for settings, words in (
        ({"gate_window": 0}, "gate_window"),
        ({"data_dir": bare.world.folder / "nosuch"}, "data_dir"),
    ):
        done = bare.run(**settings)
        assert done.returncode == 2 and words in done.stderr
    del bare.settings["gate_repo"]
    assert "gate_repo is not set" in bare.run().stderr
    if os.geteuid() == 0:
        os.chown(bare.data_dir, 65534, 65534)
        done = bare.run(gate_repo=bare.world.upstream.path)
        assert done.returncode == 2 and "sudo -u 'nobody' cis490-receiver gate-refresh" in done.stderr


def test_a_list_that_cannot_be_written_is_said_and_not_half_written(bare: Refresher) -> None:
    bare.refresh()
    kept = (bare.data_dir / "gate.json").read_bytes()
    bare.world.advance()
    (bare.data_dir / ".gate.json.tmp").mkdir()
    done = bare.run("--fetch")
    assert done.returncode == 1 and "cannot write" in done.stderr
    assert (bare.data_dir / "gate.json").read_bytes() == kept


def test_the_callers_git_environment_does_not_matter(bare: Refresher) -> None:
    decoy = World(bare.world.folder / "decoy", commits=1)
    hostile = {
        "GIT_DIR": str(decoy.upstream.path),
        "GIT_WORK_TREE": str(decoy.folder),
        "GIT_OBJECT_DIRECTORY": str(decoy.upstream.path / "objects"),
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "remote.origin.url",
        "GIT_CONFIG_VALUE_0": str(decoy.upstream.path),
        "GIT_EXEC_PATH": "/nowhere",
        "GIT_TRACE": "1",
        "LC_ALL": "de_DE.UTF-8",
    }
    head = bare.world.advance()
    assert bare.run("--fetch", environment=hostile).returncode == 0
    assert bare.snapshot()["head"] == head


def sign_head(world: World) -> None:
    """Push a commit with a signature, which git would have the configured program look at."""
    author = f"tree {world.maintainer.head('HEAD^{tree}')}\nauthor A <a@b> 1700000000 +0000\n"
    signature = "gpgsig -----BEGIN PGP SIGNATURE-----\n \n wsBcBAAB\n -----END PGP SIGNATURE-----\n"
    text = author + "committer A <a@b> 1700000000 +0000\n" + signature + "\nsigned\n"
    path = world.folder / "signed"
    path.write_text(text)
    commit = world.maintainer.git("hash-object", "-t", "commit", "-w", str(path))
    world.maintainer.git("push", "--quiet", "--force", "origin", f"{commit}:refs/heads/main")


def test_nothing_that_the_clone_names_is_run(world: World) -> None:
    clone = world.clone("clone")
    refresher = Refresher(world, clone.path)
    mark = world.folder / "ran"
    script = world.folder / "script"
    script.write_text(f"#!/bin/sh\ntouch {mark}\n")
    script.chmod(0o755)
    hooks = clone.path / ".git" / "hooks"
    for name in ("reference-transaction", "post-merge", "pre-auto-gc", "post-checkout"):
        (hooks / name).unlink(missing_ok=True)
        (hooks / name).symlink_to(script)
    for key in ("core.fsmonitor", "core.sshCommand", "gpg.program", "core.pager", "core.editor"):
        clone.git("config", key, str(script))
    clone.git("config", "log.showSignature", "true")
    clone.git("config", "gc.auto", "1")
    world.advance()
    sign_head(world)
    # The trap works: git itself springs it.
    subprocess.run(
        ["git", "-C", clone.path, "update-ref", "refs/heads/x", "HEAD"],
        env=git_environment(world.folder),
        check=True,
    )
    assert mark.exists()
    mark.unlink()
    refresher.refresh("--fetch")
    assert not mark.exists()
    clone.git("-c", "core.hooksPath=/dev/null", "remote", "set-url", "origin", f"ext::{script}")
    assert refresher.run("--fetch").returncode == 1
    clone.git("-c", "core.hooksPath=/dev/null", "remote", "set-url", "origin", "ssh://127.0.0.1:1/x")
    assert refresher.run("--fetch").returncode == 1
    assert not mark.exists()


def test_a_subject_cannot_move_the_cursor_and_survives_the_clones_encoding(bare: Refresher) -> None:
    Repo(Path(str(bare.settings["gate_repo"]))).git("config", "i18n.logOutputEncoding", "ISO-8859-1")
    bare.world.maintainer.commit("caf\xe9 \x1b[2J\x1f|")
    bare.world.maintainer.git("push", "--quiet", "origin", "HEAD:main")
    shown = bare.run("--fetch")
    assert shown.returncode == 0 and "\x1b" not in shown.stdout
    assert bare.snapshot()["commits"][0]["subject"] == "caf\xe9 \x1b[2J\x1f|"


@pytest.fixture
def silent_server() -> Iterator[int]:
    """A port where connections are accepted and never answered."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def speaks_to(process: Path, port: int) -> bool:
    """Whether a process of /proc has the server's address among its arguments; one that ended has none."""
    try:
        return f":{port}/".encode() in (process / "cmdline").read_bytes()
    except OSError:
        return False


def test_a_remote_that_never_answers_is_given_up_with_all_that_git_started(
    bare: Refresher, silent_server: int
) -> None:
    path = Path(str(bare.settings["gate_repo"]))
    Repo(path).git("remote", "set-url", "origin", f"http://127.0.0.1:{silent_server}/x.git")
    with pytest.raises(GitTimeout):
        GateClone(path, fetch_seconds=0.7).fetch("origin/main")
    deadline = time.monotonic() + 5
    while left := [process for process in Path("/proc").glob("[0-9]*") if speaks_to(process, silent_server)]:
        assert time.monotonic() < deadline, left


def test_five_thousand_commits_cost_well_under_a_second(world: World) -> None:
    big = world.folder / "big.git"
    Repo(world.folder).git("init", "--quiet", "--bare", str(big))
    stream = "".join(
        f"commit refs/heads/main\ncommitter A <a@b> {1_600_000_000 + number} +0000\ndata 6\n{number:06d}\n"
        for number in range(5000)
    )
    subprocess.run(
        ["git", "-C", big, "fast-import", "--quiet"],
        input=stream.encode(),
        env=git_environment(world.folder),
        check=True,
    )
    refresher = Refresher(world, big)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    snapshot = refresher.refresh(gate_window=50)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (len(snapshot["commits"]), len(snapshot["older"])) == (50, 4950)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.0
