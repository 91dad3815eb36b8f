"""Checks of everything between the spool and the receiver."""

from __future__ import annotations

import stat
import time
from collections.abc import Iterator
from typing import Any, Final

from cis490_receiver import protocol
from cis490_receiver.client import certificate, status
from cis490_receiver.client.clone import PAGE, Clone, Standing, remedy
from cis490_receiver.client.config import LabHost
from cis490_receiver.client.diagnosis import diagnose, skew_in_words
from cis490_receiver.client.doctor.report import FAIL, OK, WARN, Check
from cis490_receiver.client.inspection import BeyondCheck, Damaged
from cis490_receiver.client.transport import Transport
from cis490_receiver.http_client import failures

CLOCK_WARN_SECONDS: Final = 2.0
CLOCK_FAIL_SECONDS: Final = 30.0
#: From this age on an episode that waits is remarkable, and then alarming.
SPOOL_WARN_SECONDS: Final = 3600
SPOOL_FAIL_SECONDS: Final = 24 * 3600
REFUSED_FAIL_FILES: Final = 10
CERTIFICATE_FAIL_DAYS: Final = 3
#: What the shipper itself sets aside.
_SPOILED: Final = frozenset({Damaged.code, BeyondCheck.code})
#: Branches of FIXYOURSELF.md whose episodes the receiver may still take.
_MILD: Final = frozenset("AD")


def way(host: LabHost) -> Iterator[Check]:
    """The way to the receiver, and this host's clock against the receiver's."""
    found = diagnose(Transport(host))
    failed = found.failed
    if failed is not None:
        yield Check("receiver", FAIL, f"{failed.name}: {failed.seen}", failed.remedy)
        yield Check("clock", WARN, "cannot be compared: the receiver was not reached", "see `receiver`")
        return
    yield Check("receiver", OK, "reached, and the token is accepted")
    skew = found.skew_seconds or 0.0
    seen = skew_in_words(skew)
    advice = "timedatectl set-ntp true; `timedatectl timesync-status` shows the time server"
    if abs(skew) >= CLOCK_FAIL_SECONDS:
        yield Check("clock", FAIL, seen, advice)
    elif abs(skew) >= CLOCK_WARN_SECONDS:
        yield Check("clock", WARN, seen, advice)
    else:
        yield Check("clock", OK, seen)


def spool(host: LabHost) -> Iterator[Check]:
    """What waits, what of it cannot be shipped, and what was refused."""
    told = status.look(host)
    if told["error"]:
        yield Check(
            "spool", FAIL, told["error"], f"see that {host.spool_dir} is there and this user may read it"
        )
        return
    waiting, refused = told["waiting"], told["refused"]
    age = waiting["oldest_seconds"] or 0
    seen = f"{waiting['files']} episodes, {waiting['bytes'] / 1e6:.1f} MB, the oldest {age // 60} min"
    advice = (
        "`cis490-shipper status` says what it waits for, `cis490-shipper --ping` what is wrong on the way"
    )
    level = FAIL if age >= SPOOL_FAIL_SECONDS else WARN if age >= SPOOL_WARN_SECONDS else OK
    yield Check("spool", level, seen, advice if level != OK else "")
    yield _kept_check(told["kept"])
    yield _refused_check(refused)


def _kept_check(kept: list[dict[str, Any]]) -> Check:
    if not kept:
        return Check("kept", OK, "nothing that waits is broken")
    # What is unfinished may be being written.
    alarming = [
        one for one in kept if one["code"] == "unreadable" or one["unchanged_seconds"] >= SPOOL_WARN_SECONDS
    ]
    first = (alarming or kept)[0]
    more = f", and {len(kept) - 1} more" if len(kept) > 1 else ""
    seen = f"{first['file']} cannot be shipped: {first['code']}: {first['reason']}{more}"
    return Check("kept", FAIL if alarming else WARN, seen, first["remedy"] or "cis490-shipper status")


