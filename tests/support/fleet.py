"""A data folder as a fleet leaves it behind: hosts in every state, by the program's own records."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from cis490_receiver.files import atomic
from cis490_receiver.models import Episode, Rejection, Report, wall_time
from cis490_receiver.state.alerts import ALERTS_FILE
from cis490_receiver.state.base.alerts import RAISED, RECOVERED, Alert, hour_of
from cis490_receiver.state.base.gate_list import GateCommit, GateSnapshot
from cis490_receiver.state.base.notes import Mute, Retirement
from cis490_receiver.state.gate_list import GATE_FILE
from cis490_receiver.state.marks import HEARTBEAT_FILE, HeartbeatFile
from cis490_receiver.state.mutes import MuteFile
from cis490_receiver.state.retirements import RetirementFile
from tests.support.archives import make_episode

MINUTE_NS = 60 * 10**9
HOUR_NS = 60 * MINUTE_NS
DAY_NS = 24 * HOUR_NS
#: Those whose files are there: a look at the fleet looks at the newest of them.
WITH_FILES = 60

REFUSED, SILENT, GONE, UNSTAMPED, FAILING, AGING, MUTED, RETIRED, FINE = (
    "refused", "silent", "gone", "unstamped", "failing", "aging", "muted", "retired", "fine",
)  # fmt: skip


@dataclass(frozen=True)
class Member:
    """A host, and how it is."""

    host_id: str
    kind: str


def commit_id(number: int) -> str:
    """The commit `number` of the branch, the head being 0."""
    return random.Random(number).randbytes(20).hex()


def members(count: int, sick: tuple[str, ...]) -> list[Member]:
    """`count` hosts, those of `sick` strewn among fine ones."""
    places = random.Random(1).sample(range(count), len(sick))
    kinds = dict(zip(places, sick, strict=True))
    return [Member(f"lab-{number + 1:03}", kinds.get(number, FINE)) for number in range(count)]


def make(folder: Path, fleet: list[Member], now_ns: int, *, days: int = 30, a_day: int = 12) -> None:
    """Fill `folder` with what `fleet` did in the last `days` days, about `a_day` episodes each."""
    folder.mkdir(parents=True, exist_ok=True)
    choose = random.Random(7)
    episodes = sorted(
        _episodes(fleet, now_ns, days, a_day, choose), key=lambda episode: episode.received_at_ns
    )
    with (folder / "index.jsonl").open("wb") as index:
        for place, episode in enumerate(episodes):
            left = len(episodes) - place
            index.write((_with_file(folder, episode, left) if left <= WITH_FILES else episode).to_line())
    _gate(folder, now_ns)
    _notes(folder, fleet, now_ns)
    _refusals(folder, fleet, now_ns)
    _reports(folder, fleet, now_ns, choose)
    _alerts(folder, fleet, now_ns)
    HeartbeatFile(folder).beat()
    os.utime(folder / HEARTBEAT_FILE, ns=(now_ns, now_ns - 2 * MINUTE_NS))


def _episodes(
    fleet: list[Member], now_ns: int, days: int, a_day: int, choose: random.Random
) -> Iterator[Episode]:
    last_ns = {
        REFUSED: 95 * MINUTE_NS, SILENT: 130 * MINUTE_NS, GONE: 3 * DAY_NS, MUTED: 5 * HOUR_NS, RETIRED: 9 * DAY_NS,
    }  # fmt: skip
    for member in fleet:
        end_ns = now_ns - last_ns.get(member.kind, choose.randrange(30, 1200) * 10**9)
        step_ns = DAY_NS // a_day
        at_ns, number = end_ns, 0
        commit: str | None = commit_id(choose.choice([0, 0, 0, 1, 2, 5]))
        if member.kind == AGING:
            commit = commit_id(48)
        while at_ns > now_ns - days * DAY_NS:
            stamped = commit if member.kind != UNSTAMPED or number > 3 else None
            if at_ns < now_ns - 4 * DAY_NS:
                stamped = commit_id(20)
            yield _episode(member.host_id, at_ns, stamped, choose)
            number += 1
            busy = 0.35 if 8 <= at_ns // HOUR_NS % 24 < 20 else 2.2
            at_ns -= int(step_ns * choose.uniform(0.3, 1.3) * busy)


def _episode(host_id: str, at_ns: int, commit: str | None, choose: random.Random) -> Episode:
    return Episode(
        host_id=host_id,
        episode_id=f"ep-{wall_time(at_ns).replace('-', '').replace(':', '')[:15]}-{at_ns % 997:03}",
        sha256=choose.randbytes(32).hex(),
        size_bytes=choose.randrange(40_000, 9_000_000),
        schema_version=2,
        code_commit=commit,
        episode_type=choose.choice(["control", "infected"]),
        benign_profile=choose.choice(["idle", "web_visitor", "admin_session", "cron_burst", "db_query"]),
        received_at_wall=wall_time(at_ns),
        received_at_ns=at_ns,
    )


def _with_file(folder: Path, episode: Episode, seed: int) -> Episode:
    archive = make_episode(seed)
    path = folder / "episodes" / episode.host_id / episode.key.file_name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(archive.data)
    changed = {"sha256": archive.sha256, "size_bytes": len(archive.data)}
    return Episode(**asdict(episode) | changed)


def _gate(folder: Path, now_ns: int) -> None:
    subjects = (
        "Record the guest's clock",
        "Longer warm-up",
        "A profile for database queries",
        "Mend the tap device",
    )
    snapshot = GateSnapshot(
        repo="/srv/orchestrator.git",
        ref="origin/main",
        head=commit_id(0),
        window=50,
        commits=tuple(
            GateCommit(commit_id(n), wall_time(now_ns - n * DAY_NS), subjects[n % 4]) for n in range(50)
        ),
        older=tuple(commit_id(n) for n in range(50, 120)),
        refreshed_at_wall=wall_time(now_ns - 4 * MINUTE_NS),
        refreshed_at_ns=now_ns - 4 * MINUTE_NS,
    )
    atomic.replace_file(folder / GATE_FILE, snapshot.to_json())


def _notes(folder: Path, fleet: list[Member], now_ns: int) -> None:
    for member in fleet:
        if member.kind == MUTED:
            MuteFile(folder).set(Mute(member.host_id, now_ns + 3 * DAY_NS, "moved to the new rack"), now_ns)
        if member.kind == RETIRED:
            retirement = Retirement(member.host_id, now_ns - 8 * DAY_NS, now_ns - 9 * DAY_NS, "sold")
            RetirementFile(folder).set(retirement)


def _refusals(folder: Path, fleet: list[Member], now_ns: int) -> None:
    facts = []
    for member in fleet:
        if member.kind == REFUSED:
            facts += [
                _refusal(member.host_id, now_ns - n * 4 * MINUTE_NS, "commit-rejected", commit_id(61))
                for n in range(1, 23)
            ]
        elif member.kind == FINE and member.host_id.endswith("4"):
            facts.append(_refusal(member.host_id, now_ns - 7 * HOUR_NS, "sha-mismatch", commit_id(0)))
    facts.sort(key=lambda fact: fact.received_at_ns)
    (folder / "rejections.jsonl").write_bytes(b"".join(fact.to_line() for fact in facts))


def _refusal(host_id: str, at_ns: int, code: str, commit: str) -> Rejection:
    status = 412 if code == "commit-rejected" else 400
    return Rejection(
        wall_time(at_ns), at_ns, host_id, f"ep-{at_ns % 10**9:09}", status, code, commit, authenticated=True
    )


def _reports(folder: Path, fleet: list[Member], now_ns: int, choose: random.Random) -> None:
    reports = folder / "host-health"
    (reports / "history").mkdir(parents=True)
    for member in fleet:
        if member.kind in (GONE, RETIRED):
            continue
        at_ns = now_ns - choose.randrange(1, 20) * HOUR_NS
        checks = _checks(member)
        report = Report(member.host_id, wall_time(at_ns), {"schema": 1, "status": "ok", "checks": checks})
        (reports / f"{member.host_id}.json").write_bytes(report.to_json())
        failed = [check["name"] for check in checks if check["status"] == "fail"]
        lines = []
        for age in range(12, -1, -1):
            past = failed if age < 2 else ["disk"] if age in (7, 8) else []
            ns = at_ns - age * DAY_NS
            lines.append(
                json.dumps({"received_at_wall": wall_time(ns), "received_at_ns": ns, "failed": past})
            )
        (reports / "history" / f"{member.host_id}.jsonl").write_text("".join(f"{line}\n" for line in lines))


def _checks(member: Member) -> list[dict[str, str]]:
    checks = [
        ("disk", "ok", "412.0 of 512.1 GB free on /var/lib/cis490-lab-host", ""),
        ("kvm", "ok", "/dev/kvm is there, qemu-system-x86_64", ""),
        ("wireguard", "ok", "wg-lab is up", ""),
        ("orchestrator", "ok", f"{commit_id(0)[:12]} on main", ""),
        ("receiver", "ok", "answers in 12 ms", ""),
    ]
    if member.kind == FAILING:
        checks[0] = ("disk", "fail", "3.1 of 512.1 GB free on /var/lib/cis490-lab-host",
                     "ship or delete what is not needed")  # fmt: skip
        checks[4] = ("receiver", "warn", "answers in 2310 ms", "is the link slow?")
    if member.kind == REFUSED:
        checks[3] = ("orchestrator", "fail", "61 behind origin/main",
                     "/opt/cis490-lab-host/docs/FIXYOURSELF.md, branch A (behind)")  # fmt: skip
    return [dict(zip(("name", "status", "seen", "remedy"), check, strict=True)) for check in checks]


def _alerts(folder: Path, fleet: list[Member], now_ns: int) -> None:
    told = {
        REFUSED: ("fatal-only", 88, "every upload of the last 30 min refused: 7 x commit-rejected",
                  "its orchestrator is stale or local: FIXYOURSELF.md on the host"),
        SILENT: ("silent", 100, "no upload for 30 min",
                 "is the host up, on WireGuard, its shipper running? On it: cis490-shipper --ping"),
        UNSTAMPED: ("unstamped", 300, "uploads without X-Cis490-Code-Commit: the latest one",
                    "update its orchestrator, which writes code_commit into meta.json: FIXYOURSELF.md on the host"),
        FAILING: ("doctor-failing", 1500, "failed checks: disk", "on the host, cis490-doctor says for each what to do"),
    }  # fmt: skip
    alerts = []
    for member in fleet:
        if member.kind in told:
            name, minutes, evidence, remedy = told[member.kind]
            alerts.append(
                _alert(member.host_id, name, now_ns - minutes * MINUTE_NS, RAISED, evidence, remedy)
            )
        elif member.kind == FINE and member.host_id.endswith("7"):
            at_ns = now_ns - (1440 + int(member.host_id[-3:])) * MINUTE_NS
            alerts.append(_alert(member.host_id, "silent", at_ns, RAISED, *told[SILENT][2:]))
            alerts.append(
                _alert(member.host_id, "silent", at_ns + HOUR_NS, RECOVERED, "not seen any more", "")
            )
    alerts.sort(key=lambda alert: alert.at_ns)
    (folder / ALERTS_FILE).write_bytes(b"".join(alert.to_line() for alert in alerts))


def _alert(host_id: str, symptom: str, at_ns: int, state: str, evidence: str, remedy: str) -> Alert:
    return Alert(
        at_wall=wall_time(at_ns), at_ns=at_ns, hour=hour_of(at_ns), state=state, host_id=host_id,
        symptom=symptom, since_wall=wall_time(at_ns - 30 * MINUTE_NS), evidence=evidence, remedy=remedy,
    )  # fmt: skip
