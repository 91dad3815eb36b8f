"""What a trainer shows to a receiver."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.receiver import TOKEN


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    """A file with the token."""
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    return path
