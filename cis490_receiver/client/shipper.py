"""From the spool to the receiver, for as long as it takes.

A file leaves the spool only for an answer: to shipped/ for a receipt, to refused/ for a refusal that is final.
Nothing is remembered that would be missed: killed at any instant, the next shipper asks again, and what was
acknowledged is answered 200 without its bytes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from cis490_receiver import i_json
from cis490_receiver.client.episode import RENAME, Described
from cis490_receiver.client.inspection import NotShippable, Unfinished
from cis490_receiver.client.looks import Looks, Watch
from cis490_receiver.client.pieces import Pieces
from cis490_receiver.client.receipt import Verdict, judge
from cis490_receiver.client.reconsidering import reconsider
from cis490_receiver.client.spool import Spool, Waiting
from cis490_receiver.client.transport import Transport, receiver_failed
from cis490_receiver.clock import Clock, SystemClock
from cis490_receiver.errors import BadEpisodeName
from cis490_receiver.http_client import failures
from cis490_receiver.http_client.backoff import Backoff
from cis490_receiver.http_client.reply import Reply
from cis490_receiver.logfmt import event
from cis490_receiver.models import wall_time
from cis490_receiver.progress import of_bytes

log = logging.getLogger(__name__)

POLL_SECONDS: Final = 2.0
_UNREADABLE: Final = (
    "give this program's user the right to read it: the recorder's user must be a member of its group and write files "
    "that the group may read; where it has the right, look at the disk (`dmesg`, `smartctl -a`)"
)
_ANSWERED: Final = "the receiver says this of the file: `journalctl -u cis490-lab-shipper` shows each try"
#: How long at most the receiver is left alone when it does not say for how long: a ping costs it little.
MAX_UNREACHABLE_SECONDS: Final = 120.0
#: A commit that was pushed a moment ago is refused until the receiver has read its branch again.
RECONSIDER_EVERY_SECONDS: Final = 600.0
_UNWATCHED: Final[Watch] = partial(of_bytes, quiet=True)


@dataclass(slots=True)
class Round:
    """What came of one look at the spool.

    Attributes:
        too_young: how many of the kept ones may still be written to.
        wait_seconds: how long to leave the receiver alone; None where it is in order.
    """

    shipped: int = 0
    refused: int = 0
    kept: int = 0
    too_young: int = 0
    wait_seconds: float | None = None


@dataclass(slots=True)
class _Trouble:
    """A file that could not be shipped, and when it is tried again."""

    backoff: Backoff = field(default_factory=Backoff)
    not_before: float = 0.0


class Shipper:
    """One spool on its way to one receiver. Its caller holds the spool's lock."""

    def __init__(
        self,
        transport: Transport,
        spool: Spool,
        *,
        clock: Clock | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        watch: Watch = _UNWATCHED,
    ) -> None:
        self._transport = transport
        self._pieces = Pieces(transport)
        self._host = transport.host
        self._spool = spool
        self._clock = clock or SystemClock()
        self._monotonic = monotonic
        self._watch = watch
        self._first_seen: dict[Waiting, float] = {}
        self._looks = Looks(self._host, spool, watch)
        self._trouble: dict[Waiting, _Trouble] = {}
        self._unreachable = Backoff(max_seconds=MAX_UNREACHABLE_SECONDS)
        self._state: dict[str, Any] = {"last_shipped_at_wall": spool.read_state().get("last_shipped_at_wall")}

    def run(self, sleep: Callable[[float], object] = time.sleep) -> None:
        """Ship for ever."""
        reconsidered = self._monotonic()
        self._note("idle")
        while True:
            try:
                result = self.round()
            except OSError as exc:
                log.error(event("spool-failed", folder=self._spool.folder, reason=exc))
                result = Round(wait_seconds=30)
            wait = result.wait_seconds
            while wait is not None:
                sleep(wait)
                wait = self._still_away()
            if self._monotonic() - reconsidered >= RECONSIDER_EVERY_SECONDS:
                reconsidered = self._monotonic()
                self.reconsider()
            if result.wait_seconds is None:
                sleep(POLL_SECONDS)

    def round(self) -> Round:
        """Try each file that is finished and due, oldest first, until the receiver is not in order.

        Raises:
            OSError: the spool cannot be read.
        """
        result = Round()
        waiting = self._spool.waiting()
        self._forget(waiting)
        for one in waiting:
            young = self._is_young(one)
            if young or not self._is_due(one):
                result.too_young += young
                result.kept += 1
                continue
            verdict, wait = self._ship(one)
            result.shipped += verdict is Verdict.ACKNOWLEDGED
            result.refused += verdict is Verdict.REFUSED
            result.kept += verdict in (Verdict.LATER, Verdict.WAIT)
            if verdict is Verdict.WAIT:
                result.wait_seconds = self._unreachable.next_seconds(wait)
                break
            self._unreachable.reset()
        self._make_room()
        return result

    def _ship(self, one: Waiting) -> tuple[Verdict, float | None]:
        """Ship one file and put it where it belongs; gives what Retry-After asked for, too."""
        try:
            if not self._looks.knows(one):
                self._note("checking", file=i_json.readable(one.path.name))
            described = self._looks.describe(one)
            self._note("shipping", file=one.path.name)
            with self._watch(one.path.name, one.size_bytes) as sent:
                reply = self._pieces.put_file(
                    one.path,
                    described.url_path,
                    described.headers,
                    memory=self._looks.upload_of(one),
                    sent=sent,
                )
        except BadEpisodeName as exc:
            answer = {"code": exc.code, "error": exc.message, "remediation": RENAME}
            return self._refuse(one, None, answer), None
        except Unfinished as exc:
            return self._keep(one, exc.code, exc.message, exc.remedy), None
        except NotShippable as exc:
            answer = {"code": exc.code, "error": exc.message, "remediation": exc.remedy}
            return self._refuse(one, None, answer), None
        except failures.TransportFailed as exc:
            return self._wait(one, exc), None
        except failures.FileChanged as exc:
            log.warning(event("kept", file=one.path.name, reason=exc))
            self._defer(one, None)
            return Verdict.LATER, None
        except (failures.FileUnreadable, OSError) as exc:
            return self._keep(one, "unreadable", str(exc), _UNREADABLE), None
        return self._settle(one, described, reply), reply.retry_after_seconds

    def _keep(self, one: Waiting, code: str, reason: str, remedy: str) -> Verdict:
        """Leave in the spool what a person may have to look at."""
        log.warning(event("kept", file=one.path.name, reason=f"{code}: {reason}"))
        self._looks.keep(one, code, reason, remedy)
        self._defer(one, None)
        return Verdict.LATER

    def _settle(self, one: Waiting, described: Described, reply: Reply) -> Verdict:
        verdict = judge(reply, described.sha256)
        if verdict is Verdict.ACKNOWLEDGED:
            return self._acknowledge(one, described, reply)
        if verdict is Verdict.REFUSED:
            return self._refuse(one, reply.status, reply.json or {}, described)
        if verdict is Verdict.WAIT:
            return self._wait(one, receiver_failed(reply))
        code, reason = reply.says("code") or str(reply.status), reply.says("error") or "no reason was given"
        log.warning(event("kept", file=one.path.name, status=reply.status, code=code, reason=reason))
        if reply.says("status") == "sha-mismatch":
            self._looks.doubt(one)
        self._looks.keep(one, code, reason, reply.says("remediation") or _ANSWERED)
        self._defer(one, reply.retry_after_seconds)
        return verdict

    def _acknowledge(self, one: Waiting, described: Described, reply: Reply) -> Verdict:
        try:
            moved = self._spool.acknowledge(one, keep=self._host.keep_shipped)
        except OSError as exc:
            log.error(event("spool-failed", file=one.path.name, reason=exc))
            self._defer(one, None)
            return Verdict.LATER
        if not moved:
            return Verdict.LATER
        self._looks.forget(one)
        log.info(
            event(
                "shipped",
                file=one.path.name,
                size_bytes=one.size_bytes,
                sha256=described.sha256,
                answer=reply.status,
                note="; ".join(described.notes) or None,
            )
        )
        self._note("idle", last_shipped_at_wall=wall_time(self._clock.now_ns()), last_failure=None)
        return Verdict.ACKNOWLEDGED

    def _refuse(
        self, one: Waiting, status: int | None, answer: dict[str, Any], described: Described | None = None
    ) -> Verdict:
        document = {
            "refused_at_wall": wall_time(self._clock.now_ns()),
            "refused_at_ns": self._clock.now_ns(),
            "status": status,
            "answer": answer,
            "headers": described.headers if described else {},
            "notes": list(described.notes) if described else [],
        }
        try:
            target = self._spool.refuse(one, document)
        except OSError as exc:
            log.error(event("spool-failed", file=one.path.name, reason=exc))
            self._defer(one, None)
            return Verdict.LATER
        if target is None:
            return Verdict.LATER
        self._looks.forget(one)
        log.error(
            event(
                "refused",
                file=one.path.name,
                status=status,
                code=answer.get("code"),
                error=answer.get("error"),
                kept_as=target,
            )
        )
        return Verdict.REFUSED

    def _wait(self, one: Waiting | None, failure: failures.TransportFailed) -> Verdict:
        log.warning(event("waiting", stage=failure.stage, reason=failure.message, remedy=failure.remedy))
        if one is not None:
            # The next one goes first: this may be about the file after all.
            self._defer(one, failure.retry_after_seconds)
        told = {
            "at_wall": wall_time(self._clock.now_ns()),
            "stage": failure.stage,
            "message": failure.message,
        }
        self._note("waiting", last_failure=told)
        return Verdict.WAIT

    def _still_away(self) -> float | None:
        """Ask whether the receiver is back; gives how long to leave it alone if not."""
        try:
            self._transport.ask_leave()
        except failures.HostRefused as exc:
            # It is there; what it refuses it counts, so that the maintainer sees a host that tries in vain.
            self._wait(None, exc)
            return None
        except failures.TransportFailed as exc:
            self._wait(None, exc)
            return self._unreachable.next_seconds(exc.retry_after_seconds)
        self._note("idle")
        return None

    def reconsider(self) -> int:
        """See `reconsidering.reconsider`."""
        return reconsider(self._spool, self._transport, self._clock.now_ns())

    def _is_due(self, one: Waiting) -> bool:
        return one not in self._trouble or self._monotonic() >= self._trouble[one].not_before

    def _is_young(self, one: Waiting) -> bool:
        """Whether it changed a moment ago, so that somebody may still write to it."""
        now = self._monotonic()
        unchanged = now - self._first_seen.setdefault(one, now)
        by_clock = (self._clock.now_ns() - one.mtime_ns) / 1e9
        return max(unchanged, by_clock) < self._host.settle_seconds

    def _defer(self, one: Waiting, retry_after: float | None) -> None:
        trouble = self._trouble.setdefault(one, _Trouble())
        trouble.not_before = self._monotonic() + trouble.backoff.next_seconds(retry_after)

    def _forget(self, waiting: list[Waiting]) -> None:
        """Keep nothing about files that are gone, or that changed and are others now."""
        there = set(waiting)
        self._looks.forget_others(there)
        for known in (self._first_seen, self._trouble):
            for one in known.keys() - there:
                del known[one]

    def _make_room(self) -> None:
        try:
            count = self._spool.make_room(self._host.disk_reserve_bytes)
        except OSError as exc:
            log.error(event("spool-failed", folder=self._spool.folder, reason=exc))
            return
        if count:
            log.info(event("made-room", deleted=count))

    def _note(self, state: str, **more: Any) -> None:
        if state == self._state.get("state") and not more:
            return
        self._state = (
            self._state | {"state": state, "file": None, "at_wall": wall_time(self._clock.now_ns())} | more
        )
        self._spool.write_state(self._state)
