"""The client certificate: when it ends, and how it is renewed.

Certificate and key lie in one folder whose name is a link. A new pair is made in a folder of its own, tried, and put in
force by one rename(2) of the link: whenever the machine dies, and whatever fails, there is a pair that fits together.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import ssl
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cis490_receiver.client.config import LabHost
from cis490_receiver.client.diagnosis import diagnose
from cis490_receiver.client.transport import Transport, endpoint_of
from cis490_receiver.errors import ReceiverError
from cis490_receiver.files import atomic
from cis490_receiver.http_client import failures
from cis490_receiver.http_client.tls import tls_context

RENEW_SECONDS: Final = 300.0
_KEPT: Final = 3
_DAY: Final = 86400.0


class RenewalFailed(ReceiverError):
    """There is no new certificate; the old one stays in force."""

    code = "renewal-failed"


@dataclass(frozen=True, slots=True)
class Certificate:
    """What matters of a certificate. Times are in seconds since the epoch."""

    subject: str
    ends_at: float

    def days_left(self, now: float) -> float:
        """Negative when it is over."""
        return (self.ends_at - now) / _DAY


def read(path: Path) -> Certificate:
    """Read the first certificate in a PEM file.

    Raises:
        ValueError: that is not possible; the text says why.
    """
    command = ["openssl", "x509", "-in", str(path), "-noout", "-enddate", "-subject", "-nameopt", "RFC2253"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise ValueError(f"openssl cannot be run: {exc}") from exc
    told = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    if done.returncode != 0 or "notAfter" not in told:
        raise ValueError(f"{path} holds no certificate that can be read")
    return Certificate(told.get("subject", "").strip(), ssl.cert_time_to_seconds(told["notAfter"]))


def renew(host: LabHost, *, force: bool = False, now: float | None = None) -> str:
    """Renew the certificate if it ends within `renew_days`, or if `force`; gives what was done.

    Raises:
        RenewalFailed: there is no new one that could be used. What is in force stays in force.
    """
    if host.client_cert is None or host.client_key is None:
        return "no client certificate is configured"
    moment = time.time() if now is None else now
    current = _current(host.client_cert)
    if current and not force and current.days_left(moment) > host.renew_days:
        return f"good for {current.days_left(moment):.0f} more days; nothing to do"
    if not host.renew_command:
        raise RenewalFailed("renew_command is not set; have the maintainer sign a new certificate, or set it")
    link = host.client_cert.parent
    if link != host.client_key.parent or not link.is_symlink():
        raise RenewalFailed(
            f"client_cert and client_key must lie in one folder that is a link, to be replaced together; {link} is "
            "not: bin/install-lab-host makes such a one"
        )
    folder = Path(tempfile.mkdtemp(prefix="tls-", dir=link.parent))
    try:
        new = dataclasses.replace(
            host, client_cert=folder / host.client_cert.name, client_key=folder / host.client_key.name
        )
        _run_command(new)
        made = _check(new, current, moment)
        _put_in_force(folder, link)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    _remove_old(link)
    return f"renewed: {made.subject} is good for {made.days_left(moment):.0f} days"


def _current(path: Path) -> Certificate | None:
    with contextlib.suppress(ValueError):
        return read(path)
    return None


def _run_command(new: LabHost) -> None:
    environment = dict(os.environ) | {"NEW_CERT": str(new.client_cert), "NEW_KEY": str(new.client_key)}
    try:
        done = subprocess.run(
            new.renew_command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=RENEW_SECONDS,
            umask=0o077,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise RenewalFailed(f"renew_command cannot be run: {exc}") from exc
    if done.returncode != 0:
        said = " ".join((done.stderr or done.stdout).split())[-300:]
        raise RenewalFailed(f"renew_command ended with status {done.returncode}: {said}")


def _check(new: LabHost, current: Certificate | None, now: float) -> Certificate:
    assert new.client_cert is not None
    try:
        made = read(new.client_cert)
    except ValueError as exc:
        raise RenewalFailed(f"renew_command left no certificate in $NEW_CERT: {exc}") from None
    if made.ends_at <= now or (current and made.ends_at <= current.ends_at):
        raise RenewalFailed("the new certificate does not last longer than the old one")
    try:
        # Certificate and key fit together, whether or not the receiver can be reached.
        tls_context(endpoint_of(new))
    except failures.TransportFailed as exc:
        raise RenewalFailed(f"the new certificate is of no use: {exc.message}") from exc
    failed = diagnose(Transport(new)).failed
    refused = {failures.CertificateRefused.stage}
    if current and made.subject != current.subject:
        refused.add(failures.HostRefused.stage)
    if failed is not None and failed.name in refused:
        raise RenewalFailed(f"the receiver does not take the new certificate: {failed.seen}")
    return made


def _put_in_force(folder: Path, link: Path) -> None:
    status = os.stat(link)
    for path in (folder, *folder.iterdir()):
        with contextlib.suppress(PermissionError):
            os.chown(path, status.st_uid, status.st_gid)
        path.chmod(0o750 if path == folder else 0o640)
        if path != folder:
            with open(path, "rb") as stream:
                os.fsync(stream.fileno())
    atomic.sync_folder(folder)
    fresh = link.with_name(f".{link.name}.new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(folder.name)
    os.rename(fresh, link)
    atomic.sync_folder(link.parent)


def _remove_old(link: Path) -> None:
    """Keep the folder in force and the last few before it."""
    folders = sorted(link.parent.glob("tls-*"), key=lambda path: path.stat().st_mtime, reverse=True)
    in_force = link.resolve()
    for folder in folders[_KEPT:]:
        if folder.resolve() != in_force:
            shutil.rmtree(folder, ignore_errors=True)
