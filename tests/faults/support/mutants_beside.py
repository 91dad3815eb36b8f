"""What writes beside the intake, with one step missing or moved: reports, the gate's list, alerts, reindex."""

from __future__ import annotations

from tests.faults.support.mutants import Mutant

ATOMIC, REPORTS, GATE = "files/atomic.py", "index/reports.py", "state/gate_list.py"
ALERTS, OUTBOX = "state/alerts.py", "state/outbox.py"
REINDEX, RENEWAL = "upkeep/reindex.py", "index/renewal.py"

_SYNC_AND_RENAME = "        os.fsync(fd)\n        os.rename(temporary, path)\n"
_UNLOCKED = "        with self.path.open('a+b') as stream:\n            fd = stream.fileno()\n"
_SET_ASIDE = """\
        with atomic.locked_file(set_aside) as fd:
            atomic.cut_torn_lines(fd)
            aside.seek(0)
            atomic.append_lines(fd, set_aside, iter(lambda: aside.read(_PIECE), b""))
"""
_SWAP = """\
        with self._journal.locked() as fd:
            if not os.path.samestat(os.fstat(fd), os.fstat(old.fileno())):
                raise StorageFailed("the index was swapped by somebody else meanwhile")
            end = end_of_lines(fd)
            overtaken = overtaken_by(whole_lines(old, read_to, end))
            if overtaken:
                self._take_out(overtaken, work, set_aside)
            for line in whole_lines(old, read_to, end):
                work.write(line)
            work.flush()
            self._name(work, fd)
"""


def _of_replacing(name: str, old: str, new: str, suffix: str = "") -> tuple[Mutant, ...]:
    """Reports and the gate's list are replaced by the same few lines."""
    return tuple(Mutant(f"{what}-{name}", ATOMIC, old, new, what + suffix) for what in ("report", "gate"))


