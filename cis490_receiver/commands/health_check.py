"""``cis490-receiver health-check``: the fleet monitor."""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import click

from cis490_receiver import logfmt, page
from cis490_receiver.backends import Backends
from cis490_receiver.clock import Clock
from cis490_receiver.commandline.failures import fail, reason
from cis490_receiver.commandline.options import example, json_option
from cis490_receiver.commands.fleet import look, look_at_episodes
from cis490_receiver.commands.shared import require_index, use_episodes
from cis490_receiver.config import Settings, load
from cis490_receiver.errors import ReceiverError, StorageFailed
from cis490_receiver.logfmt import event
from cis490_receiver.models import wall_time
from cis490_receiver.monitor import notify
from cis490_receiver.monitor.alerts import raise_new
from cis490_receiver.monitor.diagnosis import is_watched
from cis490_receiver.monitor.facts import Facts
from cis490_receiver.monitor.findings import Findings
from cis490_receiver.monitor.symptoms import CANNOT_LOOK, WHILE_WATCHED, Symptom
from cis490_receiver.policy.gate import age_text
from cis490_receiver.state.base.alerts import Alert, AlertLog, Key, Outbox
from cis490_receiver.state.base.marks import Heartbeat
from cis490_receiver.upkeep.resuming import resumables_of, tidy_quietly

log = logging.getLogger(__name__)

_NONE_SHIPS: Final = "no host ships any more, but for those that are muted, if any"


@dataclass(frozen=True, slots=True)
class Pass:
    """One run."""

    findings: Findings
    new_alerts: list[Alert]
    #: Whether everything that had to be said was said.
    delivered: bool


def health_check(settings: Settings, backends: Backends, clock: Clock) -> Pass:
    """One pass: gather, diagnose, raise what is new, send it on.

    Raises:
        ReceiverError, OSError: the facts could not be read.
    """
    now_ns = clock.now_ns()
    # It runs every few minutes, whatever comes in.
    tidy_quietly(resumables_of(settings, backends, clock))
    facts = _look(settings, backends, now_ns)
    findings = Findings.of(facts, settings, backends.mutes.active(now_ns))
    watched = {host.host_id for host in facts.hosts if is_watched(host, now_ns, settings)}
    retired = {host.host_id for host in facts.hosts if host.retired}
    new_alerts = _raise_new(
        backends.alerts,
        findings.symptoms,
        now_ns,
        muted=findings.muted,
        may_end=lambda key: key[0] not in retired and (key[1] not in WHILE_WATCHED or key[0] in watched),
    )
    notify.to_syslog(new_alerts or [], settings.syslog_address)
    delivered = _notify_people(settings, backends.outbox, now_ns) and new_alerts is not None
    delivered = _leave_heartbeat(backends.heartbeat) and delivered
    return Pass(findings, new_alerts or [], delivered)


def _look(settings: Settings, backends: Backends, now_ns: int) -> Facts:
    """The facts. That they cannot be had is raised too: nobody may be there to read standard error."""
    try:
        require_index(backends)
        seen = look_at_episodes(backends, now_ns, random.Random())  # noqa: S311
        return look(settings, backends, now_ns, seen)
    except (ReceiverError, OSError) as exc:
        symptom = Symptom(None, CANNOT_LOOK, now_ns, reason(exc), "run: cis490-receiver health-check")
        raised = _raise_new(backends.alerts, [symptom], now_ns, muted=(), may_end=lambda _key: False)
        notify.to_syslog(raised or [], settings.syslog_address)
        _notify_people(settings, backends.outbox, now_ns)
        raise


def _raise_new(
    alerts: AlertLog,
    symptoms: Iterable[Symptom],
    now_ns: int,
    *,
    muted: Container[str | None],
    may_end: Callable[[Key], bool],
) -> list[Alert] | None:
    """See `raise_new`; None when the alerts could not be written."""
    try:
        return raise_new(alerts, symptoms, now_ns, muted=muted, may_end=may_end)
    except StorageFailed:
        return None


def _leave_heartbeat(heartbeat: Heartbeat) -> bool:
    """What was seen is told also where nothing can be written."""
    try:
        heartbeat.beat()
    except StorageFailed as exc:
        log.error(event("heartbeat-not-written", reason=exc.reason, remedy="/v1/ready takes it for not run"))
        return False
    return True


