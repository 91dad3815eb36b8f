"""The libraries that trainers use beside torch, each the real one: `datasets`, fsspec, pandas; webdataset's form."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import chain
from typing import Any

import pytest

from cis490_receiver.trainer import Dataset
from cis490_receiver.trainer.failures import ExtraMissing
from tests.support.archives import Archive, pack
from tests.support.receiver import ROOT, TOKEN, Receiver, clean_environment

COUNT = 7


@pytest.fixture(scope="module")
def address(shared_receiver: Receiver) -> str:
    for number in range(COUNT):
        files = {
            "run/meta.json": json.dumps({"number": number}).encode(),
            "run/telemetry.jsonl": b"".join(b'{"t":%d,"n":%d}\n' % (t, number) for t in range(5)),
        }
        assert shared_receiver.put(f"h{number % 2}", f"e{number}", Archive(pack(files))).status == 201
    return f"http://127.0.0.1:{shared_receiver.port}"


def run(code: str, *arguments: str) -> Any:
    """What `code` prints as JSON, in a process of its own: these libraries keep threads, caches and warnings."""
    environ = clean_environment() | {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], env=environ, cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


HUGGING_FACE = """
import json, sys
from cis490_receiver.trainer import Dataset
data = Dataset(*sys.argv[1:], cache=False).to_hugging_face("meta.json", parts=4)
from datasets.distributed import split_dataset_by_node
rows = list(data)
nodes = [[row["episode_id"] for row in split_dataset_by_node(data, rank, 2)] for rank in range(2)]
print(json.dumps({
    "rows": [[row["host_id"], row["episode_id"], json.loads(row["meta.json"])["number"]] for row in rows],
    "shards": data.num_shards, "nodes": nodes, "columns": list(rows[0]),
}))
"""


def test_datasets_of_hugging_face_gives_each_once(address: str) -> None:
    found = run(HUGGING_FACE, address, TOKEN)
    assert sorted(found["rows"]) == sorted([f"h{n % 2}", f"e{n}", n] for n in range(COUNT))
    assert found["shards"] == 4 and sorted(chain(*found["nodes"])) == [f"e{n}" for n in range(COUNT)]
    assert found["columns"][0] == "host_id" and found["columns"][-1] == "meta.json"


FSSPEC = """
import fsspec, json, pandas, sys, warnings
given = {"source": sys.argv[1], "token": sys.argv[2], "cache": False}
fs = fsspec.filesystem("cis490", **given)
telemetry = pandas.read_json("cis490://h1/e3/telemetry.jsonl", lines=True, storage_options=given)
with fs.open("h1/e3/run/telemetry.jsonl") as stream:
    stream.seek(-9, 2)
    end = stream.read().decode()
missing = []
for path in ("h2", "h1/e9", "h1/e3/run/none"):
    try:
        fs.ls(path)
    except FileNotFoundError:
        missing.append(path)
print(json.dumps({
    "hosts": fs.ls("", detail=False), "episodes": fs.ls("h1", detail=False), "found": fs.find("h1/e3"),
    "glob": fs.glob("h*/e[01]/run/meta.json"), "info": fs.info("h1/e3/run/telemetry.jsonl"), "end": end,
    "sum": int(telemetry["n"].sum()), "rows": len(telemetry), "missing": missing, "exists": fs.exists("h0/e1"),
}))
"""


def test_pandas_reads_an_address_of_fsspec(address: str) -> None:
    found = run(FSSPEC, address, TOKEN)
    assert (found["rows"], found["sum"], found["end"]) == (5, 15, '4,"n":3}\n')
    assert (found["hosts"], found["episodes"]) == (["h0", "h1"], ["h1/e1", "h1/e3", "h1/e5"])
    assert found["found"] == ["h1/e3/run/meta.json", "h1/e3/run/telemetry.jsonl"]
    assert found["glob"] == ["h0/e0/run/meta.json", "h1/e1/run/meta.json"]
    assert found["info"] == {"name": "h1/e3/run/telemetry.jsonl", "size": 70, "type": "file"}
    assert found["missing"] == ["h2", "h1/e9", "h1/e3/run/none"] and not found["exists"]


def test_samples_and_tuples_are_those_of_webdataset(address: str) -> None:
    data = Dataset(address, TOKEN, cache=False)
    samples = list(data.samples("meta.json"))
    assert [list(sample) for sample in samples] == [["__key__", "__url__", "meta.json"]] * COUNT
    assert (
        samples[0]["__key__"] == "h0/e0" and samples[0]["__url__"] == f"{address}/v1/episodes/h0/e0.tar.zst"
    )
    assert list(next(data.samples()))[2:] == ["run/meta.json", "run/telemetry.jsonl"]
    assert [len(item) for item in data.tuples("telemetry.jsonl", "meta.json")] == [2] * COUNT
    assert next(data.tuples("telemetry.jsonl", "meta.json"))[1] == b'{"number": 0}'


@pytest.mark.parametrize(
    ("library", "call", "remedy"),
    [
        ("datasets", "to_hugging_face", "pip install 'cis490-receiver[hf]'"),
        ("pandas", "to_pandas", "pip install 'cis490-receiver[pandas]'"),
        ("pyarrow", "to_arrow", "pip install 'cis490-receiver[parquet]'"),
        ("torch", "torch", "pip install torch"),
    ],
)
def test_a_library_that_is_missing_is_named_with_its_extra(
    address: str, monkeypatch: pytest.MonkeyPatch, library: str, call: str, remedy: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ExtraMissing) as caught:
        getattr(Dataset(address, TOKEN, cache=False), call)()
    assert remedy in str(caught.value) and isinstance(caught.value, ImportError)
