"""The nets are fine enough: a protocol with one step missing or moved is caught by them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.support.inspections import INSPECTING
from tests.faults.support.mutants import MUTANTS, Mutant
from tests.faults.support.mutants_beside import BESIDE
from tests.faults.support.mutants_releasing import RELEASING
from tests.faults.support.mutants_resumed import RESUMED
from tests.faults.support.mutants_withdrawn import WITHDRAWN
from tests.support.receiver import ROOT


@pytest.mark.slow
@pytest.mark.parametrize(
    "mutant",
    [*MUTANTS, *BESIDE, *WITHDRAWN, *RESUMED, *RELEASING, *INSPECTING],
    ids=lambda mutant: mutant.name,
)
def test_a_broken_protocol_is_caught(mutant: Mutant, tmp_path: Path, tool: Callable[[str], str]) -> None:
    tool("strace")
    package = tmp_path / "cis490_receiver"
    # With what was compiled of it, which takes as long as most hunts, but for what others are writing now.
    shutil.copytree(ROOT / "cis490_receiver", package, ignore=shutil.ignore_patterns("*.pyc.*"))
    module = package / mutant.module
    source = module.read_text()
    assert source.count(mutant.old) == 1, f"{mutant.module} has changed: say anew what to break"
    module.write_text(source.replace(mutant.old, mutant.new))
    ended = subprocess.run(
        [sys.executable, "-m", "tests.faults.support.hunt", "--coarse", mutant.caught_by],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
    )
    assert ended.stdout, ended.stderr
    found = json.loads(ended.stdout)[mutant.caught_by]
    assert str(found).startswith("broken"), f"{mutant.name} was not caught by {mutant.caught_by}"
    print(f"{mutant.name}: {found}")
