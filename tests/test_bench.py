"""bin/bench measures everything that it names, against every peer."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import need
from tests.support.receiver import ROOT, clean_environment

PEERS = {"ours", "async", "nginx"}
AGAINST_PEERS = {
    *((name, place) for name in ("small-1", "small-16", "small-64") for place in ("disk", "tmpfs")),
    *((name, place) for name in ("p99-1", "p99-16", "p99-64") for place in ("disk", "tmpfs")),
    *(
        (name, place)
        for name in ("large", "cpu", "parallel", "length", "chunked")
        for place in ("disk", "tmpfs")
    ),
    *((name, "disk") for name in ("large-synced", "memory-1", "memory-8", "refusal", "start", "written")),
}
ALONE = {
    *(f"{name}-{lines}" for name in ("index", "catalog", "health") for lines in (1000, 20000)),
    *("limit-sha256", "limit-direct", "limit-fsync", "limit-sync"),
}


@pytest.mark.slow
def test_every_scenario_gives_a_figure_for_every_peer(tmp_path: Path) -> None:
    need("nginx")
    pytest.importorskip("starlette")
    document = tmp_path / "bench.json"
    environ = clean_environment(venv=Path(sys.executable).parents[1])
    done = subprocess.run(
        [ROOT / "bin" / "bench", "--quick", "--disk", tmp_path, "--json", document],
        env=environ,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(document.read_text())["figures"]
    # What is written to a disk is not counted where the temporary folder is none.
    figures = [figure for figure in figures if figure["name"] != "written" or _is_disk(figure)]
    against = {(figure["name"], figure["place"]) for figure in figures if set(figure["peers"]) == PEERS}
    assert AGAINST_PEERS - {("written", "disk")} <= against
    assert {figure["name"] for figure in figures if set(figure["peers"]) == {"ours"}} == ALONE
    for figure in figures:
        for peer, summary in figure["peers"].items():
            assert all(value > 0 for value in summary["values"]), (figure["name"], figure["place"], peer)
        assert figure["text"] in done.stdout
    assert not list(tmp_path.glob("cis490-bench-*"))


def _is_disk(figure: dict[str, Any]) -> bool:
    return any(summary["median"] > 0 for summary in figure["peers"].values())


@pytest.mark.slow
@pytest.mark.parametrize(("limit", "status"), [("80", 0), ("0", 1)])
def test_a_large_upload_takes_little_memory(tmp_path: Path, limit: str, status: int) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.rss", "--mib", "256", "--limit", limit, "--disk", tmp_path],
        env=clean_environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == status, done.stderr
    assert "above idle" in done.stdout
