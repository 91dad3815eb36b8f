"""``/metrics`` in Prometheus' text format: derived from what is stored, so that every worker tells the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from cis490_receiver.errors import GateUnavailable
from cis490_receiver.monitor import heartbeat
from cis490_receiver.views.wiring import Services

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

Sample = tuple[str, float]


def render(services: Services) -> str:
    """All figures at this moment."""
    return "".join(_lines(services))


def _lines(services: Services) -> Iterator[str]:
    hosts = services.index.hosts()
    by_host = {f'{{host="{host.host_id}"}}': host for host in hosts}
    yield from _metric(
        "cis490_episodes", "Episodes stored.", [(label, host.episodes) for label, host in by_host.items()]
    )
    yield from _metric(
        "cis490_episode_bytes", "Bytes of the episodes stored.",
        [(label, host.size_bytes) for label, host in by_host.items()],
    )  # fmt: skip
    yield from _metric(
        "cis490_last_episode_timestamp_seconds", "When a host's last episode came.",
        [(label, host.last_received_at_ns / 1e9) for label, host in by_host.items()],
    )  # fmt: skip
    yield from _metric("cis490_free_bytes", "Free disk space.", [("", services.store.free_bytes())])
    yield from _metric(
        "cis490_reserve_bytes",
        "Free space that no upload may touch.",
        [("", services.settings.disk_reserve_bytes)],
    )
    yield from _metric(
        "cis490_index_bad_lines",
        "Lines of index.jsonl that are no records.",
        [("", services.index.bad_lines())],
    )
    now_ns = services.clock.now_ns()
    age = heartbeat.age_seconds(services.settings.data_dir, now_ns)
    if age is not None:
        yield from _metric("cis490_health_check_age_seconds", "Since the fleet monitor ran.", [("", age)])
    if services.gate is not None:
        try:
            snapshot = services.gate.snapshot()
        except GateUnavailable:
            return
        yield from _metric("cis490_gate_commits", "Commits accepted.", [("", len(snapshot.commits))])
        yield from _metric(
            "cis490_gate_age_seconds", "Age of gate.json.", [("", snapshot.age_seconds(now_ns))]
        )


def _metric(name: str, doc: str, samples: list[Sample]) -> Iterator[str]:
    yield f"# HELP {name} {doc}\n# TYPE {name} gauge\n"
    for label, value in samples:
        yield f"{name}{label} {value!r}\n"
