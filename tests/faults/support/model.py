"""A strict file system: what a crash may leave of a recorded run.

Everything that POSIX does not forbid may happen. Data that was not synced is lost, kept, or torn at any
byte; a block of it may be there while the one before it reads as zeros. Where several files are written
at once, each in turn is torn at every byte, and the others meanwhile at a few. The entries of a folder
that were not synced are each lost or kept on their own; a rename is one entry that changes two folders
at once, and is durable with the folder that it went to. A folder whose entry is lost is lost with all it
holds. A sync that failed makes nothing durable, and no later one does it in its stead: the change has to
be made anew.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tests.faults.support.recording import ROOT, Effect, Promise, Recording, Said

BLOCK = 4096
#: Everything between two syncs is tried with every choice of entries, as long as there are no more choices.
MOST_CHOICES = 4096

#: A content, and how it came about.
Outcome = tuple[bytes, str]


@dataclass(frozen=True)
class State:
    """What may be found after a crash: folders, and files as (inode, content), by path below the root."""

    folders: tuple[str, ...]
    files: dict[str, tuple[int, bytes]]
    promises: frozenset[Promise | Said]
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


def crash_states(recording: Recording, *, every_byte: bool = True) -> Iterator[State]:
    """Every distinct state that a crash at any instant of `recording` may leave.

    It is enough to look just before each sync and at the end: what a crash between two syncs leaves, one just
    before the second may leave too, and by then no less had been promised.
    """
    found: dict[bytes, State] = {}
    effects: list[Effect] = []
    promises: set[Promise | Said] = set()
    for item in [*recording.history, "end"]:
        if isinstance(item, Effect):
            effects.append(item)
        elif isinstance(item, Promise | Said):
            promises.add(item)
        else:
            for state in _states_at(recording, effects, frozenset(promises), item, every_byte):
                found[state.digest()] = state
            if item != "end":
                _sync(item, effects)
    yield from found.values()


def instants(recording: Recording) -> Iterator[State]:
    """What others see of `recording` while it goes on: the files after each change."""
    effects: list[Effect] = []
    promises: set[Promise | Said] = set()
    for item in recording.history:
        if isinstance(item, Promise | Said):
            promises.add(item)
        elif isinstance(item, Effect):
            effects.append(item)
            live = dict(_contents(recording, effects, {}))
            folders, names = _tree(recording, effects, {})
            yield State(
                folders,
                {path: (inode, live[inode]) for path, inode in names.items()},
                frozenset(promises),
                _journal(recording, effects, live),
                f"seen after {item.what}",
            )


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
    recording: Recording,
    effects: list[Effect],
    promises: frozenset[Promise | Said],
    where: str,
    every_byte: bool,
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
        exact = every_byte and len(set(kept)) < 2
        folders, names = _tree(recording, effects, choice)
        for contents in _one_torn_anywhere(coarse, fine) if exact else itertools.product(*coarse):
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


def _one_torn_anywhere(
    coarse: list[list[Outcome]], fine: list[list[Outcome]]
) -> Iterator[tuple[Outcome, ...]]:
    """Each file torn at every byte in turn, with the others as they are, lost, or torn at a few."""
    for turn in range(max(1, len(fine))):
        yield from itertools.product(*coarse[:turn], *fine[turn : turn + 1], *coarse[turn + 1 :])


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


def _outcomes(recording: Recording, effects: list[Effect], inode: int, every_byte: bool) -> Iterator[Outcome]:
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
