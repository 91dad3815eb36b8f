"""What is broken on the lab host is not shipped, and said; what is good is read once, to its end."""

from __future__ import annotations

import io
import json
import os
import random
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from cis490_receiver import i_json
from cis490_receiver.client import inspection
from tests.client.hosts import Lab
from tests.gate.snapshots import commit_id, make_snapshot, write
from tests.support.archives import Archive, pack
from tests.support.receiver import Receiver
from tests.support.terminals import shown

META = {"schema_version": 3, "code_commit": commit_id(1), "episode_type": "infected"}


def packed(*files: tuple[str, bytes], checksum: bool = True) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as out:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            out.addfile(member, io.BytesIO(content))
    return zstandard.ZstdCompressor(level=1, write_checksum=checksum).compress(raw.getvalue())


def flipped(data: bytes) -> bytes:
    """`data` with two bits flipped in its middle, in what does not compress: it decodes to its end all the same."""
    spoiled = bytearray(data)
    for at in (len(data) // 2, len(data) // 2 + 9):
        spoiled[at] ^= 0x10
    return bytes(spoiled)


def episode(*, checksum: bool = True) -> bytes:
    return packed(("meta.json", json.dumps(META).encode()), ("noise", os.urandom(300_000)), checksum=checksum)


def check(lab: Lab, *paths: Path) -> list[dict[str, Any]]:
    done = lab.run("cis490-shipper", "check", "--json", *paths)
    told = json.loads(done.stdout)["files"]
    assert done.returncode == any(one["verdict"] != "good" for one in told)
    return list(told)


def doctor(lab: Lab) -> dict[str, dict[str, str]]:
    report = json.loads(lab.run("cis490-doctor", "--json").stdout)
    return {check["name"]: check for check in report["checks"]}


def test_an_episode_with_two_bits_flipped_is_set_aside_and_never_acknowledged(
    receiver: Receiver, tmp_path: Path
) -> None:
    lab = Lab.of(tmp_path / "lab", receiver)
    good = episode()
    path = lab.record("spoiled", Archive(flipped(good)))
    by_hand = lab.run("cis490-shipper", "ship", path)
    assert (by_hand.returncode, by_hand.stdout.split()[0]) == (1, "bad-file")
    assert "checksum" in by_hand.stdout and "smartctl" in by_hand.stdout
    assert [one["code"] for one in check(lab, path)] == ["damaged"]
    lab.record("good", Archive(good))
    once = lab.run("cis490-shipper", "run", "--once")
    assert (once.returncode, once.stdout) == (1, "1 shipped, 1 refused, 0 left in the spool\n")
    assert [line["episode_id"] for line in receiver.index()] == ["good"]
    assert receiver.stored() == {("lab-1", "good.tar.zst"): good}
    told = json.loads((lab.spool / "refused" / "spoiled.tar.zst.answer.json").read_text())
    assert (told["status"], told["answer"]["code"]) == (None, "damaged")
    status = lab.run("cis490-shipper", "status")
    assert status.returncode == 1
    assert "1 damaged" in status.stdout and "checksum" in status.stdout
    assert doctor(lab)["refused"]["status"] == "fail"
    (lab.spool / "refused" / "spoiled.tar.zst").write_bytes(good)
    assert lab.run("cis490-shipper", "retry", "spoiled").returncode == 0
    assert lab.run("cis490-shipper", "run", "--once").returncode == 0
    assert doctor(lab)["refused"]["status"] == "ok"
    assert len(receiver.index()) == 2


def test_what_ship_is_given_that_is_no_episode_is_named(shared_receiver: Receiver, tmp_path: Path) -> None:
    lab = Lab.of(tmp_path / "lab", shared_receiver, host_id="named")
    whole = episode()
    files = {
        "missing": None,
        "empty": b"",
        "short": whole[:3],
        "cut": whole[:-1],
        "junk": b"PK\3\4" + bytes(1000),
        "behind": whole + b"more",
        "no-tar": zstandard.ZstdCompressor().compress(b"hello" * 1000),
        "tar-cut": zstandard.ZstdCompressor().compress(tarfile.TarInfo("x").tobuf()),
        "bad name": whole,
    }
    paths = [tmp_path / f"{name}.tar.zst" for name in files]
    for path, data in zip(paths, files.values(), strict=True):
        if data is not None:
            path.write_bytes(data)
    folder = tmp_path / "folder.tar.zst"
    folder.mkdir()
    pipe = tmp_path / "pipe.tar.zst"
    os.mkfifo(pipe)
    done = lab.run("cis490-shipper", "ship", "--json", *paths, folder, pipe)
    told = json.loads(done.stdout)["files"]
    assert done.returncode == 1
    assert {one["verdict"] for one in told} == {"bad-file"}
    assert all(one["error"] and one["remedy"] for one in told)
    assert [one["code"] for one in told] == [
        "missing",
        "unfinished",
        "unfinished",
        "unfinished",
        "damaged",
        "damaged",
        "damaged",
        "unfinished",
        "bad-episode-name",
        "unreadable",
        "unreadable",
    ]
    assert not [line for line in shared_receiver.index() if line["host_id"] == "named"]
    lab.write(receiver_url="http://127.0.0.1:1")
    lab.write(token_file=tmp_path / "absent")
    (tmp_path / "whole.tar.zst").write_bytes(whole)
    done = lab.run("cis490-shipper", "ship", tmp_path / "whole.tar.zst")
    assert (done.returncode, done.stdout.split()[0]) == (1, "not-shipped")


def far_meta(path: Path) -> None:
    """An episode whose meta.json comes after 300 MiB of zeros."""
    zeros = tarfile.TarInfo("zeros")
    zeros.size = 300 << 20
    meta = tarfile.TarInfo("meta.json")
    content = json.dumps(META).encode()
    meta.size = len(content)
    with path.open("wb") as out, zstandard.ZstdCompressor(level=1).stream_writer(out) as packer:
        packer.write(zeros.tobuf())
        for _ in range(300):
            packer.write(bytes(1 << 20))
        packer.write(meta.tobuf() + content + bytes(-len(content) % 512 + 1024))


def test_a_meta_json_far_into_the_tar_is_what_the_headers_say(
    start_receiver: Callable[..., Receiver], tmp_path: Path
) -> None:
    receiver = start_receiver(gate_enabled=True)
    write(receiver.data_dir, make_snapshot(1))
    lab = Lab.of(tmp_path / "lab", receiver, check="frames")
    far_meta(lab.spool / "far.tar.zst")
    assert lab.run("cis490-shipper", "run", "--once").returncode == 1
    status = lab.run("cis490-shipper", "status").stdout
    assert "1 missing-commit" in status
    assert "note: no meta.json was found in its beginning" in status and 'check = "frames"' in status
    lab.write(check="full")
    assert lab.run("cis490-shipper", "retry", "far").returncode == 0
    assert lab.run("cis490-shipper", "run", "--once").returncode == 0
    [line] = receiver.index()
    assert {name: line[name] for name in META} == META


def test_what_was_not_found_is_said(receiver: Receiver, tmp_path: Path) -> None:
    lab = Lab.of(tmp_path / "lab", receiver)
    cases = {
        "none": ((("a", b"x"), ("deep/down/meta.json", b"{}")), "no meta.json among its 2 members"),
        "broken": ((("meta.json", b"{"),), "meta.json is not JSON"),
        "large": ((("meta.json", bytes(2 << 20)),), "meta.json is larger"),
        "bare": ((("meta.json", b"{}"),), "has no schema_version, code_commit, episode_type"),
        "short": ((("meta.json", b'{"code_commit": "abc"}'),), "'abc' and not 40 hex digits"),
        "typo": (
            (("meta.json", b'{"episode_type": "infekted"}'),),
            "'infekted' and not one of control, infected",
        ),
    }
    for name, (files, words) in cases.items():
        path = tmp_path / f"{name}.tar.zst"
        path.write_bytes(packed(*files))
        [told] = check(lab, path)
        assert (told["verdict"], words in "; ".join(told["notes"])) == ("good", True), told
        done = lab.run("cis490-shipper", "ship", path)
        assert (done.returncode, words in done.stdout) == (0, True)
    assert len(receiver.index()) == len(cases)


@pytest.mark.parametrize("checksum", [True, False])
def test_a_file_is_read_through_once_unless_it_changed_or_the_receiver_saw_other_bytes(
    receiver: Receiver, tmp_path: Path, checksum: bool
) -> None:
    lab = Lab.of(tmp_path / "lab", receiver)
    good = episode(checksum=checksum)
    path = lab.record("one", Archive(good))
    before = path.stat()
    url = lab.keys["receiver_url"]
    lab.write(receiver_url="http://127.0.0.1:1")
    assert lab.run("cis490-shipper", "run", "--once").returncode == 1
    # The disk rots: neither size nor times tell.
    path.write_bytes(flipped(good))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    lab.write(receiver_url=url)
    first = lab.run("cis490-shipper", "run", "--once")
    assert "code=sha-mismatch" in first.stderr, (
        "it was not read again: other bytes than it remembers were sent"
    )
    assert lab.names() == {"one.tar.zst"}
    assert doctor(lab)["kept"]["status"] == "warn"
    second = lab.run("cis490-shipper", "run", "--once")
    assert "code=damaged" in second.stderr
    words = "checksum" if checksum else "its bytes are others than they were"
    assert words in json.loads((lab.spool / "refused/one.tar.zst.answer.json").read_text())["answer"]["error"]
    assert (receiver.index(), receiver.stored()) == ([], {})
    lab.record("one", Archive(good))
    assert lab.run("cis490-shipper", "run", "--once").returncode == 0
    assert not list((lab.spool / ".checked").iterdir())


def test_an_unfinished_file_is_told_until_it_is_finished(receiver: Receiver, tmp_path: Path) -> None:
    lab = Lab.of(tmp_path / "lab", receiver)
    good = episode()
    path = lab.record("cut", Archive(good[:-100]))
    lab.run("cis490-shipper", "run", "--once")
    status = json.loads(lab.run("cis490-shipper", "status", "--json").stdout)
    assert [(one["file"], one["code"]) for one in status["kept"]] == [("cut.tar.zst", "unfinished")]
    assert lab.run("cis490-shipper", "status").returncode == 1
    assert doctor(lab)["kept"]["status"] == "warn"
    os.utime(path, (time.time() - 4000,) * 2)
    lab.run("cis490-shipper", "run", "--once")
    found = doctor(lab)["kept"]
    assert (found["status"], "cut short" in found["seen"]) == ("fail", True)
    path.write_bytes(good)
    assert doctor(lab)["kept"]["status"] == "ok"
    assert lab.run("cis490-shipper", "run", "--once").returncode == 0
    assert lab.run("cis490-shipper", "status").returncode == 0


def test_a_gigabyte_is_read_in_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "zeros.tar.zst"
    zeros = tarfile.TarInfo("zeros")
    zeros.size = 1 << 30
    with path.open("wb") as out, zstandard.ZstdCompressor(level=1).stream_writer(out) as packer:
        packer.write(zeros.tobuf())
        for _ in range(1024):
            packer.write(bytes(1 << 20))
        packer.write(bytes(1024))
    # The peak of its own memory map, which begins with it (proc(5)).
    script = (
        "import sys, pathlib; from cis490_receiver.client.byhand import check;"
        "print(check(pathlib.Path(sys.argv[1]))['verdict']);"
        "print(pathlib.Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])"
    )
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True)
    verdict, peak_kib = done.stdout.split()
    assert (verdict, int(peak_kib) < 80_000) == ("good", True), peak_kib


