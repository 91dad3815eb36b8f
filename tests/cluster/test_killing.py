"""Nothing that was acknowledged is lost, whatever is killed; where a standby lags behind, that is noticed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster.killing import FAIL_OVER, KINDS, try_it
from tests.support.failover import ASYNCHRONOUS

pytestmark = pytest.mark.slow


def test_whatever_is_killed_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    trial = try_it(tmp_path, acknowledged=200, kills=len(KINDS) + 2, seed=1)
    assert trial.lost == []
    assert len(trial.acknowledged) >= 200 and set(trial.kills) == set(KINDS)


def test_an_asynchronous_standby_is_seen_to_lose_what_was_acknowledged(tmp_path: Path) -> None:
    trial = try_it(tmp_path, acknowledged=20, kills=2, seed=1, kinds=(FAIL_OVER,), replication=ASYNCHRONOUS)
    assert any("is not in the index" in found for found in trial.lost)
