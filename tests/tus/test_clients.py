"""Clients of others, unchanged, through connections that are reset and a receiver that is killed."""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import need
from tests.support.archives import Archive
from tests.support.browser import browser
from tests.support.caddy import SITE, Authority, Caddy
from tests.support.receiver import AUTH, Receiver
from tests.tus.cutting import CuttingProxy, cutting
from tests.tus.packages import modules

MIB = 1 << 20
SIZE = 64 * MIB
#: What a cut may cost: what was on its way, and with a kill what was not counted yet.
LOST = 12 * MIB
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def episode(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("episode") / "episode"
    path.write_bytes(random.Random(1).randbytes(SIZE))
    yield path
    path.unlink()


def given(file: Path, endpoint: str) -> dict[str, Any]:
    metadata = {"host_id": "lab-1", "episode_id": "run-1", "sha256": Archive(file.read_bytes()).sha256}
    return {"file": str(file), "endpoint": endpoint, "headers": AUTH, "metadata": metadata}


def judge(
    receiver: Receiver, proxy: CuttingProxy, ship: Callable[[], str], episode: Path, *, lost: int = LOST
) -> None:
    """`ship` gives what the client complains of. At most `lost` bytes are sent again for each cut."""

    def restart() -> None:
        receiver.kill()
        receiver.start()

    proxy.cut_at((12 * MIB, lambda: None), (30 * MIB, restart), (50 * MIB, lambda: None))
    assert ship() == ""
    assert proxy.cuts_left == 0
    print(f"sent {proxy.sent / MIB:.1f} MiB of {SIZE / MIB:.0f}")
    assert SIZE <= proxy.sent <= SIZE + 3 * lost
    stored = {("lab-1", "run-1.tar.zst"): episode.read_bytes()}
    [line] = receiver.index()
    assert (line["sha256"], line["size_bytes"]) == (Archive(episode.read_bytes()).sha256, SIZE)
    assert receiver.stored() == stored
    assert receiver.incoming() == []
    # Once more, as a new upload: no error, and nothing twice.
    proxy.cut_at()
    assert ship() == ""
    print(f"sent {proxy.sent / MIB:.1f} MiB of what was stored")
    assert proxy.sent <= SIZE + MIB
    assert len(receiver.index()) == 1
    assert receiver.stored() == stored
    assert receiver.incoming() == []


def run(*command: str, **environment: str) -> str:
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, timeout=120)
    return "" if done.returncode == 0 else done.stderr or f"exit status {done.returncode}"


def test_tuspy(receiver: Receiver, episode: Path) -> None:
    with cutting(lambda: socket.create_connection(("127.0.0.1", receiver.port))) as proxy:
        what = given(episode, f"http://127.0.0.1:{proxy.port}/v1/uploads")
        judge(
            receiver,
            proxy,
            lambda: run(sys.executable, str(HERE / "with_tuspy.py"), json.dumps(what)),
            episode,
        )


def test_tus_js_client_behind_caddy_with_a_certificate(
    start_receiver: Callable[..., Receiver], tmp_path: Path, episode: Path
) -> None:
    program, openssl, node = need("caddy"), need("openssl"), need("node")
    upstream = tmp_path / "http.sock"
    receiver = start_receiver(bind=f"unix:{upstream}")
    ours, labs = (Authority(openssl, tmp_path / name, name) for name in ("ours", "labs"))
    client = labs.issue("lab-1", "clientAuth")
    caddy = Caddy(
        program, tmp_path / "caddy", upstream, ours.issue(SITE, "serverAuth"), labs.certificate.cert
    )
    caddy.start()
    try:
        with cutting(lambda: socket.create_connection(("127.0.0.1", caddy.port))) as proxy:
            tls = {"ca": ours.certificate.cert, "cert": client.cert, "key": client.key}
            what = given(episode, f"https://{SITE}:{proxy.port}/v1/uploads") | {
                "modules": str(modules()),
                "tls": {name: str(path) for name, path in tls.items()},
            }
            judge(
                receiver, proxy, lambda: run(node, str(HERE / "with_tus_js.cjs"), json.dumps(what)), episode
            )
    finally:
        caddy.stop()


@pytest.fixture
def chromium() -> None:
    for program in ("chromium", "chromedriver", "npm"):
        need(program)


def test_uppy_in_chromium_behind_caddy(
    start_receiver: Callable[..., Receiver], tmp_path: Path, episode: Path, chromium: None
) -> None:
    """Its page comes from where the receiver is: there is no CORS."""
    upstream = tmp_path / "http.sock"
    receiver = start_receiver(bind=f"unix:{upstream}")
    pages = tmp_path / "judge"
    pages.mkdir()
    (pages / "uppy.html").symlink_to(HERE / "uppy.html")
    (pages / "uppy.min.mjs").symlink_to(modules() / "uppy" / "dist" / "uppy.min.mjs")
    (pages / "episode").symlink_to(episode)
    listens = tmp_path / "caddy.sock"
    with (
        caddy_with_pages(tmp_path, upstream, listens),
        cutting(lambda: connect_unix(listens)) as proxy,
        browser(f"http://127.0.0.1:{proxy.port}") as uppy,
    ):
        uppy.driver.set_script_timeout(120)
        uppy.open("/judge/uppy.html")
        uppy.wait(lambda: uppy.run("return !!window.ship"))
        what = given(episode, "")

        def ship() -> str:
            script = "window.ship(arguments[0]).then(arguments[1], (error) => arguments[1]([String(error)]))"
            return "\n".join(uppy.driver.execute_async_script(script, what))

        # After a reset Chromium itself sends a request again, all of it, before its page hears of anything. The
        # receiver answers 409, for the offset is not that one any more, and Uppy goes on where it is.
        judge(receiver, proxy, ship, episode, lost=SIZE // 2)


def connect_unix(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(path))
    return connection


@contextlib.contextmanager
def caddy_with_pages(folder: Path, upstream: Path, listens: Path) -> Iterator[None]:
    """Caddy with the pages in ``judge/`` beside the receiver."""
    (folder / "Caddyfile").write_text(
        "{\n\tadmin off\n\tauto_https off\n}\n"
        f"http:// {{\n\tbind unix/{listens}\n\thandle /judge/* {{\n\t\troot * {folder}\n\t\tfile_server\n\t}}\n"
        f"\thandle {{\n\t\treverse_proxy unix/{upstream} {{\n\t\t\tlb_try_duration 20s\n\t\t}}\n\t}}\n}}\n"
    )
    with (folder / "caddy.log").open("wb") as log:
        caddy = subprocess.Popen(
            [need("caddy"), "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"],
            env={"PATH": os.environ["PATH"], "HOME": str(folder)}, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + 30
        while not listens.exists():
            assert caddy.poll() is None and time.monotonic() < deadline, (folder / "caddy.log").read_text()
            time.sleep(0.02)
        yield
    finally:
        caddy.kill()
        caddy.wait()
