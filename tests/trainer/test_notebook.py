"""The example notebook runs from its first cell to its last, on a real receiver."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.support.archives import Archive, pack
from tests.support.receiver import BIN, ROOT, TOKEN, Receiver, clean_environment

#: In a process of its own: a kernel's client has an event loop, and warnings of its own.
RUN = """
import json, sys
import nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], as_version=4)
[cell] = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
cell.source = f"URL = {sys.argv[2]!r}\\nTOKEN = {sys.argv[3]!r}"
NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
print(json.dumps(["".join(output.get("text", "") + output.get("data", {}).get("text/plain", "")
                  for output in cell.outputs) for cell in notebook.cells if cell.cell_type == "code"]))
"""


def test_the_example_notebook_runs(receiver: Receiver, tmp_path: Path) -> None:
    bad = "b" * 40
    for number in range(6):
        commit = bad if number == 5 else "a" * 40
        files = {
            "meta.json": json.dumps({"schema_version": 2, "number": number}).encode(),
            "telemetry.jsonl": b"".join(b'{"t":%d,"syscalls":%d}\n' % (t, number + t) for t in range(4)),
        }
        answer = receiver.put(
            f"lab-{number % 2}", f"run-{number}", Archive(pack(files)),
            X_Episode_Type="control", X_Cis490_Code_Commit=commit,
        )  # fmt: skip
        assert answer.status == 201
    withdraw = [BIN / "cis490-receiver", "withdraw", "--commit", bad, "--why", "its clock was wrong"]
    subprocess.run(
        withdraw, env=clean_environment(data_dir=receiver.data_dir), check=True, capture_output=True
    )
    done = subprocess.run(
        [sys.executable, "-c", RUN, ROOT / "docs/trainer.ipynb", f"http://127.0.0.1:{receiver.port}", TOKEN],
        env=clean_environment() | {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    _, count, table, meta, members, lines, features, parts, withdrawn = json.loads(done.stdout)
    assert (count, parts) == ("5", "[1, 1, 1, 1, 1]") and "lab-0" in table and "lab-1" in table
    assert "lab-0 run-0" in meta and "'number': 0" in meta and "telemetry.jsonl" in members
    assert "'syscalls': 2" in lines and "('lab-1/run-3', 'control', 4.5)" in features
    assert "its clock was wrong" in withdrawn and "run-5" in withdrawn
