"""A dataset: what a receiver or a mirror lists, each episode read and verified, in one fixed order."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from cis490_receiver.trainer import Dataset
from cis490_receiver.trainer.failures import (
    BadEpisode,
    DatasetFailed,
    DigestMismatch,
    EpisodeFailed,
    EpisodeMissing,
    NoSuchMember,
)
from tests.support.archives import Archive, make_episode, pack
from tests.support.receiver import BIN, TOKEN, Receiver, clean_environment, running
from tests.trainer.spoiling import between, cut, flip, flip_end, whole

GOOD, BAD = "a" * 40, "b" * 40


def run(*arguments: object, data_dir: Path | None = None) -> str:
    settings = {} if data_dir is None else {"data_dir": data_dir}
    done = subprocess.run(
        [BIN / "cis490-receiver", *map(str, arguments)],
        env=clean_environment(**settings),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def url(receiver: Receiver) -> str:
    return f"http://127.0.0.1:{receiver.port}"


def names(dataset: Any) -> list[str]:
    return [f"{episode.host_id}/{episode.episode_id}" for episode in dataset]


@pytest.fixture(scope="module")
def filled(shared_receiver: Receiver) -> Receiver:
    """Six episodes of two hosts, shipped in no order."""
    for number in (3, 1, 5, 0, 4, 2):
        commit = BAD if number % 2 else GOOD
        archive = make_episode(number, size=20_000, meta={"code_commit": commit, "number": number})
        host = "b-host" if number < 3 else "a-host"
        assert shared_receiver.put(host, f"e{number}", archive, X_Cis490_Code_Commit=commit).status == 201
    return shared_receiver


@pytest.fixture(scope="module")
def mirrored(filled: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mirror")
    token = folder / "token"
    token.write_text(TOKEN)
    run("mirror", url(filled), folder / "m", "--token-file", token)
    return folder / "m"


ORDER = ["a-host/e3", "a-host/e4", "a-host/e5", "b-host/e0", "b-host/e1", "b-host/e2"]


@pytest.fixture(params=["receiver", "receiver without a cache", "mirror"])
def dataset(
    request: pytest.FixtureRequest, filled: Receiver, mirrored: Path, tmp_path: Path
) -> Callable[..., Dataset]:
    def make(**given: Any) -> Dataset:
        if request.param == "mirror":
            return Dataset(mirrored, **given)
        cache = tmp_path / "cache" if request.param == "receiver" else False
        return Dataset(url(filled), TOKEN, cache=cache, **given)

    return make


def test_it_is_a_sequence_in_one_fixed_order(dataset: Callable[..., Dataset]) -> None:
    episodes = dataset()
    assert (len(episodes), names(episodes), names(episodes)) == (6, ORDER, ORDER)
    assert names(episodes[1:3]) == ORDER[1:3] and episodes[-1].episode_id == "e2"
    assert names(dataset(host="a-host", commit=BAD)) == ["a-host/e3", "a-host/e5"]
    assert names(dataset(until=dt.datetime(2020, 1, 1, tzinfo=dt.UTC))) == []
    assert names(dataset(since="7d", until=None)) == ORDER
    with pytest.raises(TypeError, match="no such filter: hots; there are host, since"):
        dataset(hots="a-host")
    with pytest.raises(ValueError, match="commit must be 40 hex digits, not 'main'"):
        dataset(commit="main")


def test_shards_have_nothing_in_common_and_are_everything(dataset: Callable[..., Dataset]) -> None:
    whole = dataset()
    shards = [names(whole.shard(rank, 4)) for rank in range(4)]
    assert sorted(chain(*shards)) == ORDER and {len(shard) for shard in shards} == {1, 2}
    assert shards == [names(dataset().shard(rank, 4)) for rank in range(4)]
    # Parts of a part.
    assert sorted(names(whole.shard(0, 2).shard(0, 2)) + names(whole.shard(0, 2).shard(1, 2))) == sorted(
        names(whole.shard(0, 2))
    )
    for rank, world in ((2, 2), (-1, 2), (0, 0)):
        with pytest.raises(ValueError, match="rank must be"):
            whole.shard(rank, world)


def test_an_episode_opens_in_every_way(dataset: Callable[..., Dataset]) -> None:
    for episode in dataset():
        number = int(episode.episode_id[1:])
        archive = make_episode(
            number, size=20_000, meta={"code_commit": episode.code_commit, "number": number}
        )
        assert (episode.sha256, episode.size_bytes) == (archive.sha256, len(archive.data))
        assert episode.meta["number"] == number
        assert [(item.name, item.size_bytes) for item in episode.members()][1] == ("telemetry.bin", 20_000)
        whole = episode.read_bytes("telemetry.bin")
        with episode.open("telemetry.bin") as stream:
            assert stream.read(10) + stream.read() == whole and not stream.closed
        assert len(whole) == 20_000 and episode.load().keys() == {"meta.json", "telemetry.bin"}
        assert episode.path().read_bytes() == archive.data
        with episode.open_archive() as stream:
            assert stream.read() == archive.data
        with pytest.raises(NoSuchMember, match=r"no file 'x' in .*; there is 'meta.json', 'telemetry.bin'"):
            episode.open("x")


def test_a_table_has_times_as_times(dataset: Callable[..., Dataset]) -> None:
    episodes = dataset()
    table, frame = episodes.to_arrow(), episodes.to_pandas()
    assert table.num_rows == len(frame) == 6
    assert str(table.schema.field("received_at_ns").type) == "timestamp[ns, tz=UTC]"
    assert table["received_at_wall"][0].as_py() == frame["received_at_wall"][0].to_pydatetime()
    assert frame["received_at_ns"][0].value == episodes[0].received_at_ns
    assert frame["is_withdrawn"].sum() == 0 and list(frame["host_id"]) == table["host_id"].to_pylist()


def test_what_is_withdrawn_is_out_at_the_next_look(receiver: Receiver, tmp_path: Path) -> None:
    for number in range(4):
        commit = BAD if number % 2 else GOOD
        archive = make_episode(number, meta={"code_commit": commit})
        assert receiver.put("h", f"e{number}", archive, X_Cis490_Code_Commit=commit).status == 201
    token = tmp_path / "token"
    token.write_text(TOKEN)
    follow = ["mirror", url(receiver), tmp_path / "m", "--token-file", token]
    run(*follow)
    sources = [(url(receiver), token), (tmp_path / "m", None)]
    whole = [Dataset(source, given, cache=False) for source, given in sources]
    shards = [item.shard(rank, 2) for item in whole for rank in range(2)]
    under_way = iter(whole[0])
    assert [len(item) for item in [*whole, *shards]] == [4, 4, 2, 2, 2, 2]
    run("withdraw", "--commit", BAD, "--why", "its clock was wrong", data_dir=receiver.data_dir)
    run(*follow)
    assert names(under_way) == ["h/e0", "h/e1", "h/e2", "h/e3"], "an iteration stays as it began"
    assert [names(item) for item in whole] == [["h/e0", "h/e2"]] * 2
    # Nothing moves from one shard to the other.
    assert [names(item) for item in shards] == [["h/e0", "h/e2"], []] * 2
    for source, given in sources:
        only = Dataset(source, given, cache=False, withdrawn="only")
        assert names(only) == ["h/e1", "h/e3"] and only[0].is_withdrawn
        assert only[0].meta["code_commit"] == BAD
        assert len(Dataset(source, given, cache=False, withdrawn="include")) == 4
    said = Dataset(url(receiver), TOKEN, cache=False, withdrawn="include").to_pandas()
    assert list(said["withdrawn_why"].dropna()) == ["its clock was wrong"] * 2


# Bytes that come wrong


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    """A receiver beside the one whose whole list is looked at."""
    with running(tmp_path_factory.mktemp("other")) as started:
        yield started


@pytest.fixture(scope="module")
def large(other: Receiver) -> Archive:
    """An episode of several pieces, whose last member is small."""
    content = {"meta.json": b"{}", "telemetry.bin": os.urandom(3_000_000), "end.txt": b"the end\n"}
    archive = Archive(pack(content))
    assert other.put("large", "e", archive).status == 201
    return archive


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("spoil", [flip, flip_end])
def test_wrong_bytes_never_end_normally(
    other: Receiver, large: Archive, tmp_path: Path, spoil: Callable[[bytes], bytes], cached: bool
) -> None:
    with between(other, spoil) as (address, _):
        cache = tmp_path / "cache" if cached else False
        episode = Dataset(address, TOKEN, cache=cache, host="large")[0]
        for member in ("meta.json", "telemetry.bin"):
            with pytest.raises(DigestMismatch), episode.open(member) as stream:
                # Exactly its bytes, without asking for the end.
                size = {"meta.json": 2, "telemetry.bin": 3_000_000}[member]
                while size:
                    size -= len(stream.read(min(size, 1000)))
        for read in (lambda: episode.meta, episode.members, episode.load, episode.path):
            with pytest.raises(DigestMismatch):
                read()
        assert not list(tmp_path.glob("cache/??/*"))


@pytest.mark.parametrize("cached", [True, False])
def test_a_download_that_is_cut_goes_on_where_it_was(
    other: Receiver, large: Archive, tmp_path: Path, cached: bool
) -> None:
    with between(other, cut, cut, whole) as (address, asked):
        episode = Dataset(address, TOKEN, cache=tmp_path / "cache" if cached else False, host="large")[0]
        assert len(episode.read_bytes("telemetry.bin")) == 3_000_000
    begins = [int((value or "bytes=0-")[6:-1]) for _, value in asked]
    assert len(begins) == 3 and begins[0] == 0 < begins[1] < begins[2]


def test_what_somebody_left_half_way_in_the_cache_is_continued(
    other: Receiver, large: Archive, tmp_path: Path
) -> None:
    with between(other, whole) as (address, asked):
        with Dataset(address, TOKEN, cache=tmp_path, host="large")[0].open("telemetry.bin") as stream:
            stream.read(1000)
        assert Dataset(address, TOKEN, cache=tmp_path, host="large")[0].path().read_bytes() == large.data
        assert asked[0][1] is None and asked[1][1] not in (None, "bytes=0-")
        # And then it is here.
        assert Dataset(address, TOKEN, cache=tmp_path, host="large")[0].meta == {} and len(asked) == 2


def test_a_lost_file_a_refusal_and_no_receiver_are_named(other: Receiver, tmp_path: Path) -> None:
    archive = make_episode(9)
    assert other.put("lost", "e", archive).status == 201
    (other.data_dir / "episodes" / "lost" / "e.tar.zst").unlink()
    with pytest.raises(EpisodeMissing, match="lost/e is in the receiver's index, and not on its disk"):
        Dataset(url(other), TOKEN, cache=False, host="lost")[0].path()
    with pytest.raises(DatasetFailed, match=r"refused the token \(401\); give one that may read with token="):
        len(Dataset(url(other), "wrong", cache=False))
    with pytest.raises(DatasetFailed, match="ftp://x is not the address of a receiver"):
        Dataset("ftp://x")
    with pytest.raises(DatasetFailed, match="is no mirror's folder"):
        len(Dataset(tmp_path))
    with pytest.raises(DatasetFailed, match="there is no folder"):
        Dataset(tmp_path / "nowhere")


def test_what_is_no_archive_says_so(other: Receiver) -> None:
    assert other.put("torn", "e", Archive(make_episode(1).data[:-40])).status == 201
    episode = Dataset(url(other), TOKEN, cache=False, host="torn")[0]
    with pytest.raises(BadEpisode, match="torn/e cannot be decoded"):
        episode.members()
    assert isinstance(BadEpisode(), EpisodeFailed)


def test_a_mirrors_file_is_verified_as_it_is_read(mirrored: Path) -> None:
    path = next(mirrored.glob("episodes/a-host/e3*"))
    good = path.read_bytes()
    episode = Dataset(mirrored)[0]
    assert episode.path() == path
    path.write_bytes(flip(good))
    try:
        for read in (lambda: episode.meta, episode.load, episode.path):
            with pytest.raises(DigestMismatch):
                read()
    finally:
        path.write_bytes(good)


def test_what_is_read_ahead_and_comes_wrong_is_read_again(other: Receiver) -> None:
    archives = {f"e{number:02}": make_episode(number) for number in range(20)}
    for name, archive in archives.items():
        assert other.put("ahead", name, archive).status == 201
    spoils = {archives["e05"].data: cut, archives["e07"].data: flip, archives["e12"].data: flip_end}

    def once(body: bytes) -> bytes:
        return spoils.pop(body, whole)(body)

    with between(other, once) as (address, asked):
        for episode in Dataset(address, TOKEN, cache=False, host="ahead"):
            with episode.open_archive() as stream:
                assert stream.read() == archives[episode.episode_id].data
    assert not spoils
    times = {name: sum(f"/{name}." in path for path, _ in asked) for name in archives}
    assert {name for name, count in times.items() if count > 1} == {"e05", "e07", "e12"}


# Releases


def test_a_release_is_exactly_its_table(filled: Receiver, mirrored: Path) -> None:
    lines = (filled.data_dir / "index.jsonl").read_bytes().splitlines(keepends=True)
    table = b"".join(sorted(line for line in lines if b'"a-host"' in line))
    (mirrored / "releases").mkdir()
    (mirrored / "releases" / "paper.jsonl").write_bytes(table)
    sha256 = hashlib.sha256(table).hexdigest()
    assert names(Dataset(mirrored, release="paper", release_sha256=sha256)) == ORDER[:3]
    assert names(Dataset(mirrored, release="paper", commit=GOOD)) == ORDER[1:2]
    with pytest.raises(DatasetFailed, match="it is another"):
        len(Dataset(mirrored, release="paper", release_sha256="0" * 64))
    with pytest.raises(DatasetFailed, match="there is no release other"):
        len(Dataset(mirrored, release="other"))
    (mirrored / "releases" / "paper.json").write_text(json.dumps({"sha256": "0" * 64}))
    with pytest.raises(DatasetFailed, match="is not what it was"):
        len(Dataset(mirrored, release="paper"))
    (mirrored / "releases" / "paper.json").unlink()
    held = mirrored / "withdrawn" / "a-host"
    held.mkdir(parents=True)
    (mirrored / "episodes/a-host/e3.tar.zst").rename(held / "e3.tar.zst")
    try:
        paper = Dataset(mirrored, release="paper")
        with pytest.warns(UserWarning, match="1 episodes of the release paper were withdrawn since"):
            assert names(paper) == ORDER[:3] and paper[0].meta["number"] == 3
        assert names(Dataset(mirrored, release="paper", withdrawn="exclude")) == ORDER[1:3]
    finally:
        (held / "e3.tar.zst").rename(mirrored / "episodes/a-host/e3.tar.zst")


def test_importing_it_is_quick_and_brings_no_web_framework() -> None:
    code = (
        "import sys; from cis490_receiver.trainer import Dataset; "
        "sys.exit(int(bool({'flask', 'werkzeug', 'gunicorn', 'jinja2', 'sqlite3', 'click', 'rich.console', 'pandas', "
        "'pyarrow'} & set(sys.modules))))"
    )
    began = time.process_time(), os.times().children_user
    subprocess.run([sys.executable, "-c", code], check=True)
    assert began[0] and os.times().children_user - began[1] < 1
