"""The rules, their tests and the dashboard, by the real promtool and a real Prometheus that scrapes a real receiver."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import need
from tests.gate import snapshots
from tests.support.archives import make_episode
from tests.support.receiver import BIN, ROOT, TOKEN, Receiver, clean_environment

FOLDER = ROOT / "etc" / "prometheus"
RULES = FOLDER / "cis490-receiver.rules.yml"
TESTS = FOLDER / "cis490-receiver.rules.test.yml"
DASHBOARD = json.loads((ROOT / "etc" / "grafana" / "cis490-receiver.json").read_text())
QUERIES = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
SECONDS = 60


@pytest.mark.parametrize(
    "words",
    [
        ("check", "rules", RULES),
        ("test", "rules", TESTS),
        ("check", "config", "--syntax-only", FOLDER / "prometheus.yml"),
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_promtool_takes_it(words: tuple[str | Path, ...]) -> None:
    done = subprocess.run([need("promtool"), *words], capture_output=True, text=True, cwd=FOLDER)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_has_a_runbook_and_is_seen_to_fire() -> None:
    alerts = re.findall(r"- alert: (\w+)\n(.*?)(?=\n\n|\Z)", RULES.read_text(), re.DOTALL)
    assert len(alerts) == 10
    page = (ROOT / "docs" / "operations.md").read_text()
    for name, body in alerts:
        runbook = re.search(r'runbook: "docs/operations\.md: (.*)"', body)
        assert runbook is not None and f"- **{runbook[1]}" in page, name
        assert re.search(rf"alertname: {name}\n +exp_alerts:\n +- exp_labels", TESTS.read_text()), name


class Prometheus:
    """Debian's, on a free port of the loopback interface."""

    def __init__(self, folder: Path, receiver: Receiver) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        config = folder / "prometheus.yml"
        config.write_text(
            f"""
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [{RULES}]
scrape_configs:
  - job_name: cis490-receiver
    authorization: {{credentials: {TOKEN}}}
    static_configs: [{{targets: ["127.0.0.1:{receiver.port}"]}}]
"""
        )
        self.log = (folder / "prometheus.log").open("wb")
        self.process = subprocess.Popen(
            [
                need("prometheus"),
                f"--config.file={config}",
                f"--storage.tsdb.path={folder / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
            ],
            stdout=self.log,
            stderr=self.log,
        )

    def ask(self, path: str, **query: str) -> Any:
        """What its API says."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as exc:
            raise AssertionError(f"{query}: {exc.read().decode()}") from exc

    def end(self) -> None:
        self.process.terminate()
        self.process.wait()
        self.log.close()


@pytest.fixture
def prometheus(start_receiver: Any, tmp_path: Path) -> Iterator[Prometheus]:
    """It watches a receiver that has stored, refused and seen a symptom, and goes on storing and refusing."""
    need("prometheus")
    receiver: Receiver = start_receiver(gate_enabled="true")
    snapshots.write(receiver.data_dir, snapshots.make_snapshot(1, 2, 3, age_seconds=2 * 86400))
    look = [BIN / "cis490-receiver", "health-check", "--quiet"]
    assert (
        subprocess.run(look, env=clean_environment(**receiver.settings), stdout=subprocess.DEVNULL).returncode
        == 1
    )
    started = Prometheus(tmp_path, receiver)
    try:
        deadline = time.monotonic() + SECONDS
        number = 0
        while scraped(started) < 4:
            assert time.monotonic() < deadline and started.process.poll() is None
            number += 1
            good = {"X_Cis490_Code_Commit": snapshots.commit_id(1)}
            assert receiver.put("lab-1", f"e{number}", make_episode(number), **good).status in (201, 503)
            assert receiver.put("lab-1", f"e{number}", make_episode(number)).status in (400, 503)
            time.sleep(0.2)
        yield started
    finally:
        started.end()


def scraped(prometheus: Prometheus) -> int:
    """How often the receiver was scraped with success."""
    with contextlib.suppress(OSError):
        found = prometheus.ask("query", query='sum_over_time(up{job="cis490-receiver"}[5m])')["result"]
        return int(found[0]["value"][1]) if found else 0
    return 0


def test_every_query_of_the_dashboard_has_an_answer(prometheus: Prometheus) -> None:
    assert len(QUERIES) >= 18
    named = set(re.findall(r"cis490_\w+", " ".join(QUERIES)))
    samples = {name for name in prometheus.ask("label/__name__/values") if name.startswith("cis490_")}
    assert named <= samples
    # Nothing that the receiver tells is missing on it but the code's and the histogram's other halves.
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in samples} == {
        re.sub(r"_bucket$", "", name) for name in named
    }
    for query in QUERIES:
        filled = query.replace("$__rate_interval", "1m").replace("$instance", ".*")
        result = prometheus.ask("query", query=filled)["result"]
        assert result and all(row["value"][1] != "NaN" for row in result), filled
    [variable] = [item for item in DASHBOARD["templating"]["list"] if item["type"] == "query"]
    found = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]["query"])
    assert found is not None
    assert prometheus.ask(f"label/{found[2]}/values", **{"match[]": found[1]})
    groups = prometheus.ask("rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) == 10 and {rule["health"] for rule in rules} <= {"ok", "unknown"}
    # The symptom and the old list are seen to be so.
    pending = {rule["name"] for rule in rules if rule["state"] in ("pending", "firing")}
    assert {"Cis490Symptom", "Cis490GateStale"} <= pending
