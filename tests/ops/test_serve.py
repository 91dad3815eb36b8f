"""The wheel, installed where nothing of ours was before."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.archives import make_episode
from tests.support.receiver import ROOT, clean_environment


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a virtual environment with the wheel and what it requires."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    # A copy, so that the build leaves nothing in the checkout.
    names = ("cis490_receiver", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")
    subprocess.run(["cp", "-R", *(ROOT / name for name in names), source], check=True)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", folder, source], check=True)
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    [wheel] = folder.glob("*.whl")
    pip[0] = str(folder / "venv" / "bin" / "python")
    subprocess.run([*pip, "install", wheel], check=True)
    return folder / "venv" / "bin"


@contextlib.contextmanager
def serving(programs: Path, folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`cis490-receiver serve`, and what it said before it was ready."""
    command = [str(programs / "cis490-receiver"), "serve", *options]
    with subprocess.Popen(
        command,
        cwd=folder,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        try:
            said = ""
            assert server.stdout is not None
            while "Stop with Ctrl-C" not in said:
                line = server.stdout.readline()
                assert line, server.stderr.read() if server.stderr else ""
                said += line
            yield server, said
        finally:
            server.kill()


def test_pip_install_and_serve_is_all(installed: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving(installed, tmp_path, "--bind", "127.0.0.1:0", "--data-dir", str(data)) as (server, said):
        assert str(data) in said
        found = re.search(r"listens on +http://127\.0\.0\.1:(\d+)", said)
        assert found is not None
        archive = make_episode(1)
        path = "/v1/episodes/lab-1/run-1.tar.zst"
        headers = {"X-Content-SHA256": hashlib.sha256(archive.data).hexdigest()}
        connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=30)
        connection.request("PUT", path, archive.data, headers)
        answer = connection.getresponse()
        assert (answer.status, answer.read()[:9]) == (201, b'{"status"')
        connection.request("GET", path)
        assert connection.getresponse().read() == archive.data
        connection.close()
        # Our worker, with our settings: nothing else holds the answer to a head that is too long to be JSON.
        os.kill(server.pid, signal.SIGTERM)
        _, log = server.communicate(timeout=60)
        assert server.returncode == 0
        assert "Using worker: Worker" in log and "plain-gunicorn" not in log


def test_a_configuration_that_cannot_be_used_is_status_2_and_one_sentence(
    installed: Path, tmp_path: Path
) -> None:
    command = [installed / "cis490-receiver", "serve", "--bind", "0.0.0.0:0"]
    done = subprocess.run(command, cwd=tmp_path, env=clean_environment(), capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith(
        "cis490-receiver: bind in the environment (CIS490_BIND) is 0.0.0.0:0, which others"
    )
    assert not (tmp_path / "data").exists()


def test_a_plain_gunicorn_says_in_one_line_what_it_lacks(installed: Path, tmp_path: Path) -> None:
    with subprocess.Popen(
        [installed / "gunicorn", "--no-control-socket", "-b", "127.0.0.1:0", "cis490_receiver:create_app()"],
        cwd=tmp_path, env=clean_environment(), stderr=subprocess.PIPE, text=True,
    ) as server:  # fmt: skip
        assert server.stderr is not None
        said = ""
        while "plain-gunicorn" not in said:
            said = server.stderr.readline()
            assert said, "it ended"
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=30)
    assert "cis490-receiver serve" in said
