"""How the spool stands: what `cis490-shipper status` prints and the doctor judges."""

from __future__ import annotations

import collections
import time
from dataclasses import asdict
from typing import Any, Final

import click

from cis490_receiver import i_json
from cis490_receiver.client.config import LabHost
from cis490_receiver.client.records import Records
from cis490_receiver.client.spool import Spool, Waiting
from cis490_receiver.page import say, size

_MARGIN: Final = " " * 9
#: How many files are named for a person; a program is told of all.
_SHOWN: Final = 10


def look(host: LabHost) -> dict[str, Any]:
    """The spool's state as one JSON object. Reads names and sizes, no contents; never raises for a broken spool, but
    says so under ``error``."""
    spool = Spool(host.spool_dir)
    told: dict[str, Any] = {
        "spool_dir": str(host.spool_dir),
        "error": None,
        "running": False,
        "waiting": {"files": 0, "bytes": 0, "oldest_seconds": None},
        "kept": [],
        "partly_sent": [],
        "refused": {"files": 0, "codes": {}, "newest": None},
        "shipped_kept": 0,
    }
    try:
        waiting = spool.waiting()
        told["running"] = _is_running(spool)
        refusals = spool.refusals()
        told["shipped_kept"] = sum(1 for _ in spool.shipped.iterdir()) if spool.shipped.is_dir() else 0
    except OSError as exc:
        return told | {"error": f"the spool cannot be read: {exc.strerror}: {exc.filename}"}
    now = time.time_ns()
    told["waiting"] = {
        "files": len(waiting),
        "bytes": sum(one.size_bytes for one in waiting),
        "oldest_seconds": round(max(0, now - waiting[0].mtime_ns) / 1e9) if waiting else None,
    }
    told["kept"] = _kept(spool, waiting, now)
    told["partly_sent"] = _partly_sent(spool, waiting)
    codes = collections.Counter(_code(answer) for _, answer in refusals)
    told["refused"] = {
        "files": len(refusals),
        "codes": dict(codes.most_common()),
        "newest": {"file": i_json.readable(refusals[-1][0].name)} | refusals[-1][1] if refusals else None,
    }
    return told | {"shipper": spool.read_state()}


def _kept(spool: Spool, waiting: list[Waiting], now_ns: int) -> list[dict[str, Any]]:
    """The waiting files that the shipper could not ship as they are now, and why."""
    records = Records(spool)
    found = ((one, records.kept(one)) for one in waiting)
    return [
        {"file": one.path.name, **asdict(why), "unchanged_seconds": max(0, now_ns - one.mtime_ns) // 10**9}
        for one, why in found
        if why
    ]


def _partly_sent(spool: Spool, waiting: list[Waiting]) -> list[dict[str, Any]]:
    """The waiting files of which the receiver has a part, as far as it was asked."""
    records = Records(spool)
    found = ((one, records.upload_of(one).recall()) for one in waiting)
    return [
        {"file": one.path.name, "sent_bytes": begun.offset, "size_bytes": one.size_bytes}
        for one, begun in found
        if begun
    ]


def _is_running(spool: Spool) -> bool:
    """Whether a shipper holds the lock. Where there was never one, none is made."""
    if not spool.was_locked():
        return False
    with spool.lock() as free:
        return not free


def _code(answer: dict[str, Any]) -> str:
    inner = answer.get("answer")
    code = inner.get("code") if isinstance(inner, dict) else None
    return code if isinstance(code, str) else "unknown"


def print_for_people(told: dict[str, Any]) -> None:
    """`look`'s object as lines."""
    shipper = told.get("shipper") or {}
    waiting, refused = told["waiting"], told["refused"]
    click.echo(f"spool    {told['spool_dir']}")
    if told["error"]:
        say(told["error"], label=_MARGIN)
        return
    say(_words(told["running"], shipper), label="shipper  ")
    click.echo(
        f"waiting  {waiting['files']} files, {waiting['bytes'] / 1e6:.1f} MB{_age(waiting['oldest_seconds'])}"
    )
    click.echo(
        f"shipped  last {shipper.get('last_shipped_at_wall') or 'never'}; {told['shipped_kept']} kept here"
    )
    for one in told["partly_sent"][:_SHOWN]:
        say(
            f"{one['file']}: {size(one['sent_bytes'])} of {size(one['size_bytes'])} are there",
            label="partly   ",
        )
    reasons = ", ".join(f"{count} {code}" for code, count in refused["codes"].items())
    for one in told["kept"][:_SHOWN]:
        say(f"{one['file']}: {one['code']}: {one['reason']}; {one['remedy']}", label="kept     ")
    if len(told["kept"]) > _SHOWN:
        say(f"and {len(told['kept']) - _SHOWN} more", label="kept     ")
    say(f"{refused['files']} files" + (f": {reasons}" if reasons else ""), label="refused  ")
    if refused["newest"]:
        answer = refused["newest"].get("answer") or {}
        for name in ("error", "remediation"):
            if isinstance(answer, dict) and answer.get(name):
                say(answer[name], label=_MARGIN)
        for note in refused["newest"].get("notes") or ():
            say(f"note: {note}", label=_MARGIN)
        say("once mended: cis490-shipper retry --all", label=_MARGIN)


def _words(running: bool, shipper: dict[str, Any]) -> str:
    if not running:
        return "does not run: systemctl start cis490-lab-shipper"
    failure = shipper.get("last_failure")
    if shipper.get("state") == "waiting" and isinstance(failure, dict):
        return f"waits for the receiver since {failure.get('at_wall')}: {failure.get('message')}"
    return f"runs, {shipper.get('state', 'starting')} {shipper.get('file') or ''}".rstrip()


def _age(seconds: int | None) -> str:
    if seconds is None:
        return ""
    return f", the oldest since {seconds // 3600} h {seconds % 3600 // 60} min"
