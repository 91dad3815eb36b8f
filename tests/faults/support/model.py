"""A strict file system: what a crash may leave of a recorded run.

Everything that POSIX does not forbid may happen. Data that was not synced is lost, kept, or torn at any
byte; a block of it may be there while the one before it reads as zeros. The entries of a folder that were
not synced are each lost or kept on their own; a rename is one entry that changes two folders at once, and is
durable with the folder that it went to. A folder whose entry is lost is lost with all it holds. A sync that
failed makes nothing durable, and no later one does it in its stead: the change has to be made anew.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.support.trace import Call

ROOT = 0
BLOCK = 4096
#: Files that are derived and may be gone or of any age after a crash.
DERIVED = "catalog.sqlite3"
#: Everything between two syncs is tried with every choice of entries, as long as there are no more choices.
MOST_CHOICES = 4096


@dataclass
class Effect:
    """One change, and how safe it is. `scope` is the inode whose sync makes it durable."""

    ended: int
    scope: int
    what: str
    #: (folder, name, inode or None), all or none of them, for a change of entries.
    entries: tuple[tuple[int, str, int | None], ...] = ()
    #: What is written where; a cut when `data` is None.
    offset: int = 0
    data: bytes | None = None
    durable: bool = False
    doomed: bool = False


@dataclass(frozen=True)
class Promise:
    """An answer of 201 or 200."""

    host: str
    episode: str
    sha256: str


@dataclass(frozen=True)
class State:
    """What may be found after a crash: folders, and files as (inode, content), by path below the root."""

    folders: tuple[str, ...]
    files: dict[str, tuple[int, bytes]]
    promises: frozenset[Promise]
    #: index.jsonl as other processes saw it at the crash, which a catalog may have taken up.
    seen_journal: bytes
    story: str

    def digest(self) -> bytes:
        first: dict[int, str] = {}
        parts = [repr(self.folders).encode()]
        for path, (inode, content) in sorted(self.files.items()):
            parts.append(f"{path} {first.setdefault(inode, path)} ".encode())
            parts.append(hashlib.sha256(content).digest())
        return hashlib.sha256(b"\n".join(parts)).digest()


@dataclass
class Recording:
    """The history of the files below a folder."""

    root: str
    folders: set[int] = field(default_factory=lambda: {ROOT})
    #: Content at the start, all of it durable.
    entries: dict[tuple[int, str], int] = field(default_factory=dict)
    contents: dict[int, bytes] = field(default_factory=dict)
    history: list[Effect | Promise | str] = field(default_factory=list)
    answers: list[dict[str, object]] = field(default_factory=list)

    @classmethod
    def of(cls, root: Path) -> Recording:
        """Take `root` as it is for durable."""
        self = cls(str(root))
        self._live: dict[tuple[int, str], int] = {}
        self._sizes: dict[int, int] = {}
        self._next = itertools.count(1)
        self._lines = 0
        numbers: dict[tuple[int, int], int] = {}
        inodes = {str(root): ROOT}
        for folder, names, files in os.walk(root):
            for name in [*names, *(file for file in files if not file.startswith(DERIVED))]:
                path = os.path.join(folder, name)
                status = os.lstat(path)
                inode = numbers.setdefault((status.st_dev, status.st_ino), 0) or next(self._next)
                numbers[status.st_dev, status.st_ino] = inodes[path] = inode
                self.entries[inodes[folder], name] = inode
                if name in names:
                    self.folders.add(inode)
                else:
                    self.contents[inode] = Path(path).read_bytes()
                    self._sizes[inode] = len(self.contents[inode])
        self._live.update(self.entries)
        return self

    def follow(self, calls: Iterable[Call]) -> None:
        """Add what one process did."""
        self._fds: dict[int, tuple[int, int]] = {}
        self._appending: set[int] = set()
        earlier = self._lines
        for call in calls:
            self._begun = earlier + call.begun
            self._lines = earlier + call.ended + 1
            handler = getattr(self, f"_on_{call.name}", None)
            if handler is not None:
                handler(call)

    # Each handler keeps the live tree, so that descriptors and names lead to inodes.

    def _on_openat(self, call: Call) -> None:
        place = self._place(call.path(0, 1))
        if place is None or call.result < 0:
            return
        flags = call.args[2].split("|")
        inode = self._live.get(place) if place != (ROOT, "") else ROOT
        if inode is None:
            inode = next(self._next)
            self._sizes[inode] = 0
            self.contents[inode] = b""
            self._change(f"create {place[1]}", place[0], ((*place, inode),))
        elif "O_TRUNC" in flags:
            self._write(inode, 0, None)
        self._fds[call.result] = (inode, 0)
        self._appending.discard(call.result)
        if "O_APPEND" in flags:
            self._appending.add(call.result)

    def _on_mkdir(self, call: Call, place: tuple[int, str] | None = None) -> None:
        place = place or self._place(call.path(None, 0))
        if place is not None and call.result == 0:
            inode = next(self._next)
            self.folders.add(inode)
            self._change(f"mkdir {place[1]}", place[0], ((*place, inode),))

    def _on_mkdirat(self, call: Call) -> None:
        if (place := self._place(call.path(0, 1))) is not None:
            self._on_mkdir(call, place)

    def _on_linkat(self, call: Call) -> None:
        self._link(call, call.path(0, 1), call.path(2, 3))

    def _on_link(self, call: Call) -> None:
        self._link(call, call.path(None, 0), call.path(None, 1))

    def _link(self, call: Call, source: str, target: str) -> None:
        start, end = self._place(source), self._place(target)
        if call.result == 0 and start is not None and end is not None:
            self._change(f"link {end[1]}", end[0], ((*end, self._live[start]),))

    def _on_unlink(self, call: Call) -> None:
        self._remove(call, call.path(None, 0))

    def _on_rmdir(self, call: Call) -> None:
        self._remove(call, call.path(None, 0))

    def _on_unlinkat(self, call: Call) -> None:
        self._remove(call, call.path(0, 1))

    def _remove(self, call: Call, path: str) -> None:
        place = self._place(path)
        if call.result == 0 and place is not None:
            self._change(f"unlink {place[1]}", place[0], ((*place, None),))

    def _on_rename(self, call: Call) -> None:
        self._rename(call, call.path(None, 0), call.path(None, 1))

    def _on_renameat(self, call: Call) -> None:
        self._rename(call, call.path(0, 1), call.path(2, 3))

    _on_renameat2 = _on_renameat

    def _rename(self, call: Call, source: str, target: str) -> None:
        start, end = self._place(source), self._place(target)
        if call.result == 0 and start is not None and end is not None:
            entries = ((*start, None), (*end, self._live[start]))
            self._change(f"rename {start[1]} to {end[1]}", end[0], entries)

    def _on_write(self, call: Call) -> None:
        fd, path = call.fd(0)
        if fd == 1 and call.result > 0:
            self._answered(call.text(1))
        elif fd in self._fds and self._is_below(path) and call.result > 0:
            inode, position = self._fds[fd]
            offset = self._sizes[inode] if fd in self._appending else position
            self._write(inode, offset, call.text(1)[: call.result])
            self._fds[fd] = (inode, offset + call.result)

    def _on_pwrite64(self, call: Call) -> None:
        fd, path = call.fd(0)
        if fd in self._fds and self._is_below(path) and call.result > 0:
            inode = self._fds[fd][0]
            offset = self._sizes[inode] if fd in self._appending else call.number(3)
            self._write(inode, offset, call.text(1)[: call.result])

    def _on_ftruncate(self, call: Call) -> None:
        fd, path = call.fd(0)
        if fd in self._fds and self._is_below(path) and call.result == 0:
            self._write(self._fds[fd][0], call.number(1), None)

    def _on_fsync(self, call: Call) -> None:
        fd, path = call.fd(0)
        if fd not in self._fds or not self._is_below(path):
            return
        inode = self._fds[fd][0]
        # Everything that could be lost at this moment is tried before it becomes durable.
        self.history.append(f"sync {inode} {self._begun} {call.result} {os.path.basename(path)}")

    _on_fdatasync = _on_fsync

    def _answered(self, text: bytes) -> None:
        for line in text.splitlines():
            answer = json.loads(line)
            self.answers.append(answer)
            if answer.get("status") in (200, 201):
                self.history.append(Promise(answer["host"], answer["episode"], answer["sha256"]))

    def _is_below(self, path: str) -> bool:
        return (path + "/").startswith(self.root + "/") and not os.path.basename(path).startswith(DERIVED)

    def _place(self, path: str) -> tuple[int, str] | None:
        """The live folder and name of `path`; None when it is none of ours."""
        if path == self.root:
            return ROOT, ""
        if not self._is_below(path):
            return None
        *folders, name = path[len(self.root) + 1 :].split("/")
        inode = ROOT
        for folder in folders:
            inode = self._live[inode, folder]
        return inode, name

    def _change(self, what: str, scope: int, entries: tuple[tuple[int, str, int | None], ...]) -> None:
        for folder, name, inode in entries:
            if inode is None:
                del self._live[folder, name]
            else:
                self._live[folder, name] = inode
        self.history.append(Effect(self._lines, scope, what, entries))

    def _write(self, inode: int, offset: int, data: bytes | None) -> None:
        self._sizes[inode] = offset if data is None else max(self._sizes[inode], offset + len(data))
        what = f"cut to {offset}" if data is None else f"write {len(data)} at {offset}"
        self.history.append(Effect(self._lines, inode, what, offset=offset, data=data))


def crash_states(recording: Recording, *, every_byte: bool = True) -> Iterator[State]:
    """Every distinct state that a crash at any instant of `recording` may leave.

    It is enough to look just before each sync and at the end: what a crash between two syncs leaves, one just
    before the second may leave too, and by then no less had been promised.
    """
    found: dict[bytes, State] = {}
    effects: list[Effect] = []
    promises: set[Promise] = set()
    for item in [*recording.history, "end"]:
        if isinstance(item, Effect):
            effects.append(item)
        elif isinstance(item, Promise):
            promises.add(item)
        else:
            for state in _states_at(recording, effects, frozenset(promises), item, every_byte):
                found[state.digest()] = state
            if item != "end":
                _sync(item, effects)
    yield from found.values()


def _sync(item: str, effects: list[Effect]) -> None:
    _, inode, begun, result, _ = item.split(" ", 4)
    covered = [
        effect
        for effect in effects
        if effect.scope == int(inode) and not effect.durable and effect.ended <= int(begun)
    ]
    for effect in covered:
        if result != "0":
            effect.doomed = True
        elif not effect.doomed:
            effect.durable = True
    for effect in covered:
        if result == "0" and effect.data is not None and _is_written_anew(effect, effects):
            effect.durable = True


def _is_written_anew(lost: Effect, effects: list[Effect]) -> bool:
    """Whether bytes whose sync failed were since written once more, all of them, and synced."""
    assert lost.data is not None
    end = lost.offset + len(lost.data)
    return any(
        later.durable
        and later.scope == lost.scope
        and later.ended > lost.ended
        and later.data is not None
        and later.offset <= lost.offset
        and later.offset + len(later.data) >= end
        for later in effects
    )


def _states_at(
    recording: Recording, effects: list[Effect], promises: frozenset[Promise], where: str, every_byte: bool
) -> Iterator[State]:
    unsafe = [effect for effect in effects if not effect.durable]
    loose = [effect for effect in unsafe if effect.entries]
    written = sorted({effect.scope for effect in unsafe if not effect.entries})
    live = dict(_contents(recording, effects, {}))
    seen = _journal(recording, effects, live)
    coarse = [list(_outcomes(recording, effects, inode, False)) for inode in written]
    fine = [list(_outcomes(recording, effects, inode, True)) for inode in written] if every_byte else coarse
    assert 2 ** len(loose) <= MOST_CHOICES, "more unsynced entries than can be tried one by one"
    for kept in itertools.product((True, False), repeat=len(loose)):
        choice = dict(zip(map(id, loose), kept, strict=True))
        # Every byte with all entries kept and with all lost; a few bytes with each choice between.
        outcomes = fine if len(set(kept)) < 2 else coarse
        folders, names = _tree(recording, effects, choice)
        for contents in itertools.product(*outcomes):
            data = live | dict(zip(written, (content for content, _ in contents), strict=True))
            lost = [effect.what for effect in loose if not choice[id(effect)]]
            torn = [text for _, text in contents]
            yield State(
                folders,
                {path: (inode, data[inode]) for path, inode in names.items()},
                promises,
                seen,
                f"before {where}: lost {lost}, data {torn}",
            )


def _tree(
    recording: Recording, effects: list[Effect], choice: dict[int, bool]
) -> tuple[tuple[str, ...], dict[str, int]]:
    entries = dict(recording.entries)
    for effect in effects:
        if effect.entries and choice.get(id(effect), True):
            for folder, name, inode in effect.entries:
                if inode is None:
                    entries.pop((folder, name), None)
                else:
                    entries[folder, name] = inode
    folders: list[str] = []
    files: dict[str, int] = {}
    below: dict[int, list[tuple[str, int]]] = {}
    for (folder, name), inode in entries.items():
        below.setdefault(folder, []).append((name, inode))
    waiting = [(ROOT, "")]
    while waiting:
        folder, prefix = waiting.pop()
        for name, inode in below.get(folder, ()):
            if inode in recording.folders:
                folders.append(prefix + name)
                waiting.append((inode, f"{prefix}{name}/"))
            else:
                files[prefix + name] = inode
    return tuple(sorted(folders)), files


def _journal(recording: Recording, effects: list[Effect], live: dict[int, bytes]) -> bytes:
    _, files = _tree(recording, effects, {})
    return next((live[inode] for path, inode in files.items() if path.endswith("index.jsonl")), b"")


def _contents(
    recording: Recording, effects: list[Effect], without: dict[int, bool]
) -> Iterator[tuple[int, bytes]]:
    for inode, base in recording.contents.items():
        mine = [effect for effect in effects if effect.scope == inode and not effect.entries]
        yield inode, _apply(base, [effect for effect in mine if id(effect) not in without])


def _apply(base: bytes, writes: list[Effect]) -> bytes:
    content = bytearray(base)
    for effect in writes:
        if effect.data is None:
            del content[effect.offset :]
            content.extend(bytes(effect.offset - len(content)))
        else:
            content.extend(bytes(max(0, effect.offset - len(content))))
            content[effect.offset : effect.offset + len(effect.data)] = effect.data
    return bytes(content)


def _outcomes(
    recording: Recording, effects: list[Effect], inode: int, every_byte: bool
) -> Iterator[tuple[bytes, str]]:
    """What may be left of the content of `inode`, and how to say it."""
    base = recording.contents[inode]
    mine = [effect for effect in effects if effect.scope == inode and not effect.entries]
    unsafe = [effect for effect in mine if not effect.durable]
    whole = _apply(base, mine)
    given = {whole: "whole"}
    for lost in range(len(unsafe)):
        # Nothing from here on, then this one torn; and this one alone is lost.
        gone = {id(effect) for effect in unsafe[lost:]}
        kept = [effect for effect in mine if id(effect) not in gone]
        given.setdefault(_apply(base, kept), f"lost from {unsafe[lost].what} on")
        alone = [effect for effect in mine if effect is not unsafe[lost]]
        given.setdefault(_apply(base, alone), f"lost {unsafe[lost].what}")
        data = unsafe[lost].data
        if data is not None:
            for length in _cuts(data, every_byte):
                torn = Effect(0, inode, "", offset=unsafe[lost].offset, data=data[:length])
                after = {id(effect) for effect in unsafe[lost + 1 :]}
                changes = [
                    torn if effect is unsafe[lost] else effect for effect in mine if id(effect) not in after
                ]
                given.setdefault(_apply(base, changes), f"{unsafe[lost].what} torn at {length}")
    safe = _apply(base, [effect for effect in mine if effect.durable])
    for content, hole in _holes(whole, safe):
        given.setdefault(content, f"block {hole} lost")
    yield from given.items()


def _cuts(data: bytes, every_byte: bool) -> Iterable[int]:
    short = len(data) < 1024
    if every_byte and short:
        return range(1, len(data))
    return sorted({1, len(data) // 2, len(data) - 1} - {0, len(data)})


def _holes(whole: bytes, safe: bytes) -> Iterator[tuple[bytes, int]]:
    """The content with one block as it was before, zeros where it was not, though the file has its full
    length."""
    old = safe.ljust(len(whole), b"\0")
    for begin in range(0, len(whole), BLOCK):
        end = min(len(whole), begin + BLOCK)
        yield whole[:begin] + old[begin:end] + whole[end:], begin // BLOCK
