"""docs/http.md says what the program says of itself, and its examples work."""

from __future__ import annotations

import html
import re
import subprocess
import sys
from pathlib import Path

from tests.commands.running import run
from tests.conftest import need
from tests.support.receiver import ROOT, TOKEN, Receiver, clean_environment

PAGE = ROOT / "docs" / "http.md"


def test_the_page_is_what_the_program_says(tmp_path: Path) -> None:
    made = tmp_path / "http.md"
    subprocess.run([sys.executable, str(ROOT / "bin" / "http_docs.py"), str(made)], check=True)
    assert made.read_text() == PAGE.read_text(), "run bin/http-docs"


def test_every_example_works_in_the_order_of_the_page(shared_receiver: Receiver, tmp_path: Path) -> None:
    need("curl")
    need("zstd")
    _, prepare, *examples = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    described = shared_receiver.request("GET", "/v1/openapi.json").json
    operations = [said for item in described["paths"].values() for said in item.values()]
    assert len(examples) == sum("x-codeSamples" in said for said in operations)
    (tmp_path / ".curlrc").write_text('fail-with-body\nsilent\nwrite-out = "\\n%{http_code}"\n')
    environment = clean_environment() | {
        "RECEIVER": f"http://127.0.0.1:{shared_receiver.port}",
        "TOKEN": TOKEN,
        "CURL_HOME": str(tmp_path),
    }
    subprocess.run(["bash", "-euc", prepare], cwd=tmp_path, check=True)
    upload = ""
    for line in examples:
        assert line.startswith("curl ") and line.count("\n") == 1
        environment |= {"UPLOAD": upload}
        if "/releases/paper-1." in line:
            run("release", "create", "paper-1", data_dir=shared_receiver.data_dir)
        done = subprocess.run(
            ["bash", "-euc", line], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, line + done.stdout + done.stderr
        answered = next(
            said for said in operations if said.get("x-codeSamples", [{}])[0].get("source") == line.strip()
        )
        assert done.stdout.rpartition("\n")[2] in answered["responses"], line
        if begun := re.search(r"^Location: /v1/uploads/(\w+)", done.stdout, re.MULTILINE):
            upload = begun[1]
    assert (tmp_path / "back.tar.zst").read_bytes() == (tmp_path / "run-0001.tar.zst").read_bytes()


def test_every_link_within_the_page_leads_to_a_heading() -> None:
    text = PAGE.read_text()
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    # As GitHub makes them (github.com/gjtorikian/html-pipeline).
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([^)]*)\)", text)) <= anchors


def test_a_running_receiver_shows_the_same(shared_receiver: Receiver) -> None:
    answer = shared_receiver.request("GET", "/docs")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    page = answer.body.decode()
    assert not re.search(
        r"<script(?![^>]* src=)|<style|\bstyle=|\bon\w+=|(?:src|href)=\"(?:https?:)?//", page
    )
    shown = html.unescape(re.sub(r"<[^>]+>", "", page))
    for words in re.findall(r"`([^`\n]+)`", PAGE.read_text().partition("## Calls")[2]):
        assert words.replace("\\|", "|") in shown, words
    for line in re.findall(r"^curl .*$", PAGE.read_text(), re.MULTILINE):
        assert line in shown
    anchors = set(re.findall(r'\bid="([^"]*)"', page))
    assert set(re.findall(r'href="#([^"]*)"', page)) - {"main"} <= anchors
    for address in set(re.findall(r'(?:src|href)="(/[^"]*)"', page)) - {"/", "/sign-out"}:
        assert shared_receiver.request("GET", address).status in (200, 401), address