def test_what_takes_more_than_is_allowed_is_said_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "one.tar.zst"
    path.write_bytes(packed(*((str(number), b"") for number in range(20))))
    for limit, value in (("_MAX_HEADERS", 19), ("_MAX_DECOMPRESSED_BYTES", 1000), ("_MIN_SECONDS", -1.0)):
        with monkeypatch.context() as patched:
            patched.setattr(inspection, limit, value)
            with pytest.raises(inspection.BeyondCheck):
                inspection.read_through(path)
    assert inspection.read_through(path).members == 20


def test_the_look_at_a_large_file_shows_how_far_it_is(tmp_path: Path) -> None:
    path = tmp_path / "large.tar.zst"
    # What is done within half a second shows nothing.
    noise = random.Random(1).randbytes(200_000_000)
    path.write_bytes(pack({"meta.json": b"{}", "a": noise, "b": noise[::-1], "c": noise[7:]}))
    lab = Lab(tmp_path / "lab", "http://127.0.0.1:1")
    command = lab.command("cis490-shipper", "check", path)
    lines = shown(command, columns=100, env=lab.environment, cwd=tmp_path)
    assert any("checking large.tar.zst" in line and " of 600 MB" in line for line in lines), lines
    assert "checking" not in lab.run("cis490-shipper", "check", path).stderr


