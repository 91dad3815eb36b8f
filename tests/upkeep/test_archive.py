"""Archives, whole and hostile: looked into, never extracted, in bounded memory."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import resource
import tarfile
import time
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


def header(name: str, size: int = 0, kind: bytes = b"0") -> bytes:
    """A header alone."""
    member = tarfile.TarInfo(name)
    member.size, member.type = size, kind
    return member.tobuf(tarfile.USTAR_FORMAT)


SKIPPABLE = (0x184D2A53).to_bytes(4, "little") + (5).to_bytes(4, "little") + b"hello"


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
        walk = archive.Walk(io.BytesIO(compress(huge.tobuf(form))), archive.SEARCH)
        assert next(iter(walk)) == archive.Member("huge", "file", 9 << 30)
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
        (pack({"meta.json": b'{"a":' * 9000 + b"1" + b"}" * 9000}), "not JSON"),
        (pack({"meta.json": b'{"a": ' + b"9" * 1_000_000 + b"}"}), "not JSON"),
        (pack({"meta.json": b'{"a": NaN}'}), "not JSON"),
        (pack({"meta.json": b'{"a": 1e999}'}), "not JSON"),
        (pack({"meta.json": b'{"a": "\\ud800"}'}), "not JSON"),
        (pack({"meta.json": '{"a": 1}'.encode("utf-16")}), "not JSON"),
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
        archive.check(io.BytesIO(endless), limits=archive.Limits(200 << 20, 1000, 60))
    with pytest.raises(archive.ArchiveError, match="zstd"):
        archive.read_meta(io.BytesIO(wide))
    with pytest.raises(archive.ArchiveError, match="more than"):
        archive.read_meta(io.BytesIO(compress(names * 2)))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


EXTENDED = {kind: header("x", kind=kind) for kind in (b"x", b"X", b"g", b"L", b"K")}
SPARSE = bytearray(header("s", kind=b"S"))
SPARSE[482] = 1
SPARSE[148:156] = b"%06o\0 " % (sum(SPARSE[:148]) + sum(SPARSE[156:]) + 8 * 0x20)

#: Each of them could go on for ever: `count` times the second part, behind the first one.
HEADERS = {
    "members": (b"", header("f")),
    **{f"extended {kind.decode()}": (b"", block) for kind, block in EXTENDED.items()},
    "sparse maps": (bytes(SPARSE), bytes(504) + b"\1" + bytes(7)),
}


@pytest.mark.parametrize("what", HEADERS)
def test_every_header_counts(what: str) -> None:
    first, block = HEADERS[what]
    limits = archive.Limits(1 << 30, 1000, 60)
    for look in (archive.read_meta, archive.check):
        for count, error in ((3000, archive.TooManyHeaders), (990, archive.ArchiveError)):
            with pytest.raises(error) as raised:
                look(io.BytesIO(compress(first + block * count)), limits=limits)
            assert isinstance(raised.value, archive.TooManyHeaders) == (count == 3000)


def test_every_frame_counts() -> None:
    for frame in (compress(b""), SKIPPABLE[:4] + bytes(4)):
        with pytest.raises(archive.TooManyHeaders):
            archive.check(io.BytesIO(frame * 3000 + WHOLE), limits=archive.Limits(1 << 30, 1000, 60))


@pytest.mark.parametrize("what", [*HEADERS, "content", "records", "empty frames", "empty blocks"])
def test_an_archive_that_takes_too_long_is_given_up(what: str) -> None:
    """The clock goes on by a second whenever it is looked at: a look that forgets the time would not end by it."""
    endless = {
        **{name: compress(first + block * 20_000) for name, (first, block) in HEADERS.items()},
        "content": compress(header("zeros", 1 << 30) + bytes(40 << 20)),
        "records": compress((header("p", 500, b"x") + b"5 a=\n" * 100 + bytes(12)) * 20_000),
        "empty frames": compress(b"") * 3_000_000,
        "empty blocks": WHOLE[:4] + b"\x20\0" + bytes(3) * 20_000,
    }[what]
    with pytest.raises(archive.TooLong):
        archive.check(
            io.BytesIO(endless),
            limits=archive.Limits(1 << 40, 1 << 40, 100),
            clock=itertools.count().__next__,
        )
    if what not in ("empty frames", "empty blocks"):
        with pytest.raises(archive.TooLong):
            archive.read_meta(
                io.BytesIO(endless),
                limits=archive.Limits(1 << 40, 1 << 40, 100),
                clock=itertools.count().__next__,
            )


def test_the_time_is_looked_at_while_empty_frames_are_skipped() -> None:
    """The decompressor reads through all of them in one call."""
    with pytest.raises(archive.TooLong):
        archive.read_meta(
            io.BytesIO(compress(b"") * 3_000_000),
            limits=archive.Limits(1 << 40, 1 << 40, 50),
            clock=itertools.count().__next__,
        )


def test_an_extended_header_is_read_in_linear_time() -> None:
    def seconds(size: int) -> float:
        records = b"5 a=\n" * (size // 5)
        data = compress(header("p", len(records), b"x") + records + bytes(-len(records) % 512) + header("f"))
        started = time.thread_time()
        with pytest.raises(archive.ArchiveError, match="ends in the middle"):
            archive.read_meta(io.BytesIO(data))
        return time.thread_time() - started

    # What is quadratic takes 64 times as long.
    assert min(seconds(1 << 20) for _ in range(3)) < 24 * min(seconds(1 << 17) for _ in range(3))


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=150)
KINDS = {
    tarfile.REGTYPE: "file",
    tarfile.DIRTYPE: "folder",
    tarfile.SYMTYPE: "link",
    tarfile.LNKTYPE: "link",
    tarfile.FIFOTYPE: "other",
    tarfile.CONTTYPE: "file",
}


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(NAMES, st.sampled_from(sorted(KINDS)), st.binary(max_size=1200)), max_size=6),
    st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
)
def test_the_members_are_those_that_tarfile_sees(files: list[tuple[str, bytes, bytes]], form: int) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=form) as out:
        for name, kind, content in files:
            member = tarfile.TarInfo("./" + name)
            member.type, member.linkname = kind, "t" * 120
            # A size that is no content's must not lead astray.
            member.size = len(content)
            out.addfile(member, io.BytesIO(content) if kind in tarfile.REGULAR_TYPES else None)
    packed.seek(0)
    with tarfile.open(fileobj=packed) as read:
        seen = [(one.name, KINDS[one.type], one.size if one.isreg() else 0) for one in read]
    walk = archive.Walk(io.BytesIO(compress(packed.getvalue())), archive.SEARCH)
    mine, contents = [], []
    for found in walk:
        mine.append((found.name.rstrip("/"), found.kind, found.size_bytes))
        contents.append(walk.content())
    assert mine == seen
    assert contents == [content if kind in tarfile.REGULAR_TYPES else b"" for _, kind, content in files]


def test_a_sparse_file_and_a_negative_size_lead_nobody_astray() -> None:
    data = compress(bytes(SPARSE) + bytes(512) + tar((tarfile.TarInfo("meta.json"), META)))
    assert archive.check(io.BytesIO(data)) == {"schema_version": 2}
    sparse = tarfile.TarInfo("GNUSparseFile.0/meta.json")
    sparse.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "meta.json"}
    [member] = archive.Walk(io.BytesIO(compress(tar((sparse, b"0\n")))), archive.SEARCH)
    assert member == archive.Member("meta.json", "sparse", 2)
    for size in (b"-0000000777\0", b"0o000000777\0", b"0_000000777\0", b"\xff" * 12):
        block = bytearray(header("f"))
        block[124:136] = size
        block[148:156] = b"%06o\0 " % (sum(block[:148]) + sum(block[156:]) + 8 * 0x20)
        with pytest.raises(archive.ArchiveError, match="bad number"):
            archive.read_meta(io.BytesIO(compress(bytes(block))))


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
    for data in (
        compress(raw),
        zstandard.ZstdCompressor(write_checksum=True, write_content_size=False).compress(raw),
        compress(raw[:half]) + compress(raw[half:]),
        SKIPPABLE + compress(raw) + SKIPPABLE,
        compress(tar((tarfile.TarInfo("meta.json"), META), (tarfile.TarInfo("z"), bytes(500_000)))),
    ):
        assert archive.check(io.BytesIO(data)) == {"schema_version": 2}
