"""The lab host's programs against the real receiver behind the real Caddy with our Caddyfile, by mutual TLS."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.client.hosts import Lab
from tests.client.site import Site, has_each_once, serving
from tests.client.waiting import until
from tests.commands.running import run
from tests.support.archives import make_episode
from tests.support.caddy import Client
from tests.support.receiver import AUTH, BIN, clean_environment, put_headers, read_answer

StartShipper = Callable[[Lab], "subprocess.Popen[bytes]"]
EPISODES = 50
RECEIVER_KILLS = 4
SHIPPER_KILLS = 2


def status_of(lab: Lab) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(lab.run("cis490-shipper", "status", "--json").stdout)
    return told


def test_from_recorder_to_receiver_whatever_is_killed(start_shipper: StartShipper, tmp_path: Path) -> None:
    dice = random.Random(490)
    sizes = [2 << 20 if number % 8 == 0 else 20_000 for number in range(EPISODES)]
    archives = {f"run-{number:02}": make_episode(number, size=size) for number, size in enumerate(sizes)}
    with serving(Site(tmp_path, bind_client_certificates=True)) as site:
        receiver = site.receiver
        lab = site.lab(
            tmp_path / "lab",
            "lab-a",
            shown=site.ours.issue("lab-a", "clientAuth"),
            settle_seconds=1,
            # The large ones go in pieces.
            resume_from_bytes=1 << 20,
        )
        pinged = lab.run("cis490-shipper", "--ping")
        assert (pinged.returncode, pinged.stdout.count("ok  ")) == (0, 7), pinged.stdout

        names = list(archives)
        half_recorded, written_in_place = names[-2:]
        partial = lab.spool / f"{half_recorded}.tar.zst.partial"
        partial.write_bytes(archives[half_recorded].data[:10_000])
        in_place = (lab.spool / f"{written_in_place}.tar.zst").open("wb")
        for name in names[:20]:
            lab.record(name, archives[name])
        shipper = start_shipper(lab)
        to_come = names[20:-2]
        kills = ["receiver"] * RECEIVER_KILLS + ["shipper"] * SHIPPER_KILLS
        dice.shuffle(kills)
        for number, killed in enumerate(kills):
            have = len(receiver.index())
            share, to_come = to_come[:4], to_come[4:]
            for name in share:
                lab.record(name, archives[name])
            in_place.write(archives[written_in_place].data[number * 1000 : number * 1000 + 1000])
            in_place.flush()
            until(lambda have=have: len(receiver.index()) > have, "progress")  # type: ignore[misc]
            time.sleep(dice.random() / 10)
            if killed == "receiver":
                receiver.kill()
                receiver.start()
            else:
                shipper.send_signal(signal.SIGKILL)
                shipper.wait()
                shipper = start_shipper(lab)
        for name in to_come:
            lab.record(name, archives[name])
        unfinished = {partial.name, f"{written_in_place}.tar.zst"}
        until(lambda: lab.names() == unfinished, "all that is finished")
        stored = {line["episode_id"] for line in receiver.index()}
        assert stored == set(archives) - {half_recorded, written_in_place}
        in_place.write(archives[written_in_place].data[len(kills) * 1000 :])
        in_place.close()
        lab.record(half_recorded, archives[half_recorded])

        until(lambda: not lab.names(), "an empty spool")
        assert lab.names("refused") == set()
        assert lab.names("shipped") == {f"{name}.tar.zst" for name in archives}
        assert has_each_once(receiver, "lab-a", archives)
        assert "Traceback" not in lab.log()
        begun = receiver.log_text().count("upload-begun")
        assert begun >= sum(size >= 1 << 20 for size in sizes)
        # A creation whose answer was lost leaves an upload that nobody goes on with.
        run("health-check", data_dir=receiver.data_dir, disk_reserve_bytes=0)
        assert receiver.incoming() == []

        sent = lab.run("cis490-ship-health")
        assert (sent.returncode, sent.stderr) == (0, "")
        [known] = receiver.request("GET", "/v1/host-health", headers=AUTH).json["hosts"]
        assert (known["host_id"], known["doctor"]["host_id"]) == ("lab-a", "lab-a")
        found = {check["name"]: check["status"] for check in known["doctor"]["checks"]}
        assert [found[name] for name in ("receiver", "clock", "spool", "refused")] == ["ok"] * 4
        assert found.keys() == {
            check["name"] for check in json.loads(lab.run("cis490-doctor", "--json").stdout)["checks"]
        }
        told = status_of(lab)
        assert (told["running"], told["waiting"]["files"], told["refused"]["files"]) == (True, 0, 0)
        assert (told["shipped_kept"], told["shipper"]["state"]) == (EPISODES, "idle")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A receiver that knows each host by its certificate, and by a token of its own."""
    folder = tmp_path_factory.mktemp("site")
    made = Site(folder, bind_client_certificates=True, tokens_file=folder / "tokens.toml")
    with serving(made):
        yield made


