"""Courses of events beside the intake: reports, the gate's list, alerts, a new index."""

from __future__ import annotations

from typing import Any

from tests.faults.support.course import START, Process, Scenario, Step, one, put

OPEN: Step = {"do": "open_report_folder"}
#: strace's counts are each thread's own.
KILLED_AT_FIRST_SYNC = ("fsync:signal=KILL:when=1",)


def failing(call: str, number: int) -> tuple[str, ...]:
    return (f"{call}:error=EIO:when={number}",)


def meanwhile(first: Step, second: Step, at: str, of: str) -> Step:
    return {"do": "meanwhile", "first": first, "second": second, "at": at, "of": of}


def report(number: int, host: str = "host-a", **more: Any) -> Step:
    return {"do": "report", "host": host, "number": number, **more}


_KNOWN = (START, OPEN, report(1))
_REPORTS = (
    one("report", _KNOWN, (report(2),), 200, about="reports"),
    one("report-first", (START, OPEN), (report(1),), 200, about="reports"),
    one("report-first-start", (START,), (OPEN, report(1)), 200, about="reports"),
    one("report-large", _KNOWN, (report(2, size=9000), report(3, "host-b")), 200, 200, about="reports"),
    Scenario(
        "report-after-a-dead-one",
        _KNOWN,
        (Process((report(2, size=600),), KILLED_AT_FIRST_SYNC), Process((report(3),))),
        (200,),
        "reports",
    ),
    *(
        Scenario(
            f"report-failed-sync-{number}",
            _KNOWN,
            (Process((report(2), report(3)), failing("fsync", number)),),
            ("storage-failed", 200),
            "reports",
        )
        # The report's, its folder's, the history's, its folder's.
        for number in (1, 2, 3, 4)
    ),
    one(
        "report-two-at-once",
        _KNOWN,
        (meanwhile(report(2), report(3), "fsync", "/.host-a.json.tmp"),),
        *(200, 200),
        about="reports",
    ),
    one(
        "report-history-of-two-at-once",
        _KNOWN,
        (meanwhile(report(2), report(3), "fsync", "/.host-a.jsonl.tmp"),),
        *(200, 200),
        about="reports",
    ),
)


def gate(number: int) -> Step:
    return {"do": "gate", "number": number}


_GATE = (
    one("gate", (START, gate(10)), (gate(20),), "refreshed", about="gates"),
    one("gate-first", (START,), (gate(10), gate(20)), "refreshed", "refreshed", about="gates"),
    Scenario(
        "gate-after-a-dead-one",
        (START, gate(10)),
        (Process((gate(20),), KILLED_AT_FIRST_SYNC), Process((gate(30),))),
        ("refreshed",),
        "gates",
    ),
    *(
        Scenario(
            f"gate-failed-sync-{number}",
            (START, gate(10)),
            (Process((gate(20), gate(30)), failing("fsync", number)),),
            ("storage-failed", "refreshed"),
            "gates",
        )
        for number in (1, 2)
    ),
    one(
        "gate-two-at-once",
        (START, gate(10)),
        (meanwhile(gate(20), gate(30), "fsync", "/.gate.json.tmp"),),
        *("refreshed", "refreshed"),
        about="gates",
    ),
)


def check(minute: int, **more: Any) -> Step:
    return {"do": "check", "minute": minute, **more}


def sick(host: str) -> Step:
    return report(1, host, sick=True)


def told(state: str = "raised") -> tuple[str, ...]:
    """How one alert is told."""
    return tuple(f"{state} to {whom}" for whom in ("syslog", "people", "stdout"))


