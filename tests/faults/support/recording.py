"""The history of the files below a folder, as system calls made it."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.support.trace import Call

ROOT = 0
#: Files that are derived and may be gone or of any age after a crash.
DERIVED = "catalog.db"


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
class Said:
    """Anything else that was told to somebody, as JSON."""

    text: str


@dataclass
class Recording:
    """The history of the files below a folder."""

    root: str
    folders: set[int] = field(default_factory=lambda: {ROOT})
    #: Content at the start, all of it durable.
    entries: dict[tuple[int, str], int] = field(default_factory=dict)
    contents: dict[int, bytes] = field(default_factory=dict)
    #: The number that a file of the start has on the real file system.
    real: dict[int, int] = field(default_factory=dict)
    history: list[Effect | Promise | Said | str] = field(default_factory=list)
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
                self.real[inode] = status.st_ino
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
        if "O_TMPFILE" in flags:
            # A file that no crash can leave behind.
            self._fds.pop(call.result, None)
            return
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

    def _on_lseek(self, call: Call) -> None:
        fd, _ = call.fd(0)
        if fd in self._fds and call.result >= 0 and "SEEK_SET" in call.args[2]:
            self._fds[fd] = (self._fds[fd][0], call.result)

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
            if "episode" not in answer:
                self.history.append(Said(json.dumps(answer)))
            elif answer["status"] in (200, 201):
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
