"""How a clone stands, and when it is left alone: on real clones, in the words of FIXYOURSELF.md."""

from __future__ import annotations

import os
import pickle
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cis490_receiver.client.clone import PAGE, Clone, Standing, remedy
from tests.client.hosts import Lab
from tests.conftest import need
from tests.gate.repos import Repo, World

FIXYOURSELF = (Path(__file__).resolve().parents[2] / "FIXYOURSELF.md").read_text()


def behind(world: World, _clone: Repo) -> None:
    world.advance(3)


def on_top(_world: World, clone: Repo) -> None:
    clone.commit("my tuning", mine_py="x = 1\n")


def diverged(world: World, clone: Repo) -> None:
    """The maintainer rewrote what the clone has."""
    world.maintainer.git("reset", "--quiet", "--hard", "HEAD~2")
    world.advance(3)


def dirty(_world: World, clone: Repo) -> None:
    (clone.path / "recorder.py").write_text("an edit\n")


def new_file(_world: World, clone: Repo) -> None:
    (clone.path / "notes.txt").write_text("remember\n")


def other_branch(_world: World, clone: Repo) -> None:
    clone.git("switch", "--quiet", "--create", "try-out")


def detached(_world: World, clone: Repo) -> None:
    clone.git("checkout", "--quiet", "HEAD~1")


def torn_object(_world: World, clone: Repo) -> None:
    """What a power cut leaves: an empty file for the commit that HEAD names."""
    head = clone.head()
    path = clone.path / ".git" / "objects" / head[:2] / head[2:]
    path.chmod(0o644)
    path.write_bytes(b"")


def no_head(_world: World, clone: Repo) -> None:
    (clone.path / ".git" / "HEAD").write_bytes(b"")


def no_remote(_world: World, clone: Repo) -> None:
    clone.git("config", "--remove-section", "remote.origin")


def gone(_world: World, clone: Repo) -> None:
    shutil.rmtree(clone.path)


def roots_files(_world: World, clone: Repo) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    os.chown(clone.path, 65534, 65534)


def behind_and_dirty(world: World, clone: Repo) -> None:
    behind(world, clone)
    dirty(world, clone)


def behind_and_new_file(world: World, clone: Repo) -> None:
    behind(world, clone)
    new_file(world, clone)


def nothing(_world: World, _clone: Repo) -> None:
    pass


def renamed_upstream(world: World, _clone: Repo) -> None:
    world.upstream.git("branch", "--move", "main", "trunk")


CASES = {
    nothing: "",
    behind: "A",
    on_top: "B",
    diverged: "C",
    dirty: "D",
    new_file: "D",
    behind_and_dirty: "DA",
    behind_and_new_file: "DA",
    other_branch: "E",
    detached: "E",
    torn_object: "F",
    no_head: "F",
    no_remote: "F",
    gone: "F",
    roots_files: "F",
}
UPDATED = (behind, behind_and_new_file)


@pytest.fixture
def world(tmp_path: Path) -> World:
    need("git")
    return World(tmp_path / "world")


def picture(folder: Path) -> dict[str, bytes]:
    """The work tree's files, and what is checked out."""
    files = {str(path): path.read_bytes() for path in folder.glob("*") if path.is_file()}
    for name in ("HEAD", "refs/heads/main"):
        path = folder / ".git" / name
        files[name] = path.read_bytes() if path.exists() else b""
    return files


@pytest.mark.parametrize("make", CASES, ids=lambda make: make.__name__)
def test_each_trouble_is_named_and_only_a_clone_that_is_behind_is_moved(
    world: World, make: Callable[[World, Repo], None]
) -> None:
    repo = world.clone("lab")
    make(world, repo)
    clone = Clone(repo.path, "origin/main")
    standing = clone.look()
    assert standing.branches == CASES[make], standing
    for letter in standing.branches:
        assert f"\n## {letter}. " in FIXYOURSELF
    assert remedy(standing).startswith(f"{PAGE}, branch {standing.branches[0]}" if standing.branches else "")
    before = picture(repo.path)
    after, said = clone.fast_forward()
    if make in UPDATED:
        assert (repo.head(), said.startswith("updated from ")) == (world.maintainer.head(), True)
        assert after.branches == CASES[make].replace("A", "")
    else:
        assert picture(repo.path) == before
        assert said == "up to date" if make is nothing else said.startswith("left alone: ")
        assert not standing.branches or f"branch {standing.branches[0]}" in said


