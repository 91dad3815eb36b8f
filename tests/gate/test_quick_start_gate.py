"""The quick start's section on the gate, followed word for word."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from pathlib import Path

from tests.conftest import need
from tests.gate.document import commands, section
from tests.gate.repos import git_environment
from tests.support.receiver import ROOT, clean_environment


def test_a_stale_host_is_refused_and_after_doing_what_the_answer_says_accepted(tmp_path: Path) -> None:
    need("git")
    need("curl")
    text = section((ROOT / "docs" / "quick-start.md").read_text(), "The version gate")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    for shown, here in (
        ("/tmp/gate-demo", str(tmp_path / "demo")),
        ("127.0.0.1:8490", f"127.0.0.1:{port}"),
        (".venv/bin/", f"{Path(sys.executable).parent}/"),
    ):
        assert shown in text
        text = text.replace(shown, here)
    make, serve, *rest = commands(text)
    assert serve.strip().endswith(" bin/serve")
    environment = git_environment(tmp_path)
    subprocess.run(["bash", "-euc", make], env=environment, cwd=ROOT, check=True)
    settings = clean_environment(bind=f"127.0.0.1:{port}", venv=Path(sys.executable).parents[1])
    with subprocess.Popen(
        ["bash", "-euc", f"exec env {serve}"],
        env=settings | environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        try:
            assert server.stdout is not None
            for line in server.stdout:
                if "Stop with Ctrl-C" in line:
                    break
            # One terminal runs them one after the other.
            done = subprocess.run(
                ["bash", "-euc", "\n".join(rest)], env=environment, cwd=ROOT, capture_output=True, text=True
            )
        finally:
            server.terminate()
            assert server.wait(timeout=30) == 0
    assert done.returncode == 0, done.stderr
    assert "2 commits accepted, written" in done.stdout
    assert re.search(
        r"^gate on; origin/main of .*(\n  [0-9a-f]{12} .* (three|two)){2}", done.stdout, re.MULTILINE
    )
    assert re.findall(r"^\s?(\d{3})$", done.stdout, re.MULTILINE) == ["412", "201"]
    refused, stored = re.findall(r"^\{.*\}", done.stdout, re.MULTILINE)
    assert '"code":"commit-rejected"' in refused and '"commits_behind":2' in refused
    # The commands of the last block are those of the answer.
    assert rest[-1].splitlines()[0] in refused
    assert '"status":"stored"' in stored
    assert (tmp_path / "demo" / "data" / "gate.json").is_file()
