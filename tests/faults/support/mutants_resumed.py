"""The protocol of uploads in pieces with one step missing or moved."""

from __future__ import annotations

from tests.faults.support.mutants import Mutant

FILE, PARTIALS, STORE = "storage/partial_file.py", "storage/partials.py", "storage/filesystem.py"
RESUMABLE, PIECE = "resumable/__init__.py", "resumable/piece.py"

RESUMED = (
    Mutant(
        "piece-not-synced",
        FILE,
        "        os.fdatasync(self._fd)\n        atomic.append",
        "        atomic.append",
        "upload-next-piece",
    ),
    Mutant(
        "counted-before-the-sync",
        FILE,
        "        os.fdatasync(self._fd)\n"
        "        atomic.append_lines(self._log_fd, self._log_path, [partial_lines.offset_line(offset, now_ns)])\n",
        "        atomic.append_lines(self._log_fd, self._log_path, [partial_lines.offset_line(offset, now_ns)])\n"
        "        os.fdatasync(self._fd)\n",
        "upload-counted-often",
    ),
    Mutant(
        "piece-not-counted",
        FILE,
        "                self._count(self._bytes.size_bytes, now_ns)\n",
        "                self._state = dataclasses.replace(self._state, offset=self._bytes.size_bytes)\n",
        "upload-next-piece",
    ),
    Mutant(
        "taken-back-line-comes-to-light",
        FILE,
        "                os.fdatasync(log_fd)\n",
        "",
        "upload-failed-sync-2",
    ),
    Mutant(
        "verdict-not-put-down",
        FILE,
        "            atomic.append_lines(self._log_fd, self._log_path, [partial_lines.verdict_line(verdict)])\n",
        "            os.write(self._log_fd, partial_lines.verdict_line(verdict))\n",
        "upload-of-other-bytes",
    ),
    Mutant(
        "torn-log-not-mended", FILE, "        atomic.cut_torn_lines(log_fd)\n", "", "upload-with-a-torn-log"
    ),
    Mutant(
        "waiting-upload-discarded",
        STORE,
        "        return state is not None and state.verdict is None\n",
        "        return False\n",
        "upload-next-piece",
    ),
    Mutant(
        "ended-upload-kept",
        STORE,
        "        return state is not None and state.verdict is None\n",
        "        return state is not None\n",
        "upload-of-other-bytes",
    ),
    Mutant(
        "marker-of-a-waiting-upload-kept",
        STORE,
        "                linking.remove_marker(path)\n                return None\n",
        "                return None\n",
        "upload-without-links",
    ),
    Mutant(
        "cut-request-forgotten",
        PIECE,
        "            with contextlib.suppress(ReceiverError):\n                self.partial.put_down(",
        "            with contextlib.suppress(ReceiverError, AttributeError):\n                self.partial.no(",
        "upload-cut",
    ),
    Mutant(
        "verdict-before-the-episode",
        RESUMABLE,
        "        started = time.monotonic()\n        try:\n",
        "        started = time.monotonic()\n"
        "        if upload.sha256 == partial.hexdigest():\n"
        "            partial.end(self._verdict(_STORED, upload.sha256))\n"
        "        try:\n",
        "upload-completed",
    ),
    Mutant(
        "dead-writers-episode-not-told",
        RESUMABLE,
        "        if not partial.has_bytes or self.store.exists(upload.key):\n",
        "        if not partial.has_bytes:\n"
        "            raise errors.UploadLost\n"
        "        if self.store.exists(upload.key):\n",
        "upload-completed-by-a-dead-one",
    ),
)
