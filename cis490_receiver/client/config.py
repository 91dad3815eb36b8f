"""A lab host's configuration: lab-host.toml, overridden by the environment, checked once, frozen.

`CIS490_LAB_CONFIG` names the file; every key can be overridden by ``CIS490_LAB_<KEY>``. Each failure is one sentence
that names the key, where its value came from, and what to do.
"""

from __future__ import annotations

import dataclasses
import os
import re
import socket
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from cis490_receiver import protocol
from cis490_receiver.errors import ConfigError

ENV_PREFIX: Final = "CIS490_LAB_"
ENV_CONFIG: Final = "CIS490_LAB_CONFIG"
DEFAULT_FILE: Final = Path("/etc/cis490-lab-host/lab-host.toml")

#: How an episode is looked at before it is shipped: decoded to its end, or only seen to be complete.
CHECKS: Final = ("full", "frames")
_UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE: Final = re.compile(r"([0-9]{1,18})\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)
_BOOLEANS: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("must be a text that is not empty")
    return value.strip()


def _path(value: object) -> Path:
    return Path(_text(value)).expanduser().absolute()


def _url(value: object) -> str:
    text = _text(value).rstrip("/")
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable or parts.username or parts.query or parts.fragment:
        raise ValueError("must be an address such as https://receiver.lab.internal")
    return text


def _id(value: object) -> str:
    text = _text(value)
    if not protocol.is_valid_id(text):
        raise ValueError("must be 1 to 128 of A-Z a-z 0-9 . _ -, the first a letter or digit, without ..")
    return text


def _boolean(value: object) -> bool:
    if isinstance(value, str):
        value = _BOOLEANS.get(value.strip().lower())
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def _integer(minimum: int, maximum: int) -> Callable[[object], int]:
    def parse(value: object) -> int:
        if isinstance(value, str) and re.fullmatch(r"\s*[0-9]{1,18}\s*", value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:
            raise ValueError(f"must be a whole number from {minimum} to {maximum}")
        return value

    return parse


def _size(value: object) -> int:
    if isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        value = int(match[1]) * _UNITS[match[2].upper()]
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError('must be a number of bytes, such as 1073741824 or "1GiB"')
    return value


def _check(value: object) -> str:
    if value not in CHECKS:
        raise ValueError(f"must be one of {', '.join(CHECKS)}")
    return str(value)


def _command(value: object) -> tuple[str, ...]:
    import shlex

    words = shlex.split(value) if isinstance(value, str) else value
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ValueError('must be a command as a list of words, such as ["/usr/local/bin/renew", "--quiet"]')
    return tuple(words)


def _key(parse: Callable[[object], Any], doc: str, default: Any = dataclasses.MISSING) -> Any:
    return field(default=default, metadata={"parse": parse, "doc": doc})


@dataclass(frozen=True, slots=True, kw_only=True)
class LabHost:
    """The effective configuration. One field a key; units are in the names."""

    receiver_url: str = _key(_url, "the receiver's address, with the name that its certificate bears")
    spool_dir: Path = _key(_path, "folder into which the recorder puts episodes")
    host_id: str = _key(_id, "this host's name in the fleet", "")
    token_file: Path | None = _key(_path, "file that holds the bearer token", None)
    client_cert: Path | None = _key(_path, "certificate that this host shows", None)
    client_key: Path | None = _key(_path, "its private key", None)
    ca_file: Path | None = _key(_path, "authority that signed the receiver's certificate", None)
    orchestrator_dir: Path = _key(_path, "the orchestrator's git clone", Path("/opt/orchestrator"))
    orchestrator_ref: str = _key(_text, "the branch that it follows", "origin/main")
    wireguard_interface: str = _key(_text, 'network interface to the receiver; "none" for none', "wg0")
    keep_shipped: bool = _key(_boolean, "keep what was shipped in shipped/ while there is room", True)
    disk_reserve_bytes: int = _key(_size, "free space below which shipped/ is cleared, oldest first", 2 << 30)
    settle_seconds: int = _key(_integer(0, 86400), "a file that did not change for so long is finished", 10)
    check: str = _key(_check, "how an episode is read before it is shipped: full or frames", "full")
    checks_dir: Path = _key(_path, "folder of local checks", Path("/etc/cis490-lab-host/checks.d"))
    kvm_required: bool = _key(_boolean, "whether this host needs /dev/kvm and QEMU", True)
    connect_seconds: int = _key(_integer(1, 600), "time to reach the receiver", 10)
    idle_seconds: int = _key(_integer(1, 3600), "longest pause in an exchange", 60)
    renew_command: tuple[str, ...] = _key(
        _command, "writes a new certificate and key to $NEW_CERT and $NEW_KEY", ()
    )
    renew_days: int = _key(_integer(1, 3650), "days before its end at which a certificate is renewed", 30)


FIELDS: Final = {item.name: item for item in dataclasses.fields(LabHost)}


def load(environ: Mapping[str, str] = os.environ) -> LabHost:
    """Read the configuration that `environ` and the file it names describe.

    Raises:
        ConfigError: something in it cannot be used.
    """
    values = {}
    for given in (_from_file(environ), _from_environment(environ)):
        for key, (raw, where) in given.items():
            values[key] = _parse(key, raw, where)
    values.setdefault("host_id", _own_name())
    for key in ("receiver_url", "spool_dir"):
        if key not in values:
            raise ConfigError(f"{key} is not set; set it in {_file(environ)} or as {ENV_PREFIX}{key.upper()}")
    host = LabHost(**values)
    if (host.client_cert is None) != (host.client_key is None):
        raise ConfigError("client_cert and client_key go together; set both, or none where no TLS is used")
    return host


_Given = dict[str, tuple[object, str]]


def _file(environ: Mapping[str, str]) -> Path:
    return Path(environ.get(ENV_CONFIG) or DEFAULT_FILE)


def _from_file(environ: Mapping[str, str]) -> _Given:
    path = _file(environ)
    if ENV_CONFIG not in environ and not path.exists():
        return {}
    try:
        with open(path, "rb") as stream:
            table = tomllib.load(stream)
    except OSError as exc:
        raise ConfigError(
            f"cannot read {path}: {exc.strerror}; name another file in {ENV_CONFIG}, or run this as a user "
            "who may read it"
        ) from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path} is not valid TOML: {exc}") from exc
    return {key: (value, str(path)) for key, value in table.items()}


def _from_environment(environ: Mapping[str, str]) -> _Given:
    return {
        name.removeprefix(ENV_PREFIX).lower(): (value, f"the environment ({name})")
        for name, value in environ.items()
        if name.startswith(ENV_PREFIX) and name != ENV_CONFIG
    }


def _parse(key: str, raw: object, where: str) -> Any:
    if key not in FIELDS:
        import difflib

        close = difflib.get_close_matches(key, FIELDS, n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise ConfigError(f"unknown key {key} in {where}{hint}; the keys are {', '.join(FIELDS)}")
    try:
        return FIELDS[key].metadata["parse"](raw)
    except ValueError as exc:
        raise ConfigError(f"{key} in {where} {exc} (it is {raw!r})") from None


def _own_name() -> str:
    name = socket.gethostname().partition(".")[0]
    if not protocol.is_valid_id(name):
        raise ConfigError(
            f"host_id is not set, and this machine's name {name!r} cannot stand in; set host_id"
        )
    return name
