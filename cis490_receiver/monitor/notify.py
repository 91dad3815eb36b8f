"""Send on what was raised: to syslog, once, and to people by apprise, until it was taken."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
from collections.abc import Callable, Iterable
from logging.handlers import SysLogHandler
from pathlib import Path
from typing import Final

from cis490_receiver import i_json
from cis490_receiver.files import atomic
from cis490_receiver.files.lines import end_of_lines
from cis490_receiver.logfmt import event
from cis490_receiver.monitor.alerts import ALERTS_FILE, PREVIOUS_FILE, RAISED, Alert

log = logging.getLogger(__name__)

OUTBOX_FILE: Final = "notified.json"
#: With nothing sent before, alerts older than this are history.
_FIRST_SEND_NS: Final = 3600 * 10**9

#: Sends a title and a text; gives whether they were taken.
Sender = Callable[[str, str], bool]


def alert_line(alert: Alert) -> str:
    """The alert as one line that can be grepped."""
    return event(
        "fleet-alert",
        state=alert.state,
        symptom=alert.symptom,
        host=alert.host_id or "(receiver)",
        since=alert.since_wall,
        evidence=alert.evidence,
        remedy=alert.remedy or None,
    )


def to_syslog(alerts: Iterable[Alert], address: str) -> None:
    """Send each alert to the syslog socket `address`, as a WARNING (INFO when something ended); to standard
    error where there is no such socket."""
    handler = _syslog_handler(address) if address else None
    for alert in alerts:
        level = logging.WARNING if alert.state == RAISED else logging.INFO
        line = alert_line(alert)
        if handler is None:
            log.log(level, line)
        else:
            handler.emit(logging.LogRecord("fleet", level, "", 0, line, None, None))
    if handler is not None:
        handler.close()


class _SysLogHandler(SysLogHandler):
    """Says that a line was lost instead of printing a traceback about it."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the library's name
        log.warning("not-in-syslog %s", record.getMessage())


def _syslog_handler(address: str) -> SysLogHandler | None:
    try:
        handler = _SysLogHandler(address, facility=SysLogHandler.LOG_DAEMON, socktype=socket.SOCK_DGRAM)
    except OSError:
        return None
    handler.ident = f"cis490-receiver[{os.getpid()}]: "
    # journald and rsyslog take a datagram as it is: the NUL would stand in the line.
    handler.append_nul = False
    return handler


def to_people(data_dir: Path, send: Sender, now_ns: int) -> bool:
    """Send the lines of alerts.jsonl that were not sent yet. How far that went is remembered only
    when they were taken, so that a failure is tried again by the next run; a crash in between may send twice.

    Returns:
        Whether nothing is left to send. Another run that is sending counts as done.
    """
    outbox = data_dir / OUTBOX_FILE
    with atomic.locked_file_or_none(data_dir / "notify.lock") as lock:
        if lock is None:
            return True
        alerts, end = _unsent(data_dir / ALERTS_FILE, _position(outbox), now_ns)
        if alerts:
            title = f"{len(alerts)} alerts" if len(alerts) > 1 else f"{alerts[0].symptom} {alerts[0].state}"
            if not send(f"cis490 receiver: {title}", "\n".join(map(_for_people, alerts))):
                log.warning(event("notify-failed", alerts=len(alerts), remedy="tried again by the next run"))
                return False
        atomic.replace_file(outbox, json.dumps({"inode": end[0], "offset": end[1]}).encode("ascii"))
    return True


def _for_people(alert: Alert) -> str:
    who = alert.host_id or "the receiver"
    if alert.state == RAISED:
        return f"{who}: {alert.symptom} since {alert.since_wall}: {alert.evidence}. {alert.remedy}"
    return f"{who}: {alert.symptom} is over (since {alert.since_wall})"


def _position(outbox: Path) -> tuple[int, int] | None:
    try:
        data = i_json.loads(outbox.read_bytes())
        return int(data["inode"]), int(data["offset"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _unsent(path: Path, position: tuple[int, int] | None, now_ns: int) -> tuple[list[Alert], tuple[int, int]]:
    """The alerts behind `position` (a file's inode and an offset), and the position behind them. Where that
    file is not to be found, those of the last hour."""
    with atomic.locked_file(path) as fd:
        # What a run wrote that is at it, or was killed, is not to be told before it is sure to stay.
        atomic.sync_lines(fd, path)
        end = (os.fstat(fd).st_ino, end_of_lines(fd))
        text = _text_behind(fd, position)
        known = text is not None
        if text is None:
            before = _rest_of_generation(path.with_name(PREVIOUS_FILE), position)
            known = before is not None
            text = (before or b"") + os.pread(fd, end[1], 0)
    alerts = []
    for line in text.splitlines():
        with contextlib.suppress(ValueError):
            alerts.append(Alert.from_line(line))
    if not known:
        alerts = [alert for alert in alerts if now_ns - alert.at_ns < _FIRST_SEND_NS]
    return alerts, end


def _text_behind(fd: int, position: tuple[int, int] | None) -> bytes | None:
    """The whole lines behind `position`; None when it is in another file."""
    end = end_of_lines(fd)
    if position is None or position[0] != os.fstat(fd).st_ino or position[1] > end:
        return None
    return os.pread(fd, end - position[1], position[1])


def _rest_of_generation(path: Path, position: tuple[int, int] | None) -> bytes | None:
    try:
        with open(path, "rb") as stream:
            return _text_behind(stream.fileno(), position)
    except FileNotFoundError:
        return None


def apprise_sender(urls: Iterable[str]) -> Sender:
    """A sender to apprise URLs.

    Raises:
        ImportError: apprise is not installed.
    """
    import apprise

    target = apprise.Apprise()
    for url in urls:
        target.add(url)

    def send(title: str, body: str) -> bool:
        return bool(target.notify(title=title, body=body))

    return send