def _notify_people(settings: Settings, outbox: Outbox, now_ns: int) -> bool:
    if not settings.notify_urls:
        return True
    try:
        sender = notify.apprise_sender(settings.notify_urls)
    except ImportError:
        log.error(event("notify-failed", reason="apprise is missing: pip install 'cis490-receiver[notify]'"))
        return False
    try:
        return notify.to_people(outbox, sender, now_ns)
    except StorageFailed as exc:
        log.error(event("notify-failed", reason=exc.reason, remedy="tried again by the next run"))
        return False


@click.command("health-check", epilog=example("cis490-receiver health-check"))
@click.option("--quiet", is_flag=True, help="Print nothing but new alerts: for cron and timers.")
@json_option
def command(quiet: bool, as_json: bool) -> None:
    """Look at every host and at the receiver itself, and raise what is wrong.

    Each alert goes to alerts.jsonl and to syslog, at most once an hour for each host and symptom (that a host is
    gone: once a day), however often and however many at once this runs. Exit status 1: something is wrong now.
    """
    settings = load()
    backends = use_episodes(settings)
    logfmt.configure(settings.log_level)
    try:
        ran = health_check(settings, backends, backends.clock)
    except (ReceiverError, OSError) as exc:
        fail("could not look", exc, hint=_free_space(backends))
    if as_json:
        click.echo(json.dumps(_as_dict(ran), indent=2))
    elif quiet:
        for alert in ran.new_alerts:
            click.echo(notify.alert_line(alert))
    else:
        _print(ran.findings, ran.new_alerts)
    raise SystemExit(1 if ran.findings.loud or not ran.delivered else 0)


def _free_space(backends: Backends) -> str:
    try:
        free_bytes = backends.store.free_bytes()
    except ReceiverError:
        return ""
    return "" if free_bytes is None else f"{free_bytes / 2**20:.0f} MiB free in {backends.place.name}"


def _as_dict(ran: Pass) -> dict[str, Any]:
    new = [
        {"host_id": alert.host_id, "symptom": alert.symptom, "state": alert.state} for alert in ran.new_alerts
    ]
    return ran.findings.as_dict() | {"new_alerts": new}


def _print(findings: Findings, new_alerts: list[Alert]) -> None:
    """For people; click leaves the colours out where no terminal shows them."""
    if not findings.symptoms:
        well = "nothing is wrong, and no host has shipped yet"
        if findings.facts.hosts:
            well = f"all well: {_hosts(findings.states)}, {_episodes(findings)}"
        click.secho(well, fg="green")
        return
    width = max(len(symptom.host_id or "(receiver)") for symptom in findings.symptoms)
    for symptom in findings.symptoms:
        since = age_text(max(0.0, (findings.facts.now_ns - symptom.since_ns) / 1e9))
        mute = findings.muted.get(symptom.host_id or "")
        name = click.style(symptom.name.ljust(14), fg="yellow" if mute else "red")
        page.say(
            f"for {since}: {symptom.evidence}", label=f"{symptom.host_id or '(receiver)':{width}}  {name}  "
        )
        hint = f"muted until {wall_time(mute.until_ns)}: {mute.why}" if mute else symptom.remedy
        page.say(hint, label=" " * (width + 2))
    if findings.fleet_is_gone:
        click.secho("the whole fleet is gone: " + _NONE_SHIPS, fg="red", bold=True)
    click.echo(
        f"{_hosts(findings.states)}, {_episodes(findings)}; {_count(len(findings.loud), 'symptom')}, "
        f"{_count(len(new_alerts), 'new alert')}"
    )


def _episodes(findings: Findings) -> str:
    return f"{findings.looked} of {_count(findings.facts.receiver.episodes, 'episode')} looked at"


def _hosts(states: Mapping[str, int]) -> str:
    """Such as ``4 hosts (3 active, 1 retired)``."""
    each = ", ".join(f"{count} {state}" for state, count in states.items() if count)
    return f"{_count(sum(states.values()), 'host')} ({each or 'none seen yet'})"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
