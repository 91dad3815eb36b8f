"""bin/bench measures everything that it names, against every peer."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import need
from tests.support.receiver import ROOT, clean_environment

PEERS = {"ours", "async", "nginx"}
BOTH_PLACES = {
    *(f"{name}-{connections}" for name in ("small", "p99", "cpu") for connections in (1, 16, 64)),
    *("large", "cpu", "parallel", "length", "chunked", "framing-ratio"),
}
DISK_ALONE = {"large-synced", "memory-1", "memory-8", "refusal", "start"}
WRITTEN = {"written", "written-1", "written-16", "written-64"}
OURS_ALONE = {
    *(f"{name}-{size}" for name in ("index", "catalog", "health") for size in (1000, 20000)),
    *("index-ratio", "health-ratio", "limit-sha256", "limit-direct", "limit-fsync", "limit-sync"),
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
    expected = {(name, place) for name in BOTH_PLACES for place in ("disk", "tmpfs")}
    expected |= {(name, "disk") for name in DISK_ALONE | WRITTEN}
    assert {(one["name"], one["place"]) for one in figures if set(one["peers"]) == PEERS} == expected
    assert {one["name"] for one in figures if set(one["peers"]) == {"ours"}} == OURS_ALONE
    for one in figures:
        assert one["text"] in done.stdout
        # Nothing is counted as written where the temporary folder is in memory.
        if one["name"] not in WRITTEN or any(peer["median"] for peer in one["peers"].values()):
            assert all(value > 0 for peer in one["peers"].values() for value in peer["values"]), one
    assert not list(tmp_path.glob("cis490-bench-*"))


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


@pytest.mark.slow
def test_the_shares_of_a_small_episode_are_told(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "benchmarks.shares",
        "--rounds",
        "1",
        "--seconds",
        "0.2",
        "--disk",
        tmp_path,
    ]
    done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    rows = {
        line[:44].strip(): [float(value) for value in line[44:].split()]
        for line in done.stdout.splitlines()[1:]
    }
    assert len(rows) == 5
    assert all(0 < value < 100 for values in rows.values() for value in values)
    for connections in ("1 connection", "16 connections"):
        assert rows[f"the receiver, {connections}"] > rows[f"gunicorn that keeps nothing, {connections}"]


@pytest.mark.slow
@pytest.mark.parametrize(("limit", "status"), [("0.01", 0), ("100", 1)])
def test_a_trainers_rate_is_told_beside_curls(tmp_path: Path, limit: str, status: int) -> None:
    need("curl")
    command = [
        sys.executable,
        "-m",
        "benchmarks.reading",
        "--episodes",
        "200",
        "--rounds",
        "1",
        "--limit",
        limit,
    ]
    done = subprocess.run(
        [*command, "--disk", tmp_path, "--json"],
        env=clean_environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == status, done.stderr
    figures = json.loads(done.stdout)
    assert set(figures) == {"curl", "bytes", "path"} and figures["curl"]["ratio"] == 1
    assert all(value > 0 for way in figures.values() for value in way.values())
    assert not list(tmp_path.glob("cis490-reading-*"))


@pytest.mark.slow
def test_what_it_costs_to_know_that_an_episode_opens_is_told(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.inspecting", "--mib", "8", "--small", "20", "--rounds", "1"]
    done = subprocess.run(
        [*command, "--disk", tmp_path], env=clean_environment(), capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    uploads, stored = done.stdout.splitlines()[:4], done.stdout.splitlines()[4:]
    assert [line.partition(":")[0].partition("of ")[2] for line in uploads] == [
        "telemetry, as fast as it goes",
        "telemetry, at 1 Gbit/s",
        "incompressible, as fast as it goes",
        "incompressible, at 1 Gbit/s",
    ]
    assert all(float(line.partition("full : off ")[2].split()[0]) > 0 for line in uploads)
    assert len(stored) == 2 and all(line.startswith("inspect of ") for line in stored)
    assert not list(tmp_path.iterdir())
