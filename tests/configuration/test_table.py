"""A table of keys: one line makes a key, which is then loaded, overridden, judged and explained."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cis490_receiver.client.config import TABLE as LAB_HOST
from cis490_receiver.client.config import LabHost
from cis490_receiver.config import TABLE as RECEIVER
from cis490_receiver.config import Settings
from cis490_receiver.configuration.explain import config_command
from cis490_receiver.configuration.keys import PATH, TEXT, integer, key
from cis490_receiver.configuration.loader import Loaded, Table
from cis490_receiver.configuration.token import read_token
from cis490_receiver.errors import ConfigError
from cis490_receiver.files.small import read_small

SECRET = "0123456789abcdef-never-shown"


@dataclass(frozen=True, slots=True, kw_only=True)
class LongerSettings(Settings):
    racks: int = key(3, integer(1, 9), "how many racks there are")


@dataclass(frozen=True, slots=True, kw_only=True)
class LongerLabHost(LabHost):
    racks: int = key(3, integer(1, 9), "how many racks there are")


RECEIVER_AND_A_KEY = Table(LongerSettings, prefix="CIS490_", command="cis490-receiver config")
LAB_HOST_AND_A_KEY = Table(LongerLabHost, prefix="CIS490_LAB_", command="cis490-shipper config")


def explain(table: Table[Any], environ: Mapping[str, str], *options: str) -> str:
    command = config_command(table, lambda: table.load(environ))
    done = CliRunner().invoke(command, options, env=dict(environ))
    assert done.exit_code == 0, done.output
    return done.output


def failure(table: Table[Any], environ: Mapping[str, str]) -> str:
    with pytest.raises(ConfigError) as caught:
        table.load(environ)
    return caught.value.message


@pytest.mark.parametrize(
    ("table", "prefix", "needed"),
    [
        (RECEIVER_AND_A_KEY, "CIS490_", ""),
        (LAB_HOST_AND_A_KEY, "CIS490_LAB_", 'receiver_url = "https://there"\nspool_dir = "/spool"\n'),
    ],
    ids=["receiver", "lab host"],
)
def test_a_new_key_is_one_line(tmp_path: Path, table: Table[Any], prefix: str, needed: str) -> None:
    file = tmp_path / "its.toml"
    named = {f"{prefix}CONFIG": str(file)}

    file.write_text(needed)
    assert table.load(named).settings.racks == 3
    file.write_text(needed + "racks = 4\n")
    assert table.load(named).settings.racks == 4
    overridden = named | {f"{prefix}RACKS": "5"}
    assert table.load(overridden).settings.racks == 5

    told = json.loads(explain(table, overridden, "--explain", "--json"))["racks"]
    assert told == {
        "value": 5,
        "written": 5,
        "default": 3,
        "allowed": "a whole number from 1 to 9",
        "source": f"the environment ({prefix}RACKS)",
        "required": False,
        "doc": "how many racks there are",
    }
    text = " ".join(explain(table, named, "--explain").replace("#", "").split())
    assert f"a whole number from 1 to 9; default 3; set in {file} racks = 4" in text
    assert "# racks = 3\n" in explain(table, {}, "--defaults")

    wrong = failure(table, named | {f"{prefix}RACKS": "ten"})
    assert (
        wrong == f"racks in the environment ({prefix}RACKS) must be a whole number from 1 to 9 (it is 'ten')"
    )
    file.write_text(needed + "rack = 4\n")
    assert f"unknown key rack in {file} (did you mean racks?); `{table.command} --defaults`" in failure(
        table, named
    )


@pytest.mark.parametrize("table", [RECEIVER, LAB_HOST], ids=["receiver", "lab host"])
def test_the_defaults_need_no_configuration_and_begin_a_file(tmp_path: Path, table: Table[Any]) -> None:
    def nothing() -> Loaded[Any]:
        raise AssertionError("the configuration was read")

    command = config_command(table, nothing)
    printed = CliRunner().invoke(command, ["--defaults"]).output
    assert re.findall(r"^# (\w+) = ", printed, re.MULTILINE) == list(table.keys)
    assert not [line for line in printed.splitlines() if line and not line.startswith("#")]
    uncommented = re.findall(r"^# (\w+ = (?!\"\"$).*)", printed, re.MULTILINE)
    file = tmp_path / "its.toml"
    required = 'receiver_url = "https://there"\nspool_dir = "/spool"\n' if table is LAB_HOST else ""
    (tmp_path / "least.toml").write_text(required)
    file.write_text(required + "\n".join(uncommented))
    variable = table.file_variable
    least = table.load({variable: str(tmp_path / "least.toml")}).settings
    assert table.load({variable: str(file)}).settings == least


def test_a_key_that_must_be_set_is_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "lab-host.toml"
    file.write_text("spool_dir = '/spool'")
    assert failure(LAB_HOST, {"CIS490_LAB_CONFIG": str(file)}) == (
        f"receiver_url is not set; set it in {file} or as CIS490_LAB_RECEIVER_URL"
    )
    told = json.loads(CliRunner().invoke(config_command(LAB_HOST, list), ["--defaults", "--json"]).output)  # type: ignore[arg-type]
    assert (told["receiver_url"]["required"], told["spool_dir"]["required"]) == (True, True)
    assert not told["token_file"]["required"]


def test_secrets_are_shown_nowhere() -> None:
    environ = {"CIS490_BEARER_TOKEN": SECRET, "CIS490_NOTIFY_URLS": f"mailto://me:{SECRET}@mail"}
    for options in ([], ["--json"], ["--explain"], ["--explain", "--json"]):
        printed = explain(RECEIVER, environ, *options)
        assert SECRET not in printed and "********" in printed
    assert SECRET not in repr(RECEIVER.load(environ))
    assert SECRET not in failure(RECEIVER, {"CIS490_BEARER_TOKEN": f"{SECRET} {SECRET}"})
    assert SECRET not in failure(RECEIVER, {"CIS490_NOTIFY_URLS": SECRET})
    assert SECRET not in failure(RECEIVER, {"CIS490_BEARER_TOKN": SECRET})
    url = failure(
        LAB_HOST, {"CIS490_LAB_RECEIVER_URL": f"https://me:{SECRET}@there", "CIS490_LAB_SPOOL_DIR": "x"}
    )
    assert "receiver_url" in url and "there" in url and SECRET not in url


@dataclass(frozen=True, slots=True, kw_only=True)
class Small:
    where: Path = key(Path("/"), PATH, "a folder")
    word: str = key("x", TEXT, "a word")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"word = '" + b"x" * (1 << 20) + b"'", ["more than 1048576 bytes"]),
        (b"word = " + b"[" * 100_000, ["not valid TOML"]),
        (b"word = '\xff'", ["not valid TOML"]),
        (b'word = "a\\u0000b"', ["word", "zero byte"]),
        (b"where = '~nobody-of-this-name/x'", ["where", "home folder"]),
        (b"word = [1]\n", ["word", "a text that is not empty", "[1]"]),
    ],
)
def test_a_file_that_cannot_be_used_is_one_sentence(tmp_path: Path, content: bytes, words: list[str]) -> None:
    file = tmp_path / "its.toml"
    file.write_bytes(content)
    said = failure(Table(Small, prefix="SMALL_", command="small config"), {"SMALL_CONFIG": str(file)})
    assert str(file) in said and len(said) < 500
    for word in words:
        assert word in said


def test_a_default_file_may_be_absent_and_one_that_is_named_may_not(tmp_path: Path) -> None:
    absent = tmp_path / "absent.toml"
    table = Table(Small, prefix="SMALL_", command="small config", default_file=absent)
    assert table.load({}).settings == Small()
    assert "SMALL_CONFIG" in failure(table, {"SMALL_CONFIG": str(absent)})
    assert "SMALL_CONFIG is empty" in failure(
        Table(Small, prefix="SMALL_", command="small config"), {"SMALL_CONFIG": ""}
    )


def test_a_token_is_read_from_a_pipe_and_never_from_what_has_no_end(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(TimeoutError, match=r"did not come within 0\.05 s"):
        read_small(pipe, 10, seconds=0.05)
    reads, writes = os.pipe()
    os.write(writes, b"a-token\n")
    os.close(writes)
    assert read_token(Path(f"/dev/fd/{reads}")) == "a-token"
    os.close(reads)
    with pytest.raises(OSError, match="more than 65536 bytes"):
        read_token(Path("/dev/zero"))
    (tmp_path / "token").write_text(f"{SECRET} ö")
    with pytest.raises(ValueError, match="visible ASCII") as caught:
        read_token(tmp_path / "token")
    assert SECRET not in str(caught.value)
