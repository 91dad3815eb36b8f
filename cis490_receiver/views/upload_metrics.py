"""What becomes of uploads, counted for Prometheus as it happens, right over all worker processes."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from cis490_receiver.errors import InternalError, ReceiverError
from cis490_receiver.tally import Tally
from cis490_receiver.views import errors

STORED: Final = "stored"
ALREADY_PRESENT: Final = "already-present"
#: Answered with a 4xx: not taken, and the client's to mend.
REFUSED: Final = "refused"
#: Answered with a 5xx: not taken, and not the client's fault.
FAILED: Final = "failed"
OUTCOMES: Final = (STORED, ALREADY_PRESENT, REFUSED, FAILED)
#: Upper bounds in seconds: from a small episode on a LAN to some GB over Wi-Fi.
BUCKETS: Final = (0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0, 300.0, 1800.0, 7200.0)

_CODES: Final = sorted({error.code for error in errors.STATUS})
_UPLOADS: Final = {outcome: f"uploads {outcome}" for outcome in OUTCOMES}
_REFUSALS: Final = {code: f"refusals {code}" for code in _CODES}
_BYTES: Final = "bytes"
_IN_FLIGHT: Final = "in flight"
_SECONDS: Final = "seconds"
_LE: Final = [f"le {bound}" for bound in (*BUCKETS, "+Inf")]
#: A reload has the old worker processes beside the new ones, and a scrape may keep a row busy for a moment.
_ROWS_A_WORKER: Final = 4


class UploadMetrics(Collector):
    """Counts uploads; nothing here raises, or waits for another process or a disk."""

    def __init__(self, workers: int) -> None:
        """For so many worker processes, before they are forked.

        Raises:
            OSError: there is no memory for it.
        """
        counters = [*_UPLOADS.values(), *_REFUSALS.values(), _BYTES, _SECONDS, *_LE]
        self._tally = Tally(counters, [_IN_FLIGHT], processes=_ROWS_A_WORKER * workers + _ROWS_A_WORKER)

    @contextmanager
    def upload(self) -> Iterator[None]:
        """An upload is under way in this block. What leaves it as an exception is counted as a refusal."""
        with self.request():
            try:
                yield
            except ReceiverError as exc:
                self.refused(exc)
                raise
            except Exception:
                self.refused(InternalError())
                raise

    @contextmanager
    def request(self) -> Iterator[None]:
        """A part of an upload is under way in this block."""
        self._tally.add(_IN_FLIGHT)
        try:
            yield
        finally:
            self._tally.add(_IN_FLIGHT, -1)

    def received(self, count: int) -> None:
        """So many more bytes of bodies came."""
        self._tally.add(_BYTES, count)

    def stored(self, seconds: float) -> None:
        """An upload was stored that took so long."""
        seconds = max(0.0, seconds)
        self._tally.add(_UPLOADS[STORED])
        self._tally.add(_LE[bisect.bisect_left(BUCKETS, seconds)])
        self._tally.add(_SECONDS, seconds)

    def already_present(self) -> None:
        """An upload was answered without being stored again."""
        self._tally.add(_UPLOADS[ALREADY_PRESENT])

    def refused(self, error: ReceiverError) -> None:
        """An upload was not taken, for `error`."""
        self._tally.add(_UPLOADS[REFUSED if errors.status_of(error) < 500 else FAILED])
        self._tally.add(_REFUSALS[error.code])

    def collect(self) -> Iterator[Metric]:
        """See `Collector.collect`."""
        sums = self._tally.sums()
        uploads = CounterMetricFamily(
            "cis490_uploads", "Uploads of episodes that were answered.", labels=["outcome"]
        )
        for outcome, name in _UPLOADS.items():
            uploads.add_metric([outcome], sums[name])
        yield uploads
        refusals = CounterMetricFamily(
            "cis490_refusals", "Uploads of episodes that were not taken, by error code.", labels=["code"]
        )
        for code, name in _REFUSALS.items():
            refusals.add_metric([code], sums[name])
        yield refusals
        yield CounterMetricFamily(
            "cis490_upload_bytes", "Bytes of episodes that came, whatever became of them.", value=sums[_BYTES]
        )
        counts = itertools.accumulate(sums[name] for name in _LE)
        bounds = [*map(str, BUCKETS), "+Inf"]
        yield HistogramMetricFamily(
            "cis490_upload_seconds",
            "How long uploads took that were stored, from head to answer.",
            buckets=list(zip(bounds, counts, strict=True)),
            sum_value=sums[_SECONDS],
        )
        yield GaugeMetricFamily(
            "cis490_uploads_in_flight", "Uploads under way right now.", value=sums[_IN_FLIGHT]
        )
