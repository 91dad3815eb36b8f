"""The systemd units, timers and cron lines."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cis490_receiver.config import Settings
from tests.conftest import need
from tests.support.archives import make_episode
from tests.support.receiver import BIN, ROOT, Receiver

UNITS = sorted((ROOT / "etc" / "systemd").glob("*.*"), key=lambda path: path.name)
SERVICES = [path for path in UNITS if path.suffix == ".service"]
INSTALLED_BIN = "/opt/cis490-receiver/venv/bin/"
#: In systemd's tenths. What git fetches, and what is kept on other machines, needs the network, which alone counts 1.0.
EXPOSURE = {"cis490-receiver-gate-refresh.service": 11, "cis490-receiver-collect.service": 14}
EXPOSURE_ELSE = 8


def values(unit: Path, key: str) -> list[str]:
    """Every value that `unit` gives `key`, in order."""
    return re.findall(rf"^{key}=(.*)$", unit.read_text(), re.MULTILINE)


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.stem)
def test_a_unit_exposes_little(unit: Path) -> None:
    threshold = EXPOSURE.get(unit.name, EXPOSURE_ELSE)
    command = [need("systemd-analyze"), "security", "--offline=true", f"--threshold={threshold}", str(unit)]
    judged = subprocess.run(command, capture_output=True, text=True)
    assert judged.returncode == 0, judged.stdout[-300:]


def test_systemd_has_nothing_to_say_about_the_units(tmp_path: Path) -> None:
    program = need("systemd-analyze")
    for name in ("gunicorn", "cis490-receiver"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    units = tmp_path / "units"
    units.mkdir()
    for unit in UNITS:
        (units / unit.name).write_text(unit.read_text().replace(INSTALLED_BIN, f"{tmp_path}/"))
    paths = [str(path) for path in units.iterdir()]
    verified = subprocess.run([program, "verify", "--man=no", *paths], capture_output=True, text=True)
    assert (verified.returncode, verified.stderr) == (0, "")
    (units / "cis490-receiver.service").write_text("[Service]\nExecStart=/bin/true\nNoSuchKey=1\n")
    broken = subprocess.run([program, "verify", "--man=no", *paths], capture_output=True, text=True)
    assert "NoSuchKey" in broken.stderr, "an unknown key would go unnoticed"


@pytest.mark.parametrize(
    "name", ["", "-collect", "-health-check", "-inspect", "-verify", "lab-host/cis490-lab-shipper"]
)
def test_a_unit_starts_on_a_full_root_disk_and_goes_on_trying(name: str) -> None:
    """systemd makes folders in /tmp and /var/tmp for these options; without room it gives up (226/NAMESPACE)."""
    folder = ROOT / "etc" / "systemd"
    unit = folder / f"{name}.service" if "/" in name else folder / f"cis490-receiver{name}.service"
    assert values(unit, "PrivateTmp") + values(unit, "PrivateDevices") == []
    [in_memory] = values(unit, "TemporaryFileSystem")
    assert in_memory.split() == ["/tmp:mode=1777", "/var/tmp:mode=1777"]
    if values(unit, "Restart"):
        assert values(unit, "StartLimitIntervalSec") == ["0"]


def test_every_timer_has_its_service_and_a_time_that_comes() -> None:
    timers = [unit for unit in UNITS if unit.suffix == ".timer"]
    assert len(timers) == 5
    for timer in timers:
        assert timer.with_suffix(".service") in SERVICES
        for when in values(timer, "OnCalendar"):
            said = subprocess.run(
                [need("systemd-analyze"), "calendar", when], capture_output=True, text=True, check=True
            )
            assert "Next elapse" in said.stdout


def test_a_stop_waits_longer_than_uploads_are_let_finish() -> None:
    [seconds] = values(ROOT / "etc/systemd/cis490-receiver.service", "TimeoutStopSec")
    assert int(seconds) > Settings().graceful_seconds + 30


def exec_start(unit: Path) -> list[str]:
    """The command of `unit` with this checkout in place of what is installed."""
    [command] = values(unit, "ExecStart")
    command = command.replace("%%", "%").replace(INSTALLED_BIN, f"{BIN}/")
    return shlex.split(command.replace("/opt/cis490-receiver/etc/", f"{ROOT}/etc/"))


@pytest.mark.parametrize(
    "configuration",
    ['no_such_key = "1"\n', 'data_dir = "{folder}/a-file/data"\n', 'bearer_token_file = "{folder}/absent"\n'],
    ids=["key", "data_dir", "token"],
)
def test_a_bad_configuration_ends_with_the_status_that_is_not_restarted(
    tmp_path: Path, plain_environment: dict[str, str], configuration: str
) -> None:
    unit = ROOT / "etc/systemd/cis490-receiver.service"
    (tmp_path / "a-file").touch()
    config = tmp_path / "receiver.toml"
    config.write_text(f'bind = "unix:{tmp_path}/http.sock"\n' + configuration.format(folder=tmp_path))
    ended = subprocess.run(
        exec_start(unit),
        env=plain_environment | {"CIS490_CONFIG": str(config)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert [str(ended.returncode)] == values(unit, "RestartPreventExitStatus")
    assert "cis490-receiver: " in ended.stderr
    assert "Traceback" not in ended.stderr


def allowed_system_calls(unit: Path) -> set[str]:
    """What the SystemCallFilter lines of `unit` leave, their sets as systemd knows them."""
    program = need("systemd-analyze")

    def members(name: str) -> set[str]:
        if not name.startswith("@"):
            return {name}
        listed = subprocess.run([program, "syscall-filter", name], capture_output=True, text=True, check=True)
        lines = [line.strip() for line in listed.stdout.splitlines()[1:]]
        return set().union(*(members(line) for line in lines if line and not line.startswith("#")))

    allowed = members("@default")
    for line in values(unit, "SystemCallFilter"):
        named = set().union(*(members(name) for name in line.removeprefix("~").split()))
        allowed = allowed - named if line.startswith("~") else allowed | named
    return allowed


@pytest.mark.slow
def test_the_receiver_makes_no_system_call_that_its_unit_forbids(
    start_traced: Callable[..., Receiver], tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    allowed = allowed_system_calls(ROOT / "etc/systemd/cis490-receiver.service")
    receiver = start_traced(trace, bind=f"unix:{tmp_path}/http.sock")
    assert receiver.put("h", "e", make_episode(1)).status == 201
    assert receiver.put("h", "e", make_episode(1)).status == 200
    assert receiver.put("h", "e", make_episode(2)).status == 409
    assert receiver.put("h", "f", make_episode(3), X_Content_SHA256="0" * 64).status == 400
    assert receiver.request("GET", "/v1/ready").status == 200
    receiver.stop()
    made = set(re.findall(r"^\d+ +([a-z]\w*)\(", trace.read_text(), re.MULTILINE))
    assert made >= {"fsync", "flock", "accept4"}
    # SQLite gives its files to their folder's owner, but only when it runs as root, as tests may.
    made -= {"fchown"} if os.geteuid() == 0 else set()
    assert made - allowed == set()


@pytest.fixture
def start_traced(tmp_path: Path) -> Iterator[Callable[..., Receiver]]:
    """Start a receiver under strace, which writes to a file; it is ended with the test."""
    strace = need("strace")
    started: list[Receiver] = []

    def start(trace: Path, **settings: object) -> Receiver:
        new = TracedReceiver(tmp_path / "data", tmp_path / "receiver.log", **settings)
        started.append(new)
        new.start(strace, "-f", "-qq", "-s", "0", "-o", str(trace))
        return new

    yield start
    for one in started:
        one.end()


class TracedReceiver(Receiver):
    """A receiver whose process is strace's child."""

    def stop(self) -> int:
        assert self.process is not None
        [master] = self.worker_pids()
        os.kill(master, signal.SIGTERM)
        return self.process.wait(timeout=60)


