"""Send on what was raised: to syslog, once, and to people by apprise, until it was taken."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterable, Sequence
from logging.handlers import SysLogHandler
from typing import Final

from cis490_receiver.logfmt import event
from cis490_receiver.state.base.alerts import RAISED, Alert, Outbox

log = logging.getLogger(__name__)

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


def to_people(outbox: Outbox, send: Sender, now_ns: int) -> bool:
    """Send the alerts that were not sent yet. A failure is tried again by the next run; a crash in between may send
    twice.

    Returns:
        Whether nothing is left to send. Another run that is sending counts as done.

    Raises:
        StorageFailed: what was sent before is not known.
    """

    def send_all(alerts: Sequence[Alert]) -> bool:
        title = f"{len(alerts)} alerts" if len(alerts) > 1 else f"{alerts[0].symptom} {alerts[0].state}"
        if send(f"cis490 receiver: {title}", "\n".join(map(_for_people, alerts))):
            return True
        log.warning(event("notify-failed", alerts=len(alerts), remedy="tried again by the next run"))
        return False

    return outbox.deliver(send_all, after_ns=now_ns - _FIRST_SEND_NS)


def _for_people(alert: Alert) -> str:
    who = alert.host_id or "the receiver"
    if alert.state == RAISED:
        return f"{who}: {alert.symptom} since {alert.since_wall}: {alert.evidence}. {alert.remedy}"
    return f"{who}: {alert.symptom} is over (since {alert.since_wall})"


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
