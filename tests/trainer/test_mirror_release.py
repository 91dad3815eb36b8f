"""mirror --release: exactly the episodes of a release, and its table, proven by its SHA-256."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from cis490_receiver.trainer import Dataset
from tests.integration.test_withdrawals import run as on_receiver
from tests.support.archives import make_episode
from tests.support.receiver import Receiver
from tests.trainer.test_mirror import files, mirror, ship


@pytest.fixture
def made(receiver: Receiver) -> dict[str, Any]:
    """A release of eight episodes, and what came and went since."""
    ship(receiver, 8)
    release: dict[str, Any] = json.loads(on_receiver(receiver.data_dir, "release", "create", "r", "--json"))
    ship(receiver, 4, first=8)
    on_receiver(receiver.data_dir, "withdraw", "h1/e1", "h1/e9", "--why", "late")
    return release


def named(folder: Path) -> set[str]:
    return {Path(path).name.removesuffix(".tar.zst") for path in files(folder)}


def test_it_fetches_exactly_the_release(
    receiver: Receiver, made: dict[str, Any], tmp_path: Path, token_file: Path
) -> None:
    folder = tmp_path / "m"
    told = mirror(receiver, folder, token_file, "--release", "r", "--sha256", made["sha256"])
    assert (told["present"], told["fetched"], told["withdrawn_since"], told["failed"]) == (8, 8, 1, {})
    assert told["sha256"] == made["sha256"] and told["release"] == "r"
    assert named(folder) == {f"e{number}" for number in range(8)}
    assert files(folder).items() <= files(receiver.data_dir).items()
    table = folder / "releases" / "r.jsonl"
    assert table.read_bytes() == (receiver.data_dir / "releases" / "r.jsonl").read_bytes()
    assert hashlib.sha256(table.read_bytes()).hexdigest() == made["sha256"]
    assert json.loads((folder / "releases" / "r.json").read_text())["sha256"] == made["sha256"]
    # Nothing is hashed again, nor fetched, until it is asked for.
    inode, victim = table.stat().st_ino, folder / "episodes" / "h2" / "e2.tar.zst"
    victim.write_bytes(bytes(victim.stat().st_size))
    assert mirror(receiver, folder, token_file, "--release", "r.jsonl")["fetched"] == 0
    assert mirror(receiver, folder, token_file, "--release", "r", "--check")["fetched"] == 1
    victim.unlink()
    assert mirror(receiver, folder, token_file, "--release", "r")["fetched"] == 1
    assert table.stat().st_ino == inode


def test_beside_a_mirror_of_all_nothing_is_moved_or_lost(
    receiver: Receiver, made: dict[str, Any], tmp_path: Path, token_file: Path
) -> None:
    folder = tmp_path / "m"
    mirror(receiver, folder, token_file, "--release", "r")
    whole = mirror(receiver, folder, token_file)
    assert (whole["present"], whole["withdrawn"]) == (10, 1)
    index, there = (folder / "index.jsonl").read_bytes(), files(folder)
    told = mirror(receiver, folder, token_file, "--release", "r")
    assert (told["present"], told["fetched"], told["withdrawn_since"]) == (8, 0, 1)
    assert (folder / "withdrawn" / "h1" / "e1.tar.zst").exists()
    assert (folder / "index.jsonl").read_bytes() == index and files(folder) == there
    with pytest.warns(UserWarning, match="1 episode"):
        found = {episode.episode_id: episode.path().read_bytes() for episode in Dataset(folder, release="r")}
    assert found == {f"e{number}": make_episode(number, size=5000).data for number in range(8)}
    assert mirror(receiver, folder, token_file)["fetched"] == 0


def test_what_is_missing_is_said(
    receiver: Receiver, made: dict[str, Any], tmp_path: Path, token_file: Path
) -> None:
    folder = tmp_path / "m"
    (receiver.data_dir / "episodes" / "h3" / "e3.tar.zst").unlink()
    told = mirror(receiver, folder, token_file, "--release", "r", status=1)
    assert (told["present"], list(told["failed"])) == (7, ["h3/e3"])
    # Another table of that name is not taken for it, whoever has it.
    assert (
        "and not 000"
        in mirror(receiver, folder, token_file, "--release", "r", "--sha256", "0" * 64, status=1)["error"]
    )
    assert "no release none" in mirror(receiver, folder, token_file, "--release", "none", status=1)["error"]
    table = folder / "releases" / "r.jsonl"
    table.chmod(0o640)
    table.write_bytes(table.read_bytes()[1:])
    assert "delete it" in mirror(receiver, folder, token_file, "--release", "r", status=1)["error"]
    of_release = ["--release", "r"]
    for words in (
        [*of_release, "--host", "h1"],
        ["--sha256", "0" * 64],
        ["--release", "../r"],
        [*of_release, "--sha256", "x"],
    ):
        assert mirror(receiver, folder, token_file, *words, status=2)["code"] == "bad-usage"


def test_a_table_that_is_not_what_is_said_is_not_kept(
    receiver: Receiver, made: dict[str, Any], tmp_path: Path, token_file: Path
) -> None:
    table = receiver.data_dir / "releases" / "r.jsonl"
    table.chmod(0o640)
    table.write_bytes(table.read_bytes().replace(b'"e0"', b'"e9"'))
    folder = tmp_path / "m"
    assert (
        "did not come as it is" in mirror(receiver, folder, token_file, "--release", "r", status=1)["error"]
    )
    assert [path.name for path in (folder / "releases").iterdir()] in ([], [".new.jsonl"]) and files(
        folder
    ) == {}