def test_whoever_may_enter_the_sockets_folder_may_connect(
    start_receiver: Callable[..., Receiver], tmp_path: Path
) -> None:
    setpriv = shutil.which("setpriv")
    if setpriv is None or os.geteuid() != 0:
        pytest.skip("needs root and setpriv: apt-get install util-linux")
    folder = Path(subprocess.run(["mktemp", "-d"], capture_output=True, text=True, check=True).stdout.strip())
    http_group, stranger = 60123, 60124
    try:
        os.chown(folder, 0, http_group)
        folder.chmod(0o750)
        receiver = start_receiver(bind=f"unix:{folder}/http.sock")
        assert stat.S_IMODE((receiver.data_dir / "index.jsonl").stat().st_mode) == 0o640
        assert stat.S_IMODE((receiver.data_dir / "episodes").stat().st_mode) == 0o750
        connect = f"import socket; socket.socket(socket.AF_UNIX).connect({str(folder / 'http.sock')!r})"
        answers = {}
        for group in (http_group, stranger):
            given = ["--reuid=60125", f"--regid={group}", "--clear-groups", "/usr/bin/python3", "-c", connect]
            answers[group] = subprocess.run([setpriv, *given], capture_output=True).returncode
        assert answers == {http_group: 0, stranger: 1}
    finally:
        shutil.rmtree(folder)


