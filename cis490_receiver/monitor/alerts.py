"""What is raised: at most once for each (host, symptom, hour), and some of it at most once a day."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import replace
from typing import Final

from cis490_receiver.models import wall_time
from cis490_receiver.monitor.symptoms import DAILY, Symptom
from cis490_receiver.state.base.alerts import RAISED, RECOVERED, Alert, AlertLog, Key, Verdict, hour_of

_DAY_NS: Final = 24 * 3600 * 10**9
_CLOCK_JUMP_NS: Final = _DAY_NS


def raise_new(
    alerts: AlertLog,
    symptoms: Iterable[Symptom],
    now_ns: int,
    *,
    muted: Container[str | None] = (),
    may_end: Callable[[Key], bool] = lambda key: True,
) -> list[Alert]:
    """Raise what this hour (for `DAILY` symptoms: the last day) has not seen yet, and note what ended. All of it is on
    stable storage when this returns.

    Symptoms of `muted` hosts are not raised, and have not ended. A symptom that is not seen any more and
    not `may_end` is remembered until it is seen again, or may.

    Returns:
        The new alerts.

    Raises:
        StorageFailed: they could not be written, and none of them was; the next run raises them.
    """
    current = {symptom.key: symptom for symptom in symptoms}

    def judge(before: Mapping[Key, str], noted: Iterable[Alert]) -> Verdict:
        said = _said(noted, now_ns)
        fresh = [
            _alert(symptom, RAISED, now_ns)
            for key, symptom in current.items()
            if (RAISED, key) not in said and key[0] not in muted
        ]
        unknown = {key for key in before if key not in current and not may_end(key)}
        fresh += [
            _ended(key, since_wall, now_ns)
            for key, since_wall in before.items()
            if key not in current and key not in unknown and (RECOVERED, key) not in said
        ]
        lasting = {key: before.get(key) or wall_time(symptom.since_ns) for key, symptom in current.items()}
        return Verdict(fresh, lasting | {key: before[key] for key in unknown})

    return list(alerts.update(judge).new)


def _said(noted: Iterable[Alert], now_ns: int) -> set[tuple[str, Key]]:
    """What is not to be said again now, by the alerts that were `noted`, newest first. What ended since it was raised
    may be raised in another hour."""
    hour = hour_of(now_ns)
    # A clock that is set back a little leaves older hours behind newer ones.
    long_ago = hour_of(now_ns - _CLOCK_JUMP_NS)
    said: set[tuple[str, Key]] = set()
    ended: set[Key] = set()
    for alert in noted:
        key = (alert.host_id, alert.symptom)
        if alert.hour == hour or (key not in ended and _counts_today(alert, now_ns)):
            said.add((alert.state, key))
        elif alert.hour < long_ago:
            break
        if alert.state == RECOVERED:
            ended.add(key)
    return said


def _counts_today(alert: Alert, now_ns: int) -> bool:
    return alert.state == RAISED and alert.symptom in DAILY and abs(now_ns - alert.at_ns) < _DAY_NS


def _alert(symptom: Symptom, state: str, now_ns: int) -> Alert:
    return Alert(
        at_wall=wall_time(now_ns),
        at_ns=now_ns,
        hour=hour_of(now_ns),
        state=state,
        host_id=symptom.host_id,
        symptom=symptom.name,
        since_wall=wall_time(symptom.since_ns),
        evidence=symptom.evidence,
        remedy=symptom.remedy,
    )


def _ended(key: Key, since_wall: str, now_ns: int) -> Alert:
    symptom = Symptom(key[0], key[1], now_ns, "", "")
    return replace(_alert(symptom, RECOVERED, now_ns), since_wall=since_wall, evidence="not seen any more")
