"""The nets are fine enough: a protocol with one step missing or moved is caught by them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.receiver import ROOT


@dataclass(frozen=True)
class Mutant:
    """A change of one place of the package, and what has to notice it."""

    name: str
    module: str
    old: str
    new: str
    caught_by: str


INGEST, STORE, FOLDERS = "ingest.py", "storage/filesystem.py", "storage/folders.py"
FILES, PUBLISHING = "storage/files.py", "storage/publishing.py"
LINKING = "storage/linking.py"
JOURNAL, CATALOG, ATOMIC, BODY = "index/journal.py", "index/catalog.py", "atomic.py", "views/body.py"

MUTANTS = (
    Mutant("bytes-not-synced", INGEST, "        incoming.sync()\n", "", "new-host"),
    Mutant(
        "name-not-synced",
        PUBLISHING,
        "            os.fsync(folder)\n            return True",
        "            return True",
        "known-host",
    ),
    Mutant(
        "host-folder-not-synced",
        FOLDERS,
        "                os.fsync(parent)\n",
        "                pass\n",
        "new-host",
    ),
    Mutant(
        "line-not-synced",
        ATOMIC,
        "        write_all(fd, lines)\n        sync_lines(fd, path)\n",
        "        write_all(fd, lines)\n",
        "known-host",
    ),
    Mutant(
        "line-before-name",
        INGEST,
        "        if incoming.publish():\n            index.append(episode)\n",
        "        index.append(episode)\n        if incoming.publish():\n",
        "known-host",
    ),
    Mutant(
        "rename-in-place-of-link",
        LINKING,
        "        os.link(source, name, dst_dir_fd=folder, follow_symlinks=False)\n",
        "        os.rename(source, name, dst_dir_fd=folder)\n",
        "two-writers-differ",
    ),
    Mutant(
        "torn-line-not-mended",
        JOURNAL,
        "            mend(fd)\n            atomic.append_lines",
        "            atomic.append_lines",
        "torn-line",
    ),
    Mutant("zeros-not-mended", JOURNAL, r'if b"\0" not in ', "if True or ", "straddled-block"),
    Mutant("zeros-overlooked", JOURNAL, r' and b"\0" not in tail', "", "straddled-block"),
    Mutant(
        "name-taken-back",
        INGEST,
        "            index.append(episode)\n            incoming.settle()\n",
        "            try:\n"
        "                index.append(episode)\n"
        "            except Exception:\n"
        "                (store._episodes / upload.key.host_id / upload.key.file_name).unlink()\n"
        "                raise\n"
        "            incoming.settle()\n",
        "failed-line-sync-only",
    ),
    Mutant("known-not-made-durable", INGEST, "    index.make_durable()\n", "", "dead-writer-of-a-line"),
    Mutant("live-upload-not-spared", STORE, "or not try_lock(fd)", "", "recovery_leaves_live_uploads_alone"),
    Mutant(
        "short-body-trusted",
        BODY,
        "raise BodyTruncated(None, received_bytes=self.received, expected_bytes=self._length)",
        "pass",
        "a_short_body_is_an_error",
    ),
    Mutant(
        "digest-trusted",
        INGEST,
        "        if actual != upload.sha256:\n",
        "        if False:\n",
        "a_body_of_another_digest_is_refused",
    ),
    Mutant(
        "length-stands-for-content",
        CATALOG,
        "if self._position(connection) == (inode, end, _fingerprint(stream, end)):",
        "if self._position(connection)[:2] == (inode, end):",
        "known-host",
    ),
    Mutant(
        "old-folder-not-synced",
        ATOMIC,
        "        sync_folder(path.parent)\n    for",
        "        pass\n    for",
        "start-killed-1",
    ),
    Mutant(
        "failed-name-sync-repeated",
        FILES,
        "            if found and not",
        "            if False and not",
        "failed-folder-sync",
    ),
    Mutant(
        "failed-parent-sync-repeated",
        FOLDERS,
        "                    path.rmdir()\n",
        "                    pass\n",
        "failed-parent-sync",
    ),
    Mutant(
        "failed-line-sync-repeated",
        ATOMIC,
        "    except OSError:\n        _write_end_anew(fd, path)\n",
        "    except OSError:\n        pass\n",
        "failed-sync-of-a-dead-writers-line",
    ),
    Mutant("marker-kept", STORE, "        self._discard(marker, len(content))\n", "", "no-links"),
    Mutant("dead-upload-kept", STORE, "            self._discard(path, status.st_size)\n", "", "known-host"),
)


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_broken_protocol_is_caught(mutant: Mutant, tmp_path: Path, tool: Callable[[str], str]) -> None:
    tool("strace")
    package = tmp_path / "cis490_receiver"
    shutil.copytree(ROOT / "cis490_receiver", package, ignore=shutil.ignore_patterns("__pycache__"))
    module = package / mutant.module
    source = module.read_text()
    assert source.count(mutant.old) == 1, f"{mutant.module} has changed: say anew what to break"
    module.write_text(source.replace(mutant.old, mutant.new))
    ended = subprocess.run(
        [sys.executable, "-m", "tests.faults.support.hunt", "--coarse", mutant.caught_by],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
    )
    assert ended.stdout, ended.stderr
    found = json.loads(ended.stdout)[mutant.caught_by]
    assert str(found).startswith("broken"), f"{mutant.name} was not caught by {mutant.caught_by}"
    print(f"{mutant.name}: {found}")
