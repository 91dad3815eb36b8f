"""What the document says is how the real server answers, to valid requests and to others."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.archives import make_episode
from tests.support.receiver import ROOT, TOKEN, Receiver

CONFIG = ROOT / "tests" / "integration" / "schemathesis.toml"


@pytest.mark.slow
def test_schemathesis_finds_nothing(shared_receiver: Receiver, tmp_path: Path) -> None:
    # As many as give a cursor.
    for number in range(3):
        assert shared_receiver.put("lab-1", f"run-000{number}", make_episode(number)).status == 201
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run"),
            *("--header", f"Authorization: Bearer {TOKEN}", "--checks", "all", "--warnings", "off"),
            # One worker: CPython 3.11 compiles in one thread at a time at most (python/cpython#106905).
            *("--max-examples", "8", "--seed", "1", "--workers", "1", "--generation-database", "none"),
            f"http://127.0.0.1:{shared_receiver.port}/v1/openapi.json",
        ],
        env=os.environ | {"PYTHONPATH": str(ROOT), "SCHEMATHESIS_HOOKS": "tests.support.fuzzing"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-5_000:]
    assert "internal-error" not in shared_receiver.log_text()
