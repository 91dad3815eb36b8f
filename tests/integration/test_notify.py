"""People are told by the real apprise; who cannot be reached is told by the next run."""

from __future__ import annotations

import http.server
import json
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any, ClassVar

from tests.support.archives import make_episode
from tests.support.receiver import BIN, Receiver, clean_environment


class Inbox(http.server.BaseHTTPRequestHandler):
    """Takes what apprise's json:// sends."""

    letters: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        self.letters.append(json.loads(self.rfile.read(length)))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_an_alert_that_nobody_took_is_sent_again(receiver: Receiver, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    receiver.put("bare", "e", make_episode(1))

    def check() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(BIN / "cis490-receiver"), "health-check", "--quiet"],
            env=clean_environment(
                data_dir=receiver.data_dir,
                disk_reserve_bytes=0,
                syslog_address="",
                notify_urls=f"json://127.0.0.1:{port}/alerts",
            ),
            capture_output=True,
            text=True,
            timeout=60,
        )

    first = check()
    assert first.returncode == 1 and "notify-failed" in first.stderr
    assert "json://" not in first.stderr + first.stdout
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), Inbox) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            assert "notify-failed" not in check().stderr
            assert "notify-failed" not in check().stderr
        finally:
            server.shutdown()
            thread.join()
    [letter] = Inbox.letters
    assert "unstamped" in letter["title"] and "bare: unstamped since" in letter["message"]
