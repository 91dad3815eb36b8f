"""The lab host's programs fail as the receiver's commands do: one sentence, an exit status, an object for programs."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

from tests.client.hosts import Lab
from tests.client.waiting import until

COMMANDS = [
    ["cis490-shipper", "--ping"],
    ["cis490-shipper", "config"],
    ["cis490-shipper", "config", "--explain"],
    ["cis490-shipper", "status"],
    ["cis490-shipper", "retry", "--all"],
    ["cis490-shipper", "ship", "one.tar.zst"],
    ["cis490-doctor"],
]
WITHOUT_JSON = [["cis490-shipper", "run"], ["cis490-shipper", "cert-fetch"], ["cis490-ship-health"]]


@pytest.mark.parametrize("words", COMMANDS + WITHOUT_JSON, ids=" ".join)
def test_a_bad_configuration_is_one_sentence_and_one_object(tmp_path: Path, words: list[str]) -> None:
    lab = Lab(tmp_path / "lab", "http://127.0.0.1:9", settle_secnds=1)
    done = lab.run(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"{words[0]}: unknown key settle_secnds in {lab.config} (did you mean settle_seconds?); "
        "`cis490-shipper config --defaults` lists the keys\n"
    )
    if words not in WITHOUT_JSON:
        told = json.loads(lab.run(*words, "--json").stdout)
        assert told["code"] == "bad-configuration" and f"{words[0]}: {told['error']}\n" == done.stderr


def test_wrong_usage_is_an_object_too_and_the_remedy_of_a_bad_configuration_works(tmp_path: Path) -> None:
    lab = Lab(tmp_path / "lab", "http://127.0.0.1:9", settle_secnds=1)
    done = lab.run("cis490-shipper", "retry", "--json")
    assert (done.returncode, json.loads(done.stdout)["code"]) == (2, "bad-usage")
    keys = lab.run("cis490-shipper", "config", "--defaults", "--json")
    assert (keys.returncode, json.loads(keys.stdout)["settle_seconds"]["default"]) == (0, 10)


def test_its_configuration_is_explained(tmp_path: Path) -> None:
    lab = Lab(tmp_path / "lab", "http://127.0.0.1:9", settle_seconds=7)
    told = json.loads(lab.run("cis490-shipper", "config", "--explain", "--json").stdout)
    assert (told["settle_seconds"]["value"], told["settle_seconds"]["source"]) == (7, str(lab.config))
    assert told["idle_seconds"]["source"] == "default"
    text = lab.run("cis490-shipper", "config", "--explain").stdout
    assert text.startswith(f"# read from {lab.config}\n") and "\nsettle_seconds = 7\n" in text
    assert lab.token.read_text().strip() not in text


def test_an_interrupted_shipper_ends_as_a_shell_expects(tmp_path: Path) -> None:
    lab = Lab(tmp_path / "lab", "http://127.0.0.1:9")
    shipper = lab.start("cis490-shipper", "run")
    try:
        until((lab.spool / "shipped").exists, "a spool that is in use")
        shipper.send_signal(signal.SIGINT)
        assert shipper.wait(timeout=20) == 130
    except subprocess.TimeoutExpired:
        shipper.kill()
        raise
    assert "Traceback" not in lab.log()