CRON_LINE = re.compile(r"(?:[\d*/,-]+\s+){5}([a-z0-9-]+)\s+(\S.*)")


def cron_commands() -> list[tuple[str, str]]:
    """User and command of each line of cron.d, also of what waits behind a `#`."""
    lines = (ROOT / "etc/cron.d/cis490-receiver").read_text().splitlines()
    commands = []
    for line in lines:
        if match := CRON_LINE.fullmatch(line.removeprefix("# ")):
            commands.append((match[1], match[2]))
        else:
            assert not line or line.startswith("#") or re.fullmatch(r"[A-Z0-9_]+=\S+", line), line
    return commands


def test_cron_runs_what_the_timers_run() -> None:
    commands = cron_commands()
    assert {user for user, _ in commands} == {"cis490-receiver"}
    timed = [unit.with_suffix(".service") for unit in UNITS if unit.suffix == ".timer"]
    wanted = {values(unit, "ExecStart")[0].replace("%%", "%") for unit in timed}
    assert len(commands) == len(wanted)
    for _, command in commands:
        # crontab(5): a bare % ends the command.
        assert not re.search(r"(?<!\\)%", command)
        unescaped = command.replace(r"\%", "%")
        assert sum(one in unescaped for one in wanted) == 1, command
        assert command.startswith("[ -d /run/systemd/system ] || ")
        subprocess.run(["/bin/sh", "-n", "-c", unescaped], check=True)


def test_the_cron_file_has_a_name_that_cron_reads_and_ends_with_a_newline() -> None:
    [path] = (ROOT / "etc/cron.d").iterdir()
    assert re.fullmatch(r"[A-Za-z0-9_-]+", path.name)
    assert path.read_text().endswith("\n")


def test_sysusers_and_tmpfiles_make_the_users_and_folders(tmp_path: Path) -> None:
    need("systemd-analyze")
    if os.geteuid() != 0:
        pytest.skip("needs root")
    (tmp_path / "etc").mkdir()
    for program, name in (("systemd-sysusers", "sysusers.d"), ("systemd-tmpfiles", "tmpfiles.d")):
        options = ["--create"] if name == "tmpfiles.d" else []
        source = ROOT / "etc" / name / "cis490-receiver.conf"
        done = subprocess.run(
            [program, f"--root={tmp_path}", *options, str(source)], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    groups = {
        line.split(":")[0]: int(line.split(":")[2])
        for line in (tmp_path / "etc/group").read_text().splitlines()
    }
    for path, group in (("etc", "cis490-receiver"), ("var/lib", "cis490-receiver"), ("run", "cis490-http")):
        status = (tmp_path / path / "cis490-receiver").stat()
        assert (stat.S_IMODE(status.st_mode), status.st_gid) == (0o750, groups[group]), path
