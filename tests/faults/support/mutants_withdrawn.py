"""Withdrawing, with one step missing or moved."""

from __future__ import annotations

from tests.faults.support.mutants import Mutant

WITHDRAWALS = "index/withdrawals.py"
_SYNC_AND_RENAME = "            os.fsync(new)\n            os.rename(self._work, self.path)\n"

WITHDRAWN = (
    Mutant("withdrawn-one-by-one", WITHDRAWALS, "if len(lines) <= 1:", "if True:", "withdraw-by-commit"),
    Mutant(
        "withdrawn-not-synced",
        WITHDRAWALS,
        _SYNC_AND_RENAME,
        "            os.rename(self._work, self.path)\n",
        "withdraw-by-commit",
    ),
    Mutant(
        "withdrawn-name-not-synced",
        WITHDRAWALS,
        "            try:\n                atomic.sync_folder(self.path.parent)\n",
        "            try:\n                pass\n",
        "withdraw-by-commit",
    ),
    Mutant(
        "withdrawn-name-synced-twice",
        WITHDRAWALS,
        "                atomic.replace_file(self.path, there)\n",
        "",
        "withdraw-failed-sync-2",
    ),
    Mutant(
        "withdrawn-under-an-unsynced-name",
        WITHDRAWALS,
        "                    self._sync_name(fd)\n",
        "",
        "withdraw-after-a-dead-one",
    ),
    Mutant(
        "withdrawn-behind-a-torn-line",
        WITHDRAWALS,
        "                atomic.cut_torn_lines(fd)\n",
        "",
        "withdraw-torn",
    ),
    Mutant(
        "withdrawals-not-locked-out",
        WITHDRAWALS,
        "            with atomic.locked_file(self.path) as fd:\n",
        "            with self.path.open('a+b') as stream:\n                fd = stream.fileno()\n",
        "withdraw-two-at-once",
    ),
)
