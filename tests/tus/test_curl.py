"""What docs/episodes.md shows of curl is run."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import need
from tests.support.archives import make_episode
from tests.support.receiver import ROOT, Receiver


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    """One that wants no token."""
    new = Receiver(tmp_path / "data", tmp_path / "receiver.log")
    del new.settings["bearer_token"]
    try:
        new.start()
        yield new
    finally:
        new.end()


def test_an_upload_goes_on_with_curl(receiver: Receiver, tmp_path: Path) -> None:
    need("curl")
    episode = make_episode(1, size=3_000_000)
    (tmp_path / "run-0001.tar.zst").write_bytes(episode.data)
    page = (ROOT / "docs" / "episodes.md").read_text()
    section = page[page.index("### In pieces, with curl") :]
    begin, go_on = re.findall(r"^```sh\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    again = re.search(r"`(curl [^`]* -I \"\$upload\")`", section)
    assert again is not None
    # The file ends early: all the same to the receiver as a link that breaks between two pieces.
    cut = go_on.replace("tail -c +$((offset + 1)) $f", "head -c 1000000 $f")
    assert cut != go_on
    script = (begin + cut + go_on + again[1]).replace("127.0.0.1:8490", f"127.0.0.1:{receiver.port}")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr + done.stdout
    assert re.findall(r"(?i)^(upload-offset: .*|x-episode-status: .*)$", done.stdout, re.MULTILINE) == [
        "Upload-Offset: 1000000",
        *[f"Upload-Offset: {len(episode.data)}", "X-Episode-Status: stored"] * 2,
    ]
    assert receiver.stored() == {("my-host", "run-0001.tar.zst"): episode.data}
    # A refusal is told where the page says.
    refused = begin.replace("X-Host-Id: my-host", "X-Host-Id: ..")
    refused = refused.replace("127.0.0.1:8490", f"127.0.0.1:{receiver.port}")
    subprocess.run(["bash", "-c", refused], cwd=tmp_path, capture_output=True, timeout=60)
    assert "bad host_id" in (tmp_path / "answer.json").read_text()