def test_a_branch_that_is_gone_and_a_remote_that_is_away_are_not_the_hosts_fault(world: World) -> None:
    repo = world.clone("lab")
    clone = Clone(repo.path, "origin/main")
    away = world.upstream.path.rename(world.folder / "away.git")
    repo.git("remote", "set-url", "origin", "http://127.0.0.1:1/upstream.git")
    standing = clone.look()
    assert (standing.branches, "cannot be reached" in standing.note) == ("", True)
    away.rename(world.upstream.path)
    repo.git("remote", "set-url", "origin", str(world.upstream.path))
    renamed_upstream(world, repo)
    standing = clone.look()
    assert (standing.branches, remedy(standing)) == ("", "tell the maintainer")
    assert "renamed or removed" in standing.findings[0].seen


def test_who_does_not_own_the_clone_believes_what_its_owner_asked_today() -> None:
    need("git")
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder) / "world")
        Path(folder).chmod(0o755)
        repo = world.clone("lab")
        clone = Clone(repo.path, "origin/main")
        clone.look()
        fetched = repo.path / ".git" / "FETCH_HEAD"
        assert as_nobody(clone.look) == Standing((), repo.head())
        os.utime(fetched, (time.time() - 90_000,) * 2)
        assert "25 hours ago" in as_nobody(clone.look).note
        fetched.unlink()
        assert "never asked" in as_nobody(clone.look).note
        assert "left alone" not in clone.fast_forward()[1]


def as_nobody(look: Callable[[], Standing]) -> Standing:
    """What `look` gives in a process of user nobody."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        os.write(writing, pickle.dumps(look()))
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as stream:
        told = stream.read()
    assert os.waitpid(child, 0)[1] == 0
    standing = pickle.loads(told)
    assert isinstance(standing, Standing)
    return standing


def test_an_update_by_root_leaves_nothing_that_the_owner_could_not_mend(tmp_path: Path) -> None:
    need("git")
    if os.geteuid() != 0:
        pytest.skip("needs root")
    # Where another user can come: the folders of pytest are closed to others.
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder) / "world")
        Path(folder).chmod(0o755)
        repo = world.clone("lab")
        for path in (repo.path, *repo.path.rglob("*")):
            os.chown(path, 65534, 65534, follow_symlinks=False)
        behind(world, repo)
        for path in (world.upstream.path, *world.upstream.path.rglob("*")):
            os.chown(path, 65534, 65534, follow_symlinks=False)
        _, said = Clone(repo.path, "origin/main").fast_forward()
        assert said.startswith("updated from "), said
        assert {path.lstat().st_uid for path in (repo.path, *repo.path.rglob("*"))} == {65534}


def test_autoupdate_says_what_it_did(world: World, tmp_path: Path) -> None:
    repo = world.clone("lab")
    lab = Lab(tmp_path / "host", "http://127.0.0.1:1", orchestrator_dir=repo.path)
    done = lab.run("cis490-shipper", "autoupdate")
    assert (done.returncode, "up to date" in done.stdout) == (0, True)
    behind(world, repo)
    done = lab.run("cis490-shipper", "autoupdate")
    assert (done.returncode, "updated from" in done.stdout) == (0, True)
    diverged(world, repo)
    done = lab.run("cis490-shipper", "autoupdate")
    assert done.returncode == 1
    assert "left alone: " in done.stdout and "FIXYOURSELF.md, branch C" in done.stdout
