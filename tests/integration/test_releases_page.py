"""docs/releases.md: its commands do what it says."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from tests.support.archives import make_episode
from tests.support.receiver import BIN, ROOT, TOKEN, Receiver, clean_environment

PAGE = (ROOT / "docs" / "releases.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
#: What is another each time.
OF_THE_RUN = re.compile(r"[0-9a-f]{64}|[0-9.]+ [kM]?B|[0-9]+")


def test_every_command_of_the_page_works_in_its_order(receiver: Receiver, tmp_path: Path) -> None:
    for number in range(4):
        receiver.put(f"h{number % 2}", f"e{number}", make_episode(number))
    (tmp_path / "token").write_text(TOKEN)
    environment = clean_environment(data_dir=receiver.data_dir) | {
        "RECEIVER": f"http://127.0.0.1:{receiver.port}",
        "TOKEN": TOKEN,
        "PATH": f"{BIN}:{os.environ['PATH']}",
    }
    printed = [
        subprocess.run(
            ["bash", "-euc", block], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        ).stdout
        for language, block in BLOCKS
        if language == "sh"
    ]
    create, cite, _, prove, *_ = printed
    plan, made = create.split("would be release paper-1")
    assert plan.startswith("4 episodes, ")
    [digest] = re.findall(r"^([0-9a-f]{64})  paper-1.jsonl$", made, re.MULTILINE)
    assert prove == f"{digest}  releases/paper-1.jsonl\nevery episode is as it was\n"
    assert digest in cite
    table = receiver.data_dir / "releases" / "paper-1.jsonl"
    assert (tmp_path / "paper-1.jsonl").read_bytes() == table.read_bytes()
    [shown] = [block for language, block in BLOCKS if not language]
    assert OF_THE_RUN.sub("#", made).endswith(OF_THE_RUN.sub("#", shown))


def test_the_readme_names_a_command_of_the_page() -> None:
    [command] = re.findall(r"`(cis490-receiver release [^`]+)`", (ROOT / "README.md").read_text())
    assert command in PAGE
