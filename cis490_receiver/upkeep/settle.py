"""Put on stable storage what an inspection found: withdraw what is spoiled, then note the rest and the place.

In this order, so that a crash in between makes the next run look at the same episodes again: nothing is withdrawn or
counted twice by that, and none is passed over. Nobody makes the index anew meanwhile (`index.base.Renewal.alone`): a
finding is about the line that the index has of the episode at that moment, or it counts for nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from cis490_receiver.clock import Clock
from cis490_receiver.index.base import EpisodeIndex, WithdrawalLog
from cis490_receiver.logfmt import event
from cis490_receiver.models import EpisodeKey, wall_time
from cis490_receiver.state.base.inspections import KINDS, UNOPENABLE, Inspected, Inspections, Mark
from cis490_receiver.upkeep.examine import UNREADABLE, Finding
from cis490_receiver.withdrawal import WHY_LIMIT, Withdrawal

log = logging.getLogger(__name__)

#: Who withdraws, in withdrawn.jsonl.
INSPECTION: Final = "inspection"


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of findings.

    Attributes:
        findings: those that hold.
        withdrawn: the episodes that were withdrawn by that.
        spared: those that do not open and stay, since a person brought them back.
        advanced: whether the mark was; else the journal was made anew meanwhile, and nothing but the withdrawals is
            noted.
    """

    findings: Sequence[Finding]
    withdrawn: Sequence[EpisodeKey]
    spared: Sequence[EpisodeKey]
    advanced: bool


class Ledger:
    """What is known, and the only way to add to it. For who is alone (`Inspections.alone_or_not`)."""

    def __init__(
        self,
        inspections: Inspections,
        index: EpisodeIndex,
        withdrawals: WithdrawalLog,
        clock: Clock,
        *,
        forget_ns: int,
    ) -> None:
        """`forget_ns`: a trouble that was not seen for so long begins anew."""
        self._inspections = inspections
        self._index = index
        self._withdrawals = withdrawals
        self._clock = clock
        self._forget_ns = forget_ns
        self._written = inspections.read()
        #: What the next step adds to.
        self.known = self._written

    def begin_anew(self) -> None:
        """Forget all of it, from the next step on."""
        self.known = Inspected()

    def settle(self, findings: Sequence[Finding], mark: Mark | None) -> Settled:
        """Make `findings` durable, and then that everything before `mark` was looked at; None leaves it where it is.

        Raises:
            ReceiverError, OSError: it is not done; some may be withdrawn.
        """
        with self._index.renewal(self._clock).alone():
            held = [found for found in findings if self._index.find(found.episode.key) == found.episode]
            said = self._last_said({found.episode.key for found in held if found.spoils})
            spared = [found.episode.key for found in held if _was_brought_back(found, said)]
            withdrawn = self._withdraw(
                [found for found in held if found.spoils and found.episode.key not in spared], said
            )
            kept = [found for found in held if found.episode.key not in spared or found.kind != UNOPENABLE]
            if mark is not None and not self._is_in_force(mark):
                return Settled(kept, withdrawn, spared, advanced=False)
            known = self._with(kept, mark)
            if known != self._written:
                self._inspections.write(known)
            self.known = self._written = known
            return Settled(kept, withdrawn, spared, advanced=True)

    def _is_in_force(self, mark: Mark) -> bool:
        journal = self._index.open_journal()
        journal.stream.close()
        return journal.generation == mark.generation

    def _last_said(self, keys: set[EpisodeKey]) -> dict[EpisodeKey, Withdrawal]:
        items = self._withdrawals.items() if keys else ()
        return {item.key: item for item in items if item.key in keys}

    def _withdraw(
        self, findings: Sequence[Finding], said: Mapping[EpisodeKey, Withdrawal]
    ) -> Sequence[EpisodeKey]:
        now_ns = self._clock.now_ns()
        new = {
            found.episode.key: _why(found)
            for found in findings
            if not (found.episode.key in said and said[found.episode.key].withdrawn)
        }
        if not findings:
            return ()
        # With nothing new to say, what an earlier run said and did not live to sync.
        self._withdrawals.append(
            [
                Withdrawal(wall_time(now_ns), now_ns, key.host_id, key.episode_id, True, why, INSPECTION)
                for key, why in new.items()
            ]
        )
        for key, why in new.items():
            log.warning(event("withdrawn-by-inspection", host=key.host_id, id=key.episode_id, why=why))
        return tuple(new)

    def _with(self, findings: Sequence[Finding], mark: Mark | None) -> Inspected:
        now_ns = self._clock.now_ns()
        known = self.known if mark is None else replace(self.known, mark=mark)
        troubles = [
            (found.episode.key, found.kind, found.detail) for found in findings if found.kind in KINDS
        ]
        known = known.with_troubles(troubles, now_ns=now_ns, forget_ns=self._forget_ns)
        unreadable = [found.episode.key for found in findings if found.kind == UNREADABLE]
        return replace(known, again=tuple(dict.fromkeys((*known.again, *unreadable))))


def _was_brought_back(found: Finding, said: Mapping[EpisodeKey, Withdrawal]) -> bool:
    """Whether somebody said of these bytes that they stay. What was said before they came is about others."""
    last = said.get(found.episode.key)
    return last is not None and not last.withdrawn and last.at_ns >= found.episode.received_at_ns


def _why(found: Finding) -> str:
    start = "does not open" if found.kind == UNOPENABLE else "changed since it was acknowledged"
    text = "".join(char if char.isprintable() else "?" for char in f"{start}: {found.detail}")
    return text[:WHY_LIMIT]