def _refused_check(refused: dict[str, Any]) -> Check:
    count, codes = refused["files"], refused["codes"]
    if not count:
        return Check("refused", OK, "nothing was refused")
    reasons = ", ".join(f"{number} {code}" for code, number in codes.items())
    spoiled = _SPOILED & codes.keys()
    level = FAIL if spoiled or count >= REFUSED_FAIL_FILES else WARN
    advice = "the answers lie beside the files; mend what they say, then `cis490-shipper retry --all`"
    if spoiled:
        advice += "; delete what cannot be mended, and look at this host's disk (`dmesg`, `smartctl -a`)"
    return Check("refused", level, f"{count} episodes: {reasons}", advice)


def token(host: LabHost) -> Check:
    """Whether others may read the token."""
    path = host.token_file
    if path is None:
        return Check("token", WARN, "none is set", "set token_file, unless the receiver asks for none")
    try:
        Transport(host).token()
        mode = stat.S_IMODE(path.stat().st_mode)
    except (failures.TokenRefused, OSError) as exc:
        return Check("token", FAIL, str(exc), f"put the token into {path}, readable by the shipper alone")
    if mode & 0o027:
        return Check("token", FAIL, f"{path} has mode {mode:04o}: others may use it", f"chmod 640 {path}")
    return Check("token", OK, f"{path} has mode {mode:04o}")


def client_certificate(host: LabHost) -> Check:
    """When the certificate ends, and whether its key is private."""
    if host.client_cert is None or host.client_key is None:
        plain = host.receiver_url.startswith("http:")
        return Check("certificate", OK, "none is set") if plain else _no_certificate()
    try:
        found = certificate.read(host.client_cert)
        mode = stat.S_IMODE(host.client_key.stat().st_mode)
    except (ValueError, OSError) as exc:
        put = f"put this host's certificate into {host.client_cert} and its key into {host.client_key} (PEM)"
        return Check("certificate", FAIL, str(exc), put)
    days = found.days_left(time.time())
    seen = f"{found.subject} ends in {days:.1f} days" if days > 0 else f"{found.subject} is over"
    if mode & 0o027:
        return Check(
            "certificate", FAIL, f"{host.client_key} has mode {mode:04o}", f"chmod 640 {host.client_key}"
        )
    if days < CERTIFICATE_FAIL_DAYS:
        return Check(
            "certificate", FAIL, seen, "`cis490-shipper cert-fetch`, or have the maintainer sign a new one"
        )
    if days < host.renew_days / 2:
        return Check("certificate", WARN, seen, "`cis490-shipper cert-fetch` says why it was not renewed")
    return Check("certificate", OK, seen)


def _no_certificate() -> Check:
    return Check(
        "certificate", WARN, "none is set", "set client_cert and client_key, unless none is asked for"
    )


def orchestrator(host: LabHost) -> Iterator[Check]:
    """The orchestrator's clone, and whether the receiver takes what its commit records."""
    standing = Clone(host.orchestrator_dir, host.orchestrator_ref).look()
    yield _clone_check(standing)
    if standing.head is None or not protocol.is_commit(standing.head):
        return
    try:
        answer = Transport(host).ping({protocol.HEADER_CODE_COMMIT: standing.head})
    except failures.TransportFailed:
        return
    said = answer.json or {}
    if said.get("would_accept") is True:
        yield Check("gate", OK, f"the receiver takes episodes of {standing.head[:12]}")
    elif said.get("would_accept") is False:
        seen = f"{standing.head[:12]}: {answer.says('error')}"
        yield Check("gate", FAIL, seen, answer.says("remediation") or f"see {PAGE}")


def _clone_check(standing: Standing) -> Check:
    note = f" ({standing.note})" if standing.note else ""
    if not standing.findings:
        return Check(
            "orchestrator", WARN if note else OK, f"up to date at {(standing.head or '?')[:12]}{note}"
        )
    seen = "; ".join(f"{finding.branch or '-'}: {finding.seen}" for finding in standing.findings) + note
    mild = set(standing.branches) <= _MILD and all(finding.branch for finding in standing.findings)
    return Check("orchestrator", WARN if mild else FAIL, seen, remedy(standing))
