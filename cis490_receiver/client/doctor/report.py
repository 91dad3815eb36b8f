"""Run the checks and put what they found into one report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

from cis490_receiver import i_json
from cis490_receiver.clock import Clock, SystemClock
from cis490_receiver.models import wall_time

SCHEMA: Final = 1
OK: Final = "ok"
WARN: Final = "warn"
FAIL: Final = "fail"
#: From the best to the worst.
STATUSES: Final = (OK, WARN, FAIL)
_MAX_TEXT: Final = 500


@dataclass(frozen=True, slots=True)
class Check:
    """What one check found. `seen` is for a person; `remedy` is empty where all is well."""

    name: str
    status: str
    seen: str
    remedy: str = ""


#: Something that can be looked at: the name of what it checks, and the look.
Look = tuple[str, Callable[[], "Check | Iterable[Check]"]]


def run_checks(host_id: str, looks: Iterable[Look], *, clock: Clock | None = None) -> dict[str, Any]:
    """The report that `looks` add up to, as bad as the worst of them. A look that breaks down is a failed check."""
    checks = [_bounded(check) for look in looks for check in _run(look)]
    worst = max((STATUSES.index(check.status) for check in checks), default=0)
    return {
        "schema": SCHEMA,
        "host_id": host_id,
        "status": STATUSES[worst],
        "checked_at_wall": wall_time((clock or SystemClock()).now_ns()),
        "checks": [asdict(check) for check in checks],
    }


def _run(look: Look) -> Iterator[Check]:
    name, find = look
    try:
        found = find()
        yield from [found] if isinstance(found, Check) else list(found)
    except Exception as exc:
        yield Check(
            name, FAIL, f"could not be checked: {exc or type(exc).__name__}", "look at the cause by hand"
        )


def _bounded(check: Check) -> Check:
    """`check` as a report may say it: short, and with nothing in it that is no text."""
    name, seen, remedy = (i_json.readable(text) for text in (check.name, check.seen, check.remedy))
    return Check(name[:100], check.status, seen[:_MAX_TEXT], remedy[:_MAX_TEXT])