BESIDE = (
    *_of_replacing("not-synced", _SYNC_AND_RENAME, "        os.rename(temporary, path)\n"),
    *_of_replacing(
        "renamed-before-its-sync",
        _SYNC_AND_RENAME,
        "        os.rename(temporary, path)\n        os.fsync(fd)\n",
    ),
    *_of_replacing(
        "name-not-synced",
        "        os.rename(temporary, path)\n        sync_folder(path.parent)\n",
        "        os.rename(temporary, path)\n",
    ),
    *_of_replacing(
        "unlinked-before-the-rename",
        "        os.rename(temporary, path)\n",
        "        path.unlink(missing_ok=True)\n        os.rename(temporary, path)\n",
    ),
    *_of_replacing(
        "written-behind-what-was-left",
        "        os.ftruncate(fd, 0)\n        write_all(fd, data()",
        "        write_all(fd, data()",
        "-after-a-dead-one",
    ),
    *_of_replacing(
        "writers-not-locked-out",
        "    with locked_file(temporary) as fd:\n",
        "    with open(temporary, 'ab') as stream:\n        fd = stream.fileno()\n",
        "-two-at-once",
    ),
    *_of_replacing(
        "lock-of-a-file-that-was-renamed", "if _bears_name(fd, path):", "if True:", "-two-at-once"
    ),
    Mutant(
        "report-written-in-place",
        REPORTS,
        "atomic.replace_file(self._path(host_id), report.to_json())",
        "self._path(host_id).write_bytes(report.to_json())",
        "report",
    ),
    Mutant(
        "history-written-in-place",
        REPORTS,
        "atomic.replace_file(self._history_path(host_id), with_past)",
        "self._history_path(host_id).write_bytes(with_past())",
        "report",
    ),
    Mutant(
        "history-read-before-its-turn",
        REPORTS,
        "atomic.replace_file(self._history_path(host_id), with_past)",
        "atomic.replace_file(self._history_path(host_id), with_past())",
        "report-history-of-two-at-once",
    ),
    Mutant(
        "gate-written-in-place",
        GATE,
        "atomic.replace_file(self._path, snapshot.to_json())",
        "self._path.write_bytes(snapshot.to_json())",
        "gate",
    ),
    Mutant(
        "alert-not-synced",
        ATOMIC,
        "            write_all(fd, piece)\n        sync_lines(fd, path)\n",
        "            write_all(fd, piece)\n",
        "alert-more",
    ),
    Mutant(
        "alert-file-not-synced",
        ATOMIC,
        "        sync_new_file(path)\n",
        "        pass\n",
        "alert-generation-of-the-same",
    ),
    Mutant(
        "failed-alert-kept",
        ATOMIC,
        "        take_back(fd, end)\n        raise\n",
        "        raise\n",
        "alert-failed-sync",
    ),
    Mutant("torn-alert-kept", ALERTS, "            atomic.cut_torn_lines(fd)\n", "", "alert-torn"),
    Mutant(
        "holed-alert-kept",
        ATOMIC,
        "        os.ftruncate(fd, end)\n    cut_holed_lines(fd)\n",
        "        os.ftruncate(fd, end)\n",
        "alert-two-lines",
    ),
    Mutant(
        "runs-not-locked-out",
        ALERTS,
        "        with atomic.locked_file(self.path) as fd:\n            atomic.cut_torn_lines(fd)\n",
        _UNLOCKED + "            atomic.cut_torn_lines(fd)\n",
        "alert-two-runs",
    ),
    Mutant(
        "generation-not-synced",
        ALERTS,
        "                atomic.sync_folder(self.path.parent)\n",
        "",
        "alert-generation",
    ),
    Mutant(
        "lines-of-a-generation-not-synced",
        ALERTS,
        "                atomic.sync_lines(fd, self.path)\n                os.rename",
        "                os.rename",
        "alert-generation-after-a-dead-run",
    ),
    Mutant(
        "end-remembered-before-it-is-noted",
        ALERTS,
        "            if verdict.new:\n",
        "            self._remember(verdict.lasting)\n            if verdict.new:\n",
        "alert-over",
    ),
    Mutant(
        "memory-written-in-place",
        ALERTS,
        "atomic.replace_file(self._state_path, ",
        "self._state_path.write_bytes(",
        "alert-more-then-well",
    ),
    Mutant("told-before-the-sync", OUTBOX, "        atomic.sync_lines(fd, path)\n", "", "alert-dead-run"),
    Mutant(
        "senders-not-locked-out",
        OUTBOX,
        "            if lock is None:\n",
        "            if False:\n",
        "alert-two-senders",
    ),
    Mutant(
        "sent-written-in-place",
        OUTBOX,
        "atomic.replace_file(self._path, ",
        "self._path.write_bytes(",
        "alert-more",
    ),
    Mutant("set-aside-after-the-swap", RENEWAL, _SET_ASIDE + _SWAP, _SWAP + _SET_ASIDE, "reindex"),
    Mutant(
        "set-aside-not-synced",
        RENEWAL,
        'atomic.append_lines(fd, set_aside, iter(lambda: aside.read(_PIECE), b""))',
        "atomic.write_all(fd, aside.read())",
        "reindex",
    ),
    Mutant("set-aside-file-not-synced", ATOMIC, "        sync_new_file(path)\n", "        pass\n", "reindex"),
    Mutant(
        "set-aside-file-synced-twice",
        ATOMIC,
        "        os.unlink(path)\n        raise\n",
        "        raise\n",
        "reindex-failed-fsync-1",
    ),
    Mutant(
        "set-aside-behind-a-torn-line",
        RENEWAL,
        "            atomic.cut_torn_lines(fd)\n",
        "",
        "reindex-torn-set-aside",
    ),
    Mutant(
        "new-index-not-synced",
        RENEWAL,
        "        os.fsync(fd)\n        os.rename(self._work, self._journal.path)\n",
        "        os.rename(self._work, self._journal.path)\n",
        "reindex",
    ),
    Mutant(
        "new-index-renamed-before-its-sync",
        RENEWAL,
        "        os.fsync(fd)\n        os.rename(self._work, self._journal.path)\n",
        "        os.rename(self._work, self._journal.path)\n        os.fsync(fd)\n",
        "reindex",
    ),
    Mutant(
        "new-index-name-synced-twice",
        RENEWAL,
        "            with atomic.locked_file(self._work) as copy:\n",
        "            return atomic.sync_folder(self._folder)\n"
        "            with atomic.locked_file(self._work) as copy:\n",
        "reindex-failed-fsync-3",
    ),
    Mutant(
        "old-index-not-locked",
        RENEWAL,
        "        with self._journal.locked() as fd:\n",
        "        with self._journal.path.open('rb') as stream:\n            fd = stream.fileno()\n",
        "reindex-put-in-the-swap",
    ),
    Mutant(
        "lock-of-an-old-index", ATOMIC, "if _bears_name(fd, path):", "if True:", "reindex-put-in-the-swap"
    ),
    Mutant(
        "lines-of-meanwhile-lost",
        RENEWAL,
        "            for line in whole_lines(old, read_to, end):\n",
        "            for line in ():\n",
        "reindex-put-before-the-swap",
    ),
    Mutant(
        "lines-of-meanwhile-twice",
        RENEWAL,
        "            if overtaken:\n",
        "            if False:\n",
        "reindex-retry-before-the-swap",
    ),
    Mutant(
        "rebuilt-not-made-durable",
        REINDEX,
        "                    held.republish()\n",
        "                    pass\n",
        "reindex-of-an-unsynced-name",
    ),
    Mutant(
        "reindexes-not-locked-out",
        REINDEX,
        "                if alone:\n",
        "                if True:\n",
        "reindex-two-at-once",
    ),
    Mutant(
        "index-under-an-unsynced-name",
        "index/journal.py",
        "            atomic.sync_folder(self.path.parent)\n            if atomic.has",
        "            if atomic.has",
        "reindex-killed-before-its-name-was-synced",
    ),
    Mutant("new-index-behind-an-old-one", RENEWAL, "            work.truncate(0)\n", "", "reindex-killed"),
)
