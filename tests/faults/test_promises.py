"""What holds without any crash, and what the mutants are tried on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.support.promises import PROMISES


@pytest.mark.parametrize("promise", PROMISES.values(), ids=PROMISES)
def test_the_promise_is_kept(promise: Callable[[Path], None], tmp_path: Path) -> None:
    promise(tmp_path / "data")
