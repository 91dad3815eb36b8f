"""The protocol of the intake with one step missing or moved."""

from __future__ import annotations

from dataclasses import dataclass


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
LINKING, TRACES = "storage/linking.py", "storage/traces.py"
JOURNAL, POSITION, ATOMIC, BODY = "index/journal.py", "index/position.py", "files/atomic.py", "views/body.py"
GENERATION = "index/generation.py"

MUTANTS = (
    Mutant("bytes-not-synced", INGEST, "    incoming.sync()\n", "", "new-host"),
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
        "            write_all(fd, piece)\n        sync_lines(fd, path)\n",
        "            write_all(fd, piece)\n",
        "known-host",
    ),
    Mutant(
        "line-before-name",
        INGEST,
        "    placed = incoming.publish()\n"
        "    if placed is None:\n"
        "        return None\n"
        "    if not index.append(episode, placed):\n",
        "    index.append(episode)\n    placed = incoming.publish()\n    if placed is None:\n",
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
        "            self._mend(fd)\n            atomic.append_lines",
        "            atomic.append_lines",
        "torn-line",
    ),
    Mutant("holes-not-mended", JOURNAL, "atomic.cut_holed_lines(fd)", 'b""', "straddled-block"),
    Mutant(
        "lines-behind-a-hole-not-mended",
        ATOMIC,
        '    hole = tail.find(b"\\0")\n',
        '    hole = tail.find(b"\\0", tail.rfind(b"\\n", 0, -1))\n',
        "straddled-block-by-two",
    ),
    Mutant(
        "name-taken-back",
        INGEST,
        "    if not index.append(episode, placed):\n",
        "    try:\n"
        "        index.append(episode)\n"
        "    except Exception:\n"
        "        hosts = incoming._publisher.hosts\n"
        "        __import__('os').unlink(hosts.path_of(upload.key))\n"
        "        raise\n"
        "    if False:\n",
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
        "    if actual != upload.sha256:\n        raise ShaMismatch(actual)\n    conclude",
        "    conclude",
        "a_body_of_another_digest_is_refused",
    ),
    Mutant(
        "digest-trusted-under-a-taken-name",
        INGEST,
        "        _check_small(upload, body)\n",
        "",
        "a_body_of_another_digest_is_refused_under_a_taken_name",
    ),
    Mutant(
        "length-stands-for-content",
        POSITION,
        "and self.fingerprint == fingerprint(journal, self.offset)",
        "and True",
        "a_lost_line_is_forgotten",
    ),
    Mutant(
        "generation-kept-through-a-cut",
        JOURNAL,
        "        if end_of_lines(fd) > end:\n",
        "        if False:\n",
        "a_cut_changes_the_generation",
    ),
    Mutant(
        "generation-changed-only-after-the-cut",
        GENERATION,
        "        self._note({})\n",
        "",
        "a_cut_changes_the_generation",
    ),
    Mutant(
        "generation-kept-through-a-swap",
        GENERATION,
        "self._write({old_inode: self.of(old), new_inode: secrets.token_hex(16)})",
        "self._write({old_inode: self.of(old), new_inode: self.of(old)})",
        "a_swap_changes_the_generation",
    ),
    Mutant(
        "torn-tail-read-at-once",
        JOURNAL,
        "os.pread(fd, LINE_LIMIT + 1, end)",
        "os.pread(fd, min(size - end, 1 << 28), end)",
        "a_damaged_tail_costs_no_memory",
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
    Mutant(
        "failed-folder-kept",
        ATOMIC,
        "                folder.rmdir()\n",
        "                pass\n",
        "start-failed-4",
    ),
    Mutant(
        "failed-index-kept",
        ATOMIC,
        "        os.unlink(path)\n        raise\n",
        "        raise\n",
        "start-failed-9",
    ),
    Mutant(
        "trace-without-stamps",
        TRACES,
        """    rest = f"{'.'.join(stamps.words())}~{""",
        '    rest = f"{',
        "known-host",
    ),
    Mutant(
        "stamp-not-in-trace",
        "stamps.py",
        "values = (getattr(self, declared.name) for declared in DECLARED)",
        "values = (self.schema_version, None, self.episode_type, self.benign_profile)",
        "known-host",
    ),
    Mutant("marker-kept", STORE, "        self._discard(marker, len(content))\n", "", "no-links"),
    Mutant("dead-upload-kept", STORE, "            self._discard(path, status.st_size)\n", "", "known-host"),
)