def stays(site: Site, lab: Lab, stage: str, start_shipper: StartShipper) -> str:
    """See that `stage` fails, whatever is asked, and that nothing is shipped, refused or lost; gives what is said."""
    name = f"kept-{lab.folder.name}"
    lab.record(name, make_episode(1))
    lab.record(f"{name}-large", make_episode(2, size=3 << 20))
    everything = {f"{name}.tar.zst", f"{name}-large.tar.zst"}
    pinged = lab.run("cis490-shipper", "--ping")
    assert pinged.returncode == 1
    assert f"{stage} fails. What to do: " in pinged.stdout
    once = lab.run("cis490-shipper", "run", "--once")
    assert (once.returncode, once.stdout.split(",")[:2]) == (1, ["0 shipped", " 0 refused"])
    by_hand = lab.run("cis490-shipper", "ship", lab.spool / f"{name}.tar.zst")
    assert by_hand.returncode == 1
    assert by_hand.stdout.split()[0] == "not-shipped"
    not_sent = lab.run("cis490-ship-health")
    assert (not_sent.returncode, "  -> " in not_sent.stderr) == (1, True)
    # By the second look at the latest it has asked whether the way is open by now.
    start_shipper(lab)
    until(lambda: lab.log().count(" waiting ") >= 2, "a shipper that waits", seconds=20)
    until(lambda: status_of(lab)["shipper"]["state"] == "waiting", "a shipper that waits", seconds=20)
    told = status_of(lab)
    assert told["waiting"]["files"] == 2
    assert told["shipper"]["last_failure"]["stage"] == stage
    assert (lab.names(), lab.names("refused"), lab.names("shipped")) == (everything, set(), set())
    assert not [key for key in site.receiver.stored() if key[1] in everything]
    assert site.receiver.incoming() == []
    return pinged.stdout


@pytest.mark.parametrize("kind", ["another authority's", "over", "none"])
def test_without_a_good_certificate_all_stays_and_the_certificate_is_named(
    site: Site, start_shipper: StartShipper, tmp_path: Path, kind: str
) -> None:
    shown = {
        "another authority's": lambda: site.stranger.issue("lab-a", "clientAuth"),
        "over": lambda: site.ours.issue("lab-a", "clientAuth", days=-1),
        "none": lambda: None,
    }[kind]()
    lab = site.lab(tmp_path / kind[:4].strip(), "lab-a", shown=shown)
    said = stays(site, lab, "client certificate", start_shipper)
    assert "client_cert and client_key" in said
    assert {path.name for path in (site.receiver.data_dir / "host-health").glob("*.json")} == set()


def own_token(site: Site, host: str) -> str:
    """A token that ships as `host` alone, made by the maintainer's command."""
    made = subprocess.run(
        [BIN / "cis490-receiver", "token", "add", host],
        env=clean_environment(tokens_file=site.receiver.settings["tokens_file"]),
        capture_output=True,
        text=True,
        check=True,
    )
    return made.stdout.strip()


@pytest.mark.parametrize("whose", ["certificate", "token"])
def test_a_host_that_goes_by_another_ones_name_keeps_its_episodes_and_is_told_why(
    site: Site, start_shipper: StartShipper, tmp_path: Path, whose: str
) -> None:
    lab_a, lab_b = (f"lab-{letter}-{whose}" for letter in "ab")
    shown = lab_a if whose == "certificate" else lab_b
    lab = site.lab(tmp_path / whose, lab_b, shown=site.ours.issue(shown, "clientAuth"))
    if whose == "token":
        lab.token.write_text(own_token(site, lab_a))
    said = stays(site, lab, "host id", start_shipper)
    assert lab_a in said and lab_b in said and "host_id" in said
    assert not (site.receiver.data_dir / "episodes" / lab_b).exists()
    assert not (site.receiver.data_dir / "host-health" / f"{lab_b}.json").exists()

    # The maintainer sees it, too.
    refused = (site.receiver.data_dir / "rejections.jsonl").read_text().splitlines()
    assert any(f'"{lab_b}"' in line and "host-mismatch" in line for line in refused)

    # What is wrong is this line alone; mended, the same files are shipped.
    if whose == "certificate":
        lab.write(host_id=lab_a)
    else:
        lab.token.write_text(own_token(site, lab_b))
    assert lab.run("cis490-shipper", "--ping").returncode == 0


def test_no_header_makes_a_host_another_one(site: Site) -> None:
    own = site.ours.issue("lab-honest", "clientAuth")
    client = Client(site.caddy.port, site.ours.certificate.cert, own)
    archive = make_episode(1)
    claims = {"Subject": "CN=lab-other,O=lab", "Fingerprint": "0" * 64, "Host": "lab-other"}
    spoofed = {f"X{dash}Client{dash}{name}": value for dash in "-_" for name, value in claims.items()}
    spoofed |= {
        "x-client_subject": claims["Subject"],
        "X-Forwarded-For": "127.0.0.1",
        "Forwarded": "for=127.0.0.1",
    }
    for host, status in (("lab-other", 403), ("lab-honest", 201)):
        with contextlib.closing(client.connect(sni=site.name)) as connection:
            connection.host = site.name
            path = f"/v1/episodes/{host}/e.tar.zst"
            connection.request("PUT", path, archive.data, put_headers(archive) | spoofed)
            assert read_answer(connection).status == status
    assert [key for key in site.receiver.stored() if key[0] == "lab-other"] == []