_SICK = (START, OPEN, sick("host-a"))
_RAISED = (*_SICK, check(1))
_ALERTS = (
    one("alert-first", _SICK, (check(1),), *told(), about="alerts"),
    one("alert-more", (*_RAISED, sick("host-b")), (check(2),), *told(), about="alerts"),
    one(
        "alert-two-lines",
        ({"do": "old_alert", "size": 3600}, *_RAISED, sick("host-b"), sick("host-c")),
        (check(2),),
        *(told() * 2),
        about="alerts",
    ),
    one("alert-torn", (*_RAISED, {"do": "tear_alert"}, sick("host-b")), (check(2),), *told(), about="alerts"),
    one("alert-over", _RAISED, (report(2), check(2)), 200, *told("recovered"), about="alerts"),
    Scenario(
        "alert-more-then-well",
        (*_RAISED, sick("host-b")),
        (Process((check(2),)),),
        told(),
        "alerts",
        after=(report(2),),
    ),
    one("alert-stays", _RAISED, (check(2), check(3)), about="alerts"),
    one(
        "alert-two-runs",
        (*_RAISED, sick("host-b")),
        (meanwhile(check(2), check(2), "write", "/alerts.jsonl"),),
        *told(),
        about="alerts",
    ),
    one(
        "alert-two-senders",
        (*_RAISED, sick("host-b")),
        (meanwhile(check(2), check(2), "rename", "/.notified.json.tmp"),),
        *told(),
        about="alerts",
    ),
    Scenario(
        "alert-dead-run",
        (*_RAISED, sick("host-b")),
        (Process(({"do": "die_in_check", "minute": 2},)), Process((check(3),))),
        ("raised to people",),
        "alerts",
    ),
    Scenario(
        "alert-generation-after-a-dead-run",
        (*_RAISED, sick("host-b")),
        (
            Process(({"do": "die_in_check", "minute": 2},)),
            Process((check(3, generation_bytes=10),)),
        ),
        ("raised to people",),
        "alerts",
    ),
    Scenario(
        "alert-failed-sync",
        (*_RAISED, sick("host-b")),
        (Process((check(2), check(3)), failing("fdatasync", 1)),),
        told(),
        "alerts",
    ),
    one(
        "alert-generation",
        (*_RAISED, sick("host-b")),
        (check(2, generation_bytes=10),),
        *told(),
        about="alerts",
    ),
    one("alert-generation-of-the-same", _RAISED, (check(61, generation_bytes=10),), *told(), about="alerts"),
    one("alert-generation-without-news", _RAISED, (check(2, generation_bytes=10),), about="alerts"),
)


REINDEX: Step = {"do": "reindex"}
_NEW = put("host-b", "ep-9", seed=9)
_FILLED = (START, *(put(episode=f"ep-{number}", seed=number) for number in (1, 2, 3)))
_SPOILT = (*_FILLED, {"do": "spoil", "lose": ["ep-2"]})
_LINELESS = put(episode="ep-4", seed=4) | {"do": "die_before_line"}
_WORK, _ASIDE = "/index.jsonl.reindex", "/index-set-aside.jsonl"
_INDEX = (
    one("reindex", _SPOILT, (REINDEX,), "reindexed", about="index"),
    one(
        "reindex-torn-set-aside", (*_SPOILT, {"do": "torn_set_aside"}), (REINDEX,), "reindexed", about="index"
    ),
    one("reindex-then-put", _SPOILT, (REINDEX, _NEW), "reindexed", 201, about="index"),
    one(
        "reindex-put-before-the-swap",
        _SPOILT,
        (meanwhile(REINDEX, _NEW, "fdatasync", _ASIDE),),
        *("reindexed", 201),
        about="index",
    ),
    one(
        "reindex-put-in-the-swap",
        _SPOILT,
        (meanwhile(REINDEX, _NEW, "fsync", _WORK),),
        *("reindexed", 201),
        about="index",
    ),
    one(
        "reindex-retry-before-the-swap",
        (*_FILLED, _LINELESS, {"do": "spoil"}),
        (meanwhile(REINDEX, _LINELESS | {"do": "put"}, "fdatasync", _ASIDE),),
        *("reindexed", 200),
        about="index",
    ),
    Scenario(
        "reindex-of-an-unsynced-name",
        _FILLED,
        # The third sync is that of the host's folder.
        (Process((put(episode="ep-4", seed=4),), ("fsync:signal=KILL:when=3",)), Process((REINDEX,))),
        ("reindexed",),
        "index",
    ),
    Scenario(
        "reindex-killed",
        _SPOILT,
        (Process((REINDEX,), ("rename:signal=KILL:when=1",)), Process((REINDEX,))),
        ("reindexed",),
        "index",
    ),
    Scenario(
        "reindex-killed-before-its-name-was-synced",
        (*_FILLED, {"do": "spoil"}),
        (Process((REINDEX,), ("fsync:signal=KILL:when=3",)), Process((_NEW,))),
        (201,),
        "index",
    ),
    one(
        "reindex-two-at-once",
        _SPOILT,
        (meanwhile(REINDEX, REINDEX, "rename", _WORK),),
        *("reindexed", "storage-failed"),
        about="index",
    ),
    one(
        "reindex-put-after-the-rename",
        (*_SPOILT, {"do": "torn_set_aside"}),
        (meanwhile(REINDEX, _NEW, "fsync", "/data"),),
        *("reindexed", 201),
        about="index",
    ),
    *(
        Scenario(
            f"reindex-failed-{call}-{number}",
            (*_FILLED, {"do": "spoil"}),
            (Process((REINDEX, REINDEX, _NEW), failing(call, number)),),
            (outcome, "reindexed", 201),
            "index",
        )
        for call, number, outcome in (
            # The entry of the file of lines set aside, and these; the new index, and its entry.
            ("fsync", 1, "failed"),
            ("fdatasync", 1, "failed"),
            ("fsync", 2, "failed"),
            ("fsync", 3, "reindexed"),
        )
    ),
)

BESIDE: tuple[Scenario, ...] = (*_REPORTS, *_GATE, *_ALERTS, *_INDEX)
