"""Archives, whole and hostile: looked into, never extracted, in bounded memory."""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import tarfile
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from cis490_receiver import archive
from tests.support.archives import make_episode, pack

META = json.dumps({"schema_version": 2}).encode()
WHOLE = pack({"meta.json": META, "data": b"x" * 10_000})


def compress(data: bytes, **options: int) -> bytes:
    return zstandard.ZstdCompressor(**options).compress(data)


def tar(*members: tuple[tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=form) as out:
        for member, content in members:
            member.size = len(content)
            out.addfile(member, io.BytesIO(content))
    return packed.getvalue()


class Endless:
    """Some bytes, then zeros; its reader breaks off when it has seen enough."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def read(self, size: int, /) -> bytes:
        return self._data.read(size) or bytes(size)


def test_meta_is_found_first_last_in_a_folder_and_behind_long_names() -> None:
    long_name = "d/" * 80 + "n" * 90
    for files in (
        {"meta.json": META},
        {"./meta.json": META, "z": b""},
        {"run-1/meta.json": META},
        {"big": b"x" * 3_000_000, long_name: b"y", "meta.json": META},
    ):
        assert archive.read_meta(io.BytesIO(pack(files))) == {"schema_version": 2}
        assert archive.check(io.BytesIO(pack(files))) == {"schema_version": 2}
    huge = tarfile.TarInfo("huge")
    huge.size = 9 << 30  # beyond what the header's octal digits can say
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        walk = archive.members(archive.Decompressed(Endless(huge.tobuf(form)), 1 << 20))
        assert next(member.size_bytes for member in walk if member.name == "huge") == 9 << 30
    for form in (tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT):
        data = tar((tarfile.TarInfo("meta.json"), META), form=form)
        assert archive.check(io.BytesIO(compress(data))) == {"schema_version": 2}


def test_meta_first_costs_kilobytes_of_a_large_file(tmp_path: Path) -> None:
    path = tmp_path / "large.tar.zst"
    path.write_bytes(make_episode(1, size=30_000_000).data)
    with path.open("rb", buffering=0) as stream:
        archive.read_meta(stream)
        assert stream.tell() < 300_000


@pytest.mark.parametrize("cut", [1, 5, 9, 40, len(WHOLE) // 2, len(WHOLE) - 1])
def test_a_truncated_archive_is_damaged(cut: int) -> None:
    with pytest.raises(archive.ArchiveError):
        archive.check(io.BytesIO(WHOLE[:cut]))


def test_what_is_wrong_is_named() -> None:
    link = tarfile.TarInfo("meta.json")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    device = tarfile.TarInfo("meta.json")
    device.type = tarfile.CHRTYPE
    cases = [
        (b"", "empty"),
        (b"PK\3\4" + b"x" * 100, "not a zstd frame"),
        (WHOLE + b"trailing", "behind the last frame"),
        (compress(b"no tar at all" * 100), "not a tar archive"),
        (compress(b"\0" * 1024), "no meta.json"),
        (pack({"other.json": META}), "no meta.json"),
        (pack({"a/b/meta.json": META}), "no meta.json"),
        (pack({"meta.json": b"{"}), "not JSON"),
        (pack({"meta.json": b"[]"}), "not a JSON object"),
        (pack({"meta.json": b"[" * 100_000}), "not JSON"),
        (pack({"meta.json": b" " * (2 << 20)}), "larger than"),
        (compress(tar((link, b""))), "no meta.json"),
        (compress(tar((device, b""))), "no meta.json"),
        (compress(tar((tarfile.TarInfo("meta.json"), META))[:1000]), "ends in the middle"),
    ]
    for data, reason in cases:
        with pytest.raises(archive.ArchiveError, match=reason):
            archive.check(io.BytesIO(data))


def test_bombs_cost_neither_memory_nor_time() -> None:
    zeros = zstandard.ZstdCompressor(level=19).compressobj()
    bomb = b"".join(zeros.compress(b"\0" * (1 << 20)) for _ in range(300)) + zeros.flush()
    header = tarfile.TarInfo("zeros")
    header.size = 1 << 50
    endless = compress(header.tobuf()) + bomb
    window = zstandard.ZstdCompressor(
        compression_params=zstandard.ZstdCompressionParameters(window_log=30, enable_ldm=True)
    ).compressobj()
    wide = window.compress(tar((tarfile.TarInfo("meta.json"), META))) + window.flush()
    names = b"".join(tarfile.TarInfo(f"f{number}").tobuf() for number in range(20_000))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(archive.ArchiveError, match="more than"):
        archive.read_meta(io.BytesIO(endless))
    with pytest.raises(archive.ArchiveError, match="more than"):
        archive.check(io.BytesIO(endless), max_bytes=200 << 20)
    with pytest.raises(archive.ArchiveError, match="zstd"):
        archive.read_meta(io.BytesIO(wide))
    with pytest.raises(archive.ArchiveError, match="among the first"):
        archive.read_meta(io.BytesIO(compress(names)))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_damage_is_an_archive_error_or_harmless(data: st.DataObject) -> None:
    damaged = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    for look in (archive.read_meta, archive.check):
        with contextlib.suppress(archive.ArchiveError):
            assert isinstance(look(io.BytesIO(bytes(damaged))), dict)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=3000))
def test_any_tar_is_an_archive_error_or_harmless(content: bytes) -> None:
    for data in (content, compress(content), compress(tarfile.TarInfo("x").tobuf()[:148] + content)):
        with pytest.raises(archive.ArchiveError):
            archive.check(io.BytesIO(data))


def test_frames_of_every_kind_are_walked() -> None:
    raw = tar((tarfile.TarInfo("meta.json"), META), (tarfile.TarInfo("r"), os.urandom(300_000)))
    half = len(raw) // 2
    skippable = (0x184D2A53).to_bytes(4, "little") + (5).to_bytes(4, "little") + b"hello"
    for data in (
        compress(raw),
        zstandard.ZstdCompressor(write_checksum=True, write_content_size=False).compress(raw),
        compress(raw[:half]) + compress(raw[half:]),
        skippable + compress(raw) + skippable,
        compress(tar((tarfile.TarInfo("meta.json"), META), (tarfile.TarInfo("z"), bytes(500_000)))),
    ):
        assert archive.check(io.BytesIO(data)) == {"schema_version": 2}
