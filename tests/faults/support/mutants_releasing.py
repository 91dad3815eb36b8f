"""The making of a release with one step missing or moved."""

from __future__ import annotations

from tests.faults.support.mutants import Mutant

NAMING, RELEASES = "files/naming.py", "index/releases.py"

RELEASING = (
    Mutant(
        "table-not-synced",
        NAMING,
        "            atomic.write_all(fd, piece)\n        os.fsync(fd)\n",
        "            atomic.write_all(fd, piece)\n",
        "release",
    ),
    Mutant(
        "table-name-not-synced",
        NAMING,
        "            os.fsync(folder)\n",
        "            pass\n",
        "release",
    ),
    Mutant(
        "description-name-not-synced",
        RELEASES,
        "        os.rename(new, description)\n        atomic.sync_folder(self._folder)\n",
        "        os.rename(new, description)\n",
        "release-after-one-without-its-table",
    ),
    Mutant(
        "table-written-over",
        NAMING,
        "    path.unlink(missing_ok=True)\n    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL",
        "    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC",
        "release-after-one-with-two-names",
    ),
    Mutant(
        "taken-away-table-comes-back",
        RELEASES,
        "        if description.exists():\n",
        "        if False:\n",
        "release-failed-sync-6",
    ),
    Mutant(
        "releases-not-locked-out",
        RELEASES,
        "            with atomic.locked_file(self._folder / _LOCK):\n",
        "            with open(self._folder / _LOCK, 'ab'):\n",
        "release-two-of-one-name",
    ),
)
