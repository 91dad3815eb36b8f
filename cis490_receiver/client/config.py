"""A lab host's keys: lab-host.toml, or the file that `CIS490_LAB_CONFIG` names, each overridden by
``CIS490_LAB_<KEY>``."""

from __future__ import annotations

import dataclasses
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cis490_receiver import protocol
from cis490_receiver.configuration.keys import (
    ADDRESS,
    BOOLEAN,
    PATH,
    REQUIRED,
    TEXT,
    Kind,
    choice,
    integer,
    key,
    parse_text,
    size,
)
from cis490_receiver.configuration.loader import Loaded, Table
from cis490_receiver.errors import ConfigError


def _id(value: object) -> str:
    text = parse_text(value)
    if not protocol.is_valid_id(text):
        raise ValueError("must be 1 to 128 of A-Z a-z 0-9 . _ -, the first a letter or digit, without ..")
    return text


def _command(value: object) -> tuple[str, ...]:
    import shlex

    words = shlex.split(value) if isinstance(value, str) else value
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ValueError('must be a command as a list of words, such as ["/usr/local/bin/renew", "--quiet"]')
    return tuple(words)


_ID: Final = Kind(_id, "1 to 128 of A-Z a-z 0-9 . _ -, the first a letter or digit, without ..")
_COMMAND: Final = Kind(_command, "a command as a list of words")


@dataclass(frozen=True, slots=True, kw_only=True)
class LabHost:
    """The effective configuration. One field a key; units are in the names."""

    receiver_url: str = key(
        REQUIRED, ADDRESS, "the receiver's address, with the name that its certificate bears"
    )
    spool_dir: Path = key(REQUIRED, PATH, "folder into which the recorder puts episodes")
    host_id: str = key(None, _ID, "this host's name in the fleet; without it, the machine's own")
    token_file: Path | None = key(None, PATH, "file that holds the bearer token")
    client_cert: Path | None = key(None, PATH, "certificate that this host shows")
    client_key: Path | None = key(None, PATH, "its private key")
    ca_file: Path | None = key(None, PATH, "authority that signed the receiver's certificate")
    orchestrator_dir: Path = key(Path("/opt/orchestrator"), PATH, "the orchestrator's git clone")
    orchestrator_ref: str = key("origin/main", TEXT, "the branch that it follows")
    wireguard_interface: str = key("wg0", TEXT, 'network interface to the receiver; "none" for none')
    keep_shipped: bool = key(True, BOOLEAN, "keep what was shipped in shipped/ while there is room")
    disk_reserve_bytes: int = key(
        2 << 30, size(0), "free space below which shipped/ is cleared, oldest first"
    )
    settle_seconds: int = key(10, integer(0, 86400), "a file that did not change for so long is finished")
    check: str = key(
        "full",
        choice("full", "frames"),
        "how an episode is read before it is shipped: decoded to its end, or only seen to be complete",
    )
    resume_from_bytes: int = key(
        16 << 20,
        size(0),
        "a file from this size on is shipped so that it goes on where it broke off; 0 is never",
    )
    checks_dir: Path = key(Path("/etc/cis490-lab-host/checks.d"), PATH, "folder of local checks")
    kvm_required: bool = key(True, BOOLEAN, "whether this host needs /dev/kvm and QEMU")
    connect_seconds: int = key(10, integer(1, 600), "time to reach the receiver")
    idle_seconds: int = key(60, integer(1, 3600), "longest pause in an exchange")
    renew_command: tuple[str, ...] = key(
        (), _COMMAND, "writes a new certificate and key to $NEW_CERT and $NEW_KEY"
    )
    renew_days: int = key(30, integer(1, 3650), "days before its end at which a certificate is renewed")


TABLE: Final = Table(
    LabHost,
    prefix="CIS490_LAB_",
    command="cis490-shipper config",
    default_file=Path("/etc/cis490-lab-host/lab-host.toml"),
)


def load(environ: Mapping[str, str] = os.environ) -> LabHost:
    """Read the configuration that `environ` and the file it names describe.

    Raises:
        ConfigError: something in it cannot be used.
    """
    return load_with_sources(environ).settings


def load_with_sources(environ: Mapping[str, str] = os.environ) -> Loaded[LabHost]:
    """`load`, and where each value came from.

    Raises:
        ConfigError: as `load`.
    """
    loaded = TABLE.load(environ)
    host, sources = loaded.settings, dict(loaded.sources)
    if "host_id" not in sources:
        host = dataclasses.replace(host, host_id=_own_name())
        sources["host_id"] = "this machine's name"
    if (host.client_cert is None) != (host.client_key is None):
        raise ConfigError("client_cert and client_key go together; set both, or none where no TLS is used")
    return Loaded(host, sources)


def _own_name() -> str:
    name = socket.gethostname().partition(".")[0]
    if not protocol.is_valid_id(name):
        raise ConfigError(
            f"host_id is not set, and this machine's name {name!r} cannot stand in; set host_id"
        )
    return name
