"""``/metrics`` for Prometheus: what `upload_metrics` counted, and what the stored things say at this moment.

Every worker tells the same. What cannot be had right now is left out, so that the rest is still told.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from cis490_receiver.errors import GateUnavailable, ReceiverError
from cis490_receiver.logfmt import event
from cis490_receiver.monitor import heartbeat
from cis490_receiver.monitor.symptoms import NAMES
from cis490_receiver.views.wiring import Services

log = logging.getLogger(__name__)

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


def render(services: Services) -> bytes:
    """All figures at this moment, in the text format 0.0.4."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(services.uploads)
    registry.register(_Stored(services))
    return generate_latest(registry)


class _Stored(Collector):
    """The figures that are looked up when they are asked for."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def describe(self) -> list[Metric]:
        """Nothing beforehand: that would look everything up an extra time."""
        return []

    def collect(self) -> Iterator[Metric]:
        """See `Collector.collect`."""
        for look in (_hosts, _symptoms, _disk, _in_pieces, _gate, _health_check, _index):
            yield from _told(look, self._services)


def _told(look: Callable[[Services], list[Metric]], services: Services) -> list[Metric]:
    try:
        return look(services)
    except (ReceiverError, OSError) as exc:
        log.warning(event("metrics-left-out", what=look.__name__.lstrip("_"), reason=exc))
        return []


def _hosts(services: Services) -> list[Metric]:
    episodes = GaugeMetricFamily("cis490_episodes", "Episodes stored, by host.", labels=["host"])
    size = GaugeMetricFamily(
        "cis490_episode_bytes", "Bytes of the episodes stored, by host.", labels=["host"]
    )
    last = GaugeMetricFamily(
        "cis490_last_episode_timestamp_seconds",
        "When a host's last episode came, in seconds since the epoch.",
        labels=["host"],
    )
    for host in services.index.hosts():
        episodes.add_metric([host.host_id], host.episodes)
        size.add_metric([host.host_id], host.size_bytes)
        last.add_metric([host.host_id], host.last_received_at_ns / 1e9)
    return [episodes, size, last]


def _symptoms(services: Services) -> list[Metric]:
    """As the fleet monitor's last run left them."""
    now_ns = services.clock.now_ns()
    if heartbeat.age_seconds(services.heartbeat, now_ns) is None:
        return []
    muted = services.mutes.active(now_ns)
    counts = Counter(name for host, name in services.alerts.lasting() if host not in muted)
    family = GaugeMetricFamily(
        "cis490_symptoms",
        "Hosts that showed a symptom when the fleet monitor last ran, muted ones left out; the receiver counts as one.",
        labels=["symptom"],
    )
    for name in NAMES:
        family.add_metric([name], counts[name])
    return [family]


def _disk(services: Services) -> list[Metric]:
    reserve = services.settings.disk_reserve_bytes
    figures = [_gauge("cis490_reserve_bytes", "Free disk space that no upload may touch.", reserve)]
    free_bytes = services.store.free_bytes()
    if free_bytes is not None:
        figures.append(_gauge("cis490_free_bytes", "Free disk space.", free_bytes))
    return figures


def _in_pieces(services: Services) -> list[Metric]:
    waiting = list(services.resumables.partials.waiting())
    missing = sum(state.announced.size_bytes - state.offset for state in waiting)
    return [
        _gauge("cis490_resumable_uploads", "Uploads in pieces that are not complete.", len(waiting)),
        _gauge("cis490_resumable_missing_bytes", "Bytes that are still to come of them.", missing),
    ]


def _gate(services: Services) -> list[Metric]:
    if services.gate is None:
        return []
    try:
        snapshot = services.gate.snapshot()
    except GateUnavailable:
        # Said in the log by the gate itself, once.
        return []
    age = snapshot.age_seconds(services.clock.now_ns())
    return [
        _gauge("cis490_gate_commits", "Commits that the version gate accepts.", len(snapshot.commits)),
        _gauge("cis490_gate_age_seconds", "Since the list of accepted commits was refreshed.", age),
    ]


def _health_check(services: Services) -> list[Metric]:
    age = heartbeat.age_seconds(services.heartbeat, services.clock.now_ns())
    if age is None:
        return []
    return [_gauge("cis490_health_check_age_seconds", "Since the fleet monitor last ran.", age)]


def _index(services: Services) -> list[Metric]:
    bad = services.index.bad_lines()
    return [_gauge("cis490_index_bad_lines", "Lines of index.jsonl that are no records.", bad)]


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)
