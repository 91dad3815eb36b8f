"""config says what is in force, and with --explain all that there is to know of each key."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from cis490_receiver.config import TABLE
from cis490_receiver.configuration.keys import size, written_size
from tests.commands.running import answer, run

SECRET = "0123456789abcdef-never-shown"


def test_each_key_has_its_value_default_range_source_and_meaning(tmp_path: Path) -> None:
    token, file = tmp_path / "token", tmp_path / "receiver.toml"
    token.write_text(SECRET)
    file.write_text(f"gate_window = 7\nmax_episode_bytes = '2GiB'\nbearer_token_file = '{token}'\n")
    done = run("config", "--explain", "--json", config=file, gate_window=9)
    keys = answer(done)
    assert list(keys) == list(TABLE.keys)
    assert keys["gate_window"] == {
        "value": 9,
        "written": 9,
        "default": 50,
        "allowed": "a whole number from 1 to 100000",
        "source": "the environment (CIS490_GATE_WINDOW)",
        "required": False,
        "doc": "how many of its last commits are accepted",
    }
    most = keys["max_episode_bytes"]
    assert (most["value"], most["written"], most["default"], most["source"]) == (
        2 << 30,
        "2GiB",
        "16GiB",
        str(file),
    )
    assert keys["disk_reserve_bytes"]["source"] == "default"
    assert (keys["bearer_token"]["value"], keys["bearer_token"]["source"]) == ("********", str(token))
    assert all(key["allowed"] and key["doc"] for key in keys.values())

    text = run("config", "--explain", config=file, gate_window=9).stdout
    assert f"# read from {file}\n" in text
    unwrapped = " ".join(text.replace("#", "").split())
    assert "default 50; set in the environment (CIS490_GATE_WINDOW) gate_window = 9 " in unwrapped
    assert 'default "1GiB"; not set disk_reserve_bytes' in unwrapped
    assert max(map(len, text.splitlines())) <= max(79, len(str(file)) + 20)
    assert SECRET not in done.stdout + text + run("config", config=file).stdout


def test_what_it_prints_is_a_file_with_the_same_effect(tmp_path: Path) -> None:
    settings = {"data_dir": tmp_path, "max_episode_bytes": 1_500_000_001, "gate_extra_commits": "a" * 40}
    for words in (["config"], ["config", "--explain"]):
        file = tmp_path / "printed.toml"
        file.write_text(run(*words, **settings).stdout)
        assert tomllib.loads(file.read_text())["max_episode_bytes"] == 1_500_000_001
        again = run("config", "--json", config=file)
        assert answer(again) == answer(run("config", "--json", **settings))


@pytest.mark.parametrize("count", [0, 1, 1023, 1024, 1536, 1 << 30, (1 << 30) + 1, 3 << 40])
def test_a_size_is_written_as_it_is_read(count: int) -> None:
    assert size(0).parse(written_size(count)) == count