def test_a_name_that_is_no_text_can_be_told_to_strict_parsers(receiver: Receiver, tmp_path: Path) -> None:
    lab = Lab.of(tmp_path / "lab", receiver)
    path = lab.spool / os.fsdecode(b"odd\xff.tar.zst")
    path.write_bytes(episode())
    (tmp_path / "checks.d").mkdir()
    lab.write(checks_dir=tmp_path / "checks.d")
    mine = tmp_path / "checks.d" / "mine"
    mine.write_text('#!/bin/sh\nprintf \'%s\' \'{"status": "ok", "seen": "\\ud800"}\'\n')
    mine.chmod(0o755)
    told = [lab.run("cis490-shipper", "ship", "--json", path).stdout]
    told.append(lab.run("cis490-shipper", "check", "--json", path).stdout)
    assert lab.run("cis490-shipper", "run", "--once").returncode == 1
    told.append(lab.run("cis490-shipper", "status", "--json").stdout)
    told.append(lab.run("cis490-shipper", "retry", "--json", os.fsdecode(b"no\xff"), "other").stdout)
    told.append(lab.run("cis490-doctor", "--json").stdout)
    for text in told:
        i_json.loads(text.encode())
    assert lab.run("cis490-ship-health").returncode == 0
    assert lab.run("cis490-shipper", "retry", "--all").stdout == "1 back in the spool\n"
