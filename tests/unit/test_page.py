"""What people read is wrapped on a terminal, and whole where a program reads it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.client.hosts import Lab
from tests.support.terminals import shown

REMEDY = "word " * 80 + "and run `git -C /opt/orchestrator merge --ff-only origin/main`"
ANSWER = {"status": 412, "answer": {"code": "commit-rejected", "error": "rejected", "remediation": REMEDY}}


@pytest.mark.parametrize("columns", [60, 100])
@pytest.mark.parametrize(
    "words", [("cis490-doctor",), ("cis490-shipper", "status"), ("cis490-shipper", "--ping")]
)
def test_no_line_is_wider_than_the_terminal(tmp_path: Path, words: tuple[str, ...], columns: int) -> None:
    lab = Lab(tmp_path, "http://192.0.2.1:1", connect_seconds=1, wireguard_interface="wg-none")
    checks = tmp_path / "checks.d"
    checks.mkdir()
    document = json.dumps({"status": "fail", "seen": "seen " * 60, "remedy": REMEDY})
    (checks / "mine").write_text(f"#!/bin/sh\necho '{document}'\n")
    (checks / "mine").chmod(0o755)
    (lab.spool / "refused").mkdir()
    (lab.spool / "refused" / "x.tar.zst").write_bytes(b"x")
    (lab.spool / "refused" / "x.tar.zst.answer.json").write_text(json.dumps(ANSWER))
    command = lab.command(*words)
    lines = shown(command, columns=columns, env=lab.environment, cwd=tmp_path)
    longest = max(lines, key=len)
    # One word behind a label, such as a path, may be wider, as it is not broken.
    assert len(longest) <= columns or len(longest.split()) <= 2, longest
    piped = lab.run(*words)
    assert max(map(len, piped.stdout.splitlines())) > columns, "the test has something to wrap"
    assert _words("\n".join(lines)) == _words(piped.stdout + piped.stderr)
    if "--ping" not in words:
        assert REMEDY in piped.stdout


def _words(text: str) -> list[str]:
    """Without what changes by itself: the time, and how much room the disk has."""
    return re.sub(r"\dT[0-9:]+Z|\d+\.\d+(?=\s+(?:of|[kMGT]B))", "<changes>", text).split()
