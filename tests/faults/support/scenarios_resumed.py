"""Courses of events of uploads in pieces."""

from __future__ import annotations

from typing import Any

from tests.faults.support.course import START, Process, Scenario, Step, one, put

_NAME: Step = {"host": "host-a", "episode": "ep-1", "seed": 1}
_BEGIN = _NAME | {"do": "begin"}
_LOOK = _NAME | {"do": "look"}
_OTHER = put("host-b", "ep-9", seed=9)
_NO_LINKS = ("linkat:error=EPERM",)


def _send(to: int | None = None, **more: Any) -> Step:
    return _NAME | {"do": "send"} | ({} if to is None else {"to": to}) | more


_KNOWN = (START, put(episode="ep-0", seed=7))
_BEGUN = (*_KNOWN, _BEGIN, _send(5000))
_STORED = ("stored", 201)


def _case(name: str, before: tuple[Step, ...], steps: tuple[Step, ...], *statuses: object) -> Scenario:
    return one(name, before, steps, *statuses, about="uploads")


RESUMED: tuple[Scenario, ...] = (
    _case("upload-begun", _KNOWN, (_BEGIN,), "under-way"),
    _case("upload-first-piece", (*_KNOWN, _BEGIN), (_send(5000),), "under-way"),
    _case("upload-next-piece", _BEGUN, (_send(5003),), "under-way"),
    _case("upload-counted-often", (*_KNOWN, _BEGIN), (_send(7000, often=True),), "under-way"),
    _case("upload-cut", _BEGUN, (_send(7000, cut=True), _LOOK | {"at": 7000}), "under-way"),
    _case("upload-completed", _BEGUN, (_send(),), *_STORED),
    _case("upload-at-once", _KNOWN, (_BEGIN, _send()), "under-way", *_STORED),
    _case("upload-of-a-new-host", (START, _OTHER, _BEGIN, _send(5000)), (_send(), _LOOK), *_STORED, *_STORED),
    _case("upload-of-other-bytes", _BEGUN, (_send(wrong=True),), "sha-mismatch"),
    _case("upload-overtaken", _BEGUN, (put(), _send()), 201, "already-present", 201),
    _case("upload-overtaken-by-others", _BEGUN, (put(seed=2), _send()), 201, "conflict"),
    _case("upload-discarded", _BEGUN, (_NAME | {"do": "discard"},), "discarded"),
    _case("upload-expired", _BEGUN, (_NAME | {"do": "tidy", "late": True},), "tidied"),
    _case("upload-with-a-torn-log", (*_BEGUN, _NAME | {"do": "tear_log"}), (_send(6000),), "under-way"),
    _case("upload-and-a-start", _BEGUN, (START, _send()), *_STORED),
    Scenario(
        "upload-completed-by-a-dead-one",
        _BEGUN,
        (Process((_send(dies=True),)), Process((START, _LOOK))),
        _STORED,
        "uploads",
    ),
    Scenario(
        "upload-completed-by-a-dead-one-then-asked",
        _BEGUN,
        (Process((_send(dies=True),)), Process((_LOOK,))),
        _STORED,
        "uploads",
    ),
    Scenario("upload-without-links", _BEGUN, (Process((_send(),), _NO_LINKS),), _STORED, "uploads"),
    *(
        Scenario(
            f"upload-failed-sync-{number}",
            _BEGUN,
            (Process((_send(6000), _send()), (f"fdatasync:error=EIO:when={number}",)),),
            ("storage-failed", *_STORED),
            "uploads",
        )
        # The bytes', the log's.
        for number in (1, 2)
    ),
)
