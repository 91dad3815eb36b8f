"""``cis490-receiver health-check``: the fleet monitor."""

from __future__ import annotations

import json
import logging
import shutil
import sys
from collections.abc import Callable, Container
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from cis490_receiver import logfmt
from cis490_receiver.backends import open_reports, use_backends
from cis490_receiver.clock import Clock, SystemClock
from cis490_receiver.commands.gate_refresh import read_gate_file
from cis490_receiver.commands.shared import data_folder, fail, json_option
from cis490_receiver.config import Settings, load
from cis490_receiver.errors import ReceiverError
from cis490_receiver.index.rejections import RejectionFile
from cis490_receiver.logfmt import event
from cis490_receiver.models import wall_time
from cis490_receiver.monitor import heartbeat, notify
from cis490_receiver.monitor.alerts import Alert, AlertLog, Key
from cis490_receiver.monitor.facts import Facts, gather
from cis490_receiver.monitor.mutes import Mute, MuteFile
from cis490_receiver.monitor.symptoms import WHILE_WATCHED, Symptom, diagnose, is_watched
from cis490_receiver.policy.gate import GATE_FILE, age_text

log = logging.getLogger(__name__)

QUARANTINE: Final = "quarantine"


@dataclass(frozen=True, slots=True)
class Findings:
    """What one pass found."""

    facts: Facts
    symptoms: list[Symptom]
    muted: dict[str, Mute]
    new_alerts: list[Alert]
    #: Whether everything that had to be said was said.
    delivered: bool

    @property
    def loud(self) -> list[Symptom]:
        """The symptoms that are not muted."""
        return [symptom for symptom in self.symptoms if symptom.host_id not in self.muted]


def health_check(settings: Settings, clock: Clock) -> Findings:
    """One pass: gather, diagnose, raise what is new, send it on.

    Raises:
        ReceiverError, OSError: the facts could not be read.
    """
    folder = settings.data_dir
    now_ns = clock.now_ns()
    store, index = use_backends(settings)
    facts = gather(
        now_ns=now_ns,
        settings=settings,
        index=index,
        store=store,
        rejections=RejectionFile(folder),
        reports=open_reports(settings),
        gate=read_gate_file(folder / GATE_FILE) if settings.gate_enabled else None,
        quarantined=_count_files(folder / QUARANTINE),
    )
    symptoms = diagnose(facts, settings)
    muted = MuteFile(folder).active(now_ns)
    watched = {host.host_id for host in facts.hosts if is_watched(host, now_ns, settings)}
    new_alerts = _raise_new(
        AlertLog(folder),
        symptoms,
        now_ns,
        muted=muted,
        may_end=lambda key: key[1] not in WHILE_WATCHED or key[0] in watched,
    )
    notify.to_syslog(new_alerts or [], settings.syslog_address)
    delivered = _notify_people(settings, now_ns) and new_alerts is not None
    heartbeat.touch(folder)
    return Findings(facts, symptoms, muted, new_alerts or [], delivered)


def _raise_new(
    alerts: AlertLog,
    symptoms: list[Symptom],
    now_ns: int,
    *,
    muted: Container[str | None],
    may_end: Callable[[Key], bool],
) -> list[Alert] | None:
    """See `AlertLog.update`; None when the alerts could not be written."""
    try:
        return alerts.update(symptoms, now_ns, muted=muted, may_end=may_end)
    except OSError as exc:
        remedy = "make room; the next run raises what is new"
        log.error(event("alerts-not-written", file=alerts.path.name, reason=exc.strerror, remedy=remedy))
        return None


def _notify_people(settings: Settings, now_ns: int) -> bool:
    if not settings.notify_urls:
        return True
    try:
        sender = notify.apprise_sender(settings.notify_urls)
    except ImportError:
        log.error(event("notify-failed", reason="apprise is missing: pip install 'cis490-receiver[notify]'"))
        return False
    try:
        return notify.to_people(settings.data_dir, sender, now_ns)
    except OSError as exc:
        log.error(event("notify-failed", reason=exc.strerror, remedy="tried again by the next run"))
        return False


def _count_files(folder: Path) -> int:
    return sum(1 for path in folder.rglob("*.tar.zst")) if folder.is_dir() else 0


@click.command("health-check")
@click.option("--quiet", is_flag=True, help="Print nothing but new alerts: for cron and timers.")
@json_option
def command(quiet: bool, as_json: bool) -> None:
    """Look at the last day of every host and at the receiver itself, and raise what is wrong.

    Each alert goes to alerts.jsonl and to syslog, at most once an hour for each host and symptom, however often
    and however many at once this runs. Exit status 1: something is wrong now.
    """
    settings = load()
    data_folder(settings)
    logfmt.configure(settings.log_level)
    try:
        findings = health_check(settings, SystemClock())
    except (ReceiverError, OSError) as exc:
        free = shutil.disk_usage(settings.data_dir).free
        hint = f"{free / 2**20:.0f} MiB free in {settings.data_dir}"
        fail("health-check: could not look", exc, as_json=as_json, hint=hint)
    if as_json:
        click.echo(json.dumps(_as_dict(findings), indent=2))
    elif quiet:
        for alert in findings.new_alerts:
            click.echo(notify.alert_line(alert))
    else:
        click.echo(_table(findings, colour=sys.stdout.isatty()), color=sys.stdout.isatty())
    raise SystemExit(1 if findings.loud or not findings.delivered else 0)


def _as_dict(findings: Findings) -> dict[str, Any]:
    return {
        "at_wall": wall_time(findings.facts.now_ns),
        "hosts": len(findings.facts.hosts),
        "symptoms": [
            {
                "host_id": symptom.host_id,
                "symptom": symptom.name,
                "since_wall": wall_time(symptom.since_ns),
                "evidence": symptom.evidence,
                "remedy": symptom.remedy,
                "muted": symptom.host_id in findings.muted,
            }
            for symptom in findings.symptoms
        ],
        "new_alerts": [
            {"host_id": alert.host_id, "symptom": alert.symptom, "state": alert.state}
            for alert in findings.new_alerts
        ],
    }


def _table(findings: Findings, *, colour: bool) -> str:
    def paint(text: str, **style: Any) -> str:
        return click.style(text, **style) if colour else text

    hosts = len(findings.facts.hosts)
    if not findings.symptoms:
        return paint(f"all well: {hosts} hosts, nothing to look at", fg="green")
    lines = []
    width = max(len(symptom.host_id or "(receiver)") for symptom in findings.symptoms)
    for symptom in findings.symptoms:
        who = (symptom.host_id or "(receiver)").ljust(width)
        since = age_text(max(0.0, (findings.facts.now_ns - symptom.since_ns) / 1e9))
        mute = findings.muted.get(symptom.host_id or "")
        name = symptom.name.ljust(14)
        lines.append(f"{who}  {paint(name, fg='yellow' if mute else 'red')}  for {since}: {symptom.evidence}")
        hint = f"muted until {wall_time(mute.until_ns)}: {mute.why}" if mute else symptom.remedy
        lines.append(paint(f"{' ' * width}  {hint}", dim=True))
    lines.append(f"{hosts} hosts, {len(findings.loud)} symptoms, {len(findings.new_alerts)} new alerts")
    return "\n".join(lines)
