"""Every command that the documents show is run."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import need
from tests.support.receiver import ROOT, clean_environment

README = (ROOT / "README.md").read_text()
QUICK_START = (ROOT / "docs" / "quick-start.md").read_text()


def shell_blocks(text: str) -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def environment(tmp_path: Path) -> dict[str, str]:
    """For bin/serve: a free port, and the virtual environment of this test run."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    venv = Path(sys.executable).parents[1]
    return clean_environment(bind=f"127.0.0.1:{port}", venv=venv, data_dir=tmp_path / "data")


def test_the_readme_opens_with_the_two_commands() -> None:
    first = shell_blocks(README)[0]
    assert [line.split()[0] for line in first.splitlines()] == ["bin/serve", "bin/test"]
    for line in first.splitlines():
        assert (ROOT / line.split()[0]).stat().st_mode & 0o111


def test_the_demo_ships_a_real_episode(tmp_path: Path) -> None:
    done = subprocess.run(
        [ROOT / "bin" / "serve", "--demo"],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    for words in ("201 CREATED", "200 OK", '"status":"already-present"', '"episode_type":"control"'):
        assert words in done.stdout


def test_the_readmes_curl_ships_to_what_serve_started(tmp_path: Path) -> None:
    need("curl")
    need("zstd")
    environ = environment(tmp_path)
    with subprocess.Popen(
        [ROOT / "bin" / "serve"], env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        try:
            assert server.stdout is not None
            shown = ""
            while "Stop with Ctrl-C" not in shown:
                line = server.stdout.readline()
                assert line, "bin/serve ended"
                shown += line
            assert environ["CIS490_BIND"] in shown and str(tmp_path / "data") in shown
            commands = shell_blocks(README)[1].replace("127.0.0.1:8490", environ["CIS490_BIND"])
            assert shell_blocks(QUICK_START)[0] == shell_blocks(README)[1]
            for status in ("stored", "already-present"):
                done = subprocess.run(
                    ["bash", "-euc", commands], cwd=tmp_path, capture_output=True, text=True
                )
                assert f'"status":"{status}"' in done.stdout, done.stderr
            pasted = re.search(r"^  f=.*?(?=\n\n)", shown, re.MULTILINE | re.DOTALL)
            assert pasted is not None
            [line] = (tmp_path / "data" / "index.jsonl").read_text().splitlines()
            meta = json.loads((tmp_path / "run-0001" / "meta.json").read_text())
            assert {name: json.loads(line)[name] for name in meta} == meta, (
                "the headers say what meta.json says"
            )
            looks = shell_blocks(QUICK_START)[1].replace("127.0.0.1:8490", environ["CIS490_BIND"])
            done = subprocess.run(["bash", "-euc", looks], capture_output=True, text=True)
            assert done.stdout.count('"episode_id":"run-0001"') == 2, done.stderr
            script = pasted[0].replace("f=episode.tar.zst", "f=run-0001.tar.zst")
            done = subprocess.run(["bash", "-euc", script], cwd=tmp_path, capture_output=True, text=True)
            assert '"status":"already-present"' in done.stdout, done.stderr
        finally:
            # Also after a failure: else leaving the block would wait for ever.
            server.terminate()
        assert server.wait(timeout=30) == 0


def test_each_drawing_is_what_its_script_draws(tmp_path: Path) -> None:
    folder = ROOT / "docs" / "drawings"
    for script in folder.glob("*.py"):
        (tmp_path / script.name).write_text(script.read_text())
    for drawing in folder.glob("*.svg"):
        script = tmp_path / f"{drawing.stem.replace('-', '_')}.py"
        subprocess.run([sys.executable, str(script)], check=True)
        assert (tmp_path / drawing.name).read_text() == drawing.read_text()


@pytest.mark.parametrize(
    "page", [Path("README.md"), *sorted(p.relative_to(ROOT) for p in (ROOT / "docs").glob("*.md"))], ids=str
)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    text = (ROOT / page).read_text()
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if "://" not in target:
            assert (ROOT / page).parent.joinpath(target).exists(), f"{page}: {target}"
