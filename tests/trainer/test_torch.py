"""The real PyTorch, of Debian: nothing is given twice or left out, however it is split, stopped and gone on with."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.archives import make_episode
from tests.support.receiver import ROOT, TOKEN, Receiver, clean_environment

PYTHON = "/usr/bin/python3"
COUNT = 11


@pytest.fixture(scope="module")
def torch_python() -> str:
    """Debian's Python with torch. Without it the test is skipped, or fails where everything must be there."""
    place = Path("/usr/lib/python3/dist-packages")
    if not (place / "torch").is_dir() or not (place / "zstandard").is_dir():
        message = "needs torch: apt-get install python3-torch python3-zstandard"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return PYTHON


@pytest.fixture(scope="module")
def names(shared_receiver: Receiver) -> list[str]:
    for number in range(COUNT):
        assert shared_receiver.put(f"h{number % 2}", f"e{number:02}", make_episode(number)).status == 201
    return sorted(f"h{number % 2}/e{number:02}" for number in range(COUNT))


def run(python: str, case: str, receiver: Receiver) -> Any:
    done = subprocess.run(
        [python, ROOT / "tests/trainer/with_torch.py", case, f"http://127.0.0.1:{receiver.port}", TOKEN],
        env=clean_environment() | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_split_gives_each_once(torch_python: str, shared_receiver: Receiver, names: list[str]) -> None:
    found = run(torch_python, "split", shared_receiver)
    assert {how for how, given in found.items() if sorted(given) != names} == set() and len(found) == 12
    assert found["None 0 1"] == names != found["7 0 1"]


def test_it_goes_on_where_it_was(torch_python: str, shared_receiver: Receiver, names: list[str]) -> None:
    found = run(torch_python, "resume", shared_receiver)
    assert len(found) == 24
    for workers, then, before, given, after, epoch in found:
        assert sorted(given) == names, (workers, then, before)
        assert (after, epoch) == (names, 2)
    # Stopped at every place on the way.
    assert {before for workers, _, before, *_ in found if not workers} == {0, 2, 4, 6, 8, 10}
    found = run(torch_python, "in_process", shared_receiver)
    assert found["first"] + found["rest"] == names
    assert found["next"] == found["whole"] == names and found["length"] == COUNT


def test_samples_are_those_of_webdataset(
    torch_python: str, shared_receiver: Receiver, names: list[str]
) -> None:
    found = run(torch_python, "samples", shared_receiver)
    assert found["keys"] == ["__key__", "__url__", "meta.json"] and found["meta"] == 2
    assert found["collated"] == dict.fromkeys(found["keys"], COUNT)


def test_what_cannot_be_kept_is_not_promised(
    torch_python: str, shared_receiver: Receiver, names: list[str]
) -> None:
    told = run(torch_python, "refusals", shared_receiver)
    assert [line.partition(":")[0] for line in told] == [
        "ValueError", "ValueError", "RuntimeError", "TypeError", "ValueError",
    ]  # fmt: skip
    assert "give the Dataset a release=" in told[0] and "use data.loader(...)" in told[2]
