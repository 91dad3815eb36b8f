"""docs/episodes.md: what it shows is run, and what it says of fields and names is so."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from cis490_receiver import archive, protocol
from tests.client.hosts import Lab
from tests.conftest import need
from tests.support.receiver import ROOT, Receiver

PAGE = (ROOT / "docs" / "episodes.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_what_the_page_shows_makes_checks_and_ships_episodes(receiver: Receiver, tmp_path: Path) -> None:
    need("zstd")
    lab = Lab.of(tmp_path / "lab", receiver)
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environ = lab.environment | {"PATH": programs}
    # The rest goes by curl, and is tried in tests/tus/test_curl.py.
    make, check, ship, *_ = blocks("sh")
    [python] = blocks("python")
    script = f"{make}\npython - <<'END'\n{python}END\n{check}\n{ship}\n{ship.replace('run-0001', 'run-0002')}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, env=environ, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "note:" not in done.stdout, "what the page makes lacks nothing"
    lines = {line["episode_id"]: line for line in receiver.index()}
    assert set(lines) == {"run-0001", "run-0002"}
    for name, line in lines.items():
        with (tmp_path / f"{name}.tar.zst").open("rb") as stream:
            meta = archive.check(stream)
        assert {key: line[key] for key in meta} == meta
        frame = (tmp_path / f"{name}.tar.zst").read_bytes()
        assert frame[4] & 0x04, "it has a checksum (RFC 8878, frame header descriptor)"
        told = json.loads(lab.run("cis490-shipper", "check", "--json", tmp_path / f"{name}.tar.zst").stdout)
        assert told["files"][0]["notes"] == []


def test_the_page_names_every_word_and_limit() -> None:
    for word in protocol.EPISODE_TYPES | protocol.BENIGN_PROFILES:
        assert f"`{word}`" in PAGE
    assert archive.Limits(256 << 20, 20_000, 5.0) == archive.SEARCH
    assert "first 256 MiB\nor 20,000 headers of the tar and for 5 seconds" in re.sub(r"\n +", "\n", PAGE)
    assert archive.META_MAX_BYTES == 1 << 20 and "at most 1 MiB" in PAGE
