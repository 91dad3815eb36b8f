"""An index field is declared in one file, and every end knows it from there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.archives import make_episode
from tests.support.receiver import AUTH, ROOT, TOKEN, Receiver

ANCHOR = "    @classmethod\n    def read("
FIELD = """\
    sample_family: str | None = _stamp(
        "family of the malware sample",
        "X-Sample-Family",
        Grammar(str, re.compile(r"[a-z0-9_]{1,32}"), "a word"),
        filter_name="sample_family",
        expected=False,
    )

"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The program with one more field, in place of the one of the checkout."""
    root = tmp_path / "program"
    shutil.copytree(
        ROOT / "cis490_receiver", root / "cis490_receiver", ignore=shutil.ignore_patterns("__pycache__")
    )
    stamps = root / "cis490_receiver" / "stamps.py"
    text = stamps.read_text()
    assert text.count(ANCHOR) == 1
    stamps.write_text(text.replace(ANCHOR, FIELD + ANCHOR))
    monkeypatch.setenv("PYTHONPATH", str(root))
    # Python looks in the current folder first.
    monkeypatch.chdir(tmp_path)
    yield root


def run(*arguments: str, data_dir: Path | None = None, status: int = 0) -> str:
    environment = dict(os.environ)
    if data_dir is not None:
        environment["CIS490_DATA_DIR"] = str(data_dir)
    done = subprocess.run(
        [sys.executable, "-m", "cis490_receiver", *arguments], capture_output=True, text=True, env=environment
    )
    assert done.returncode == status, done.stderr + done.stdout
    return done.stdout


def test_a_field_that_is_declared_once_comes_through_every_end(package: Path, tmp_path: Path) -> None:
    receiver = Receiver(tmp_path / "data", tmp_path / "receiver.log", workers=1)
    receiver.start()
    try:
        meta = {"schema_version": 2, "sample_family": "Mirai"}
        for number, family in enumerate(["mirai", "emotet", "no word!"]):
            archive = make_episode(number, meta=meta)
            assert receiver.put("h", f"e{number}", archive, X_Sample_Family=family).status == 201
        # The index line and the listing, with its filter.
        assert [line["sample_family"] for line in receiver.index()] == ["mirai", "emotet", None]
        listed = receiver.request("GET", "/v1/episodes?sample_family=emotet", headers=AUTH).json["episodes"]
        assert [(item["episode_id"], item["sample_family"]) for item in listed] == [("e1", "emotet")]
        assert receiver.request("GET", "/v1/episodes?sample_family=no+word", headers=AUTH).status == 400
        # The interface's description of itself.
        described = receiver.request("GET", "/v1/openapi.json").json
        assert "sample_family" in described["components"]["schemas"]["Episode"]["required"]
        parameters = {
            method: {item["name"] for item in described["paths"][path][method]["parameters"]}
            for method, path in (
                ("put", "/v1/episodes/{host_id}/{episode_id}.tar.zst"),
                ("get", "/v1/episodes"),
            )
        }
        assert "X-Sample-Family" in parameters["put"] and "sample_family" in parameters["get"]
        # The trainer's end.
        mirror, token = tmp_path / "mirror", tmp_path / "token"
        token.write_text(TOKEN)
        run(
            "mirror",
            f"http://127.0.0.1:{receiver.port}",
            str(mirror),
            "--token-file",
            str(token),
            "--sample-family",
            "mirai",
        )
        assert [path.name for path in mirror.glob("episodes/h/*")] == ["e0.tar.zst"]
        exported = run("export", "--format", "jsonl", "--sample-family", "emotet", data_dir=receiver.data_dir)
        assert [json.loads(line)["episode_id"] for line in exported.splitlines()] == ["e1"]
    finally:
        receiver.end()
    # What is rebuilt from meta.json.
    (receiver.data_dir / "index.jsonl").write_bytes(b"")
    run("reindex", data_dir=receiver.data_dir)
    assert {line["sample_family"] for line in receiver.index()} == {"mirai"}
    # The lab host's end.
    says = "from cis490_receiver.client.episode import stamps; print(stamps({'sample_family': 'Mirai'}))"
    told = subprocess.run([sys.executable, "-c", says], capture_output=True, text=True, check=True).stdout
    assert told.strip() == "{'X-Sample-Family': 'Mirai'}"
