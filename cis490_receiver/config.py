"""The configuration: a TOML file, overridden by the environment, checked once, frozen.

`CIS490_CONFIG` names the file; every key in it can be overridden by ``CIS490_<KEY>``. Each failure is one
sentence that names the key, where its value came from, and what to do.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cis490_receiver import protocol
from cis490_receiver.errors import ConfigError
from cis490_receiver.keys import BOOLEAN, PATH, TEXT, Kind, choice, integer, key, parse_text, size

ENV_PREFIX: Final = "CIS490_"
ENV_CONFIG: Final = "CIS490_CONFIG"
#: Variables under our prefix that belong to the lab host's programs, which may share a machine with us.
ENV_CLIENT_PREFIX: Final = "CIS490_LAB_"


def _folder_or_nothing(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError('must be a folder, or "" for none')
    return value.strip()


def _token(value: object) -> str:
    text = parse_text(value)
    if not re.fullmatch(r"[\x21-\x7e]{1,4096}", text):
        raise ValueError("must be visible ASCII without spaces; `openssl rand -hex 32` makes one")
    return text


def _commits(value: object) -> tuple[str, ...]:
    words = value.replace(",", " ").split() if isinstance(value, str) else value
    if not isinstance(words, list) or not all(
        isinstance(word, str) and protocol.is_commit(word.lower()) for word in words
    ):
        raise ValueError("must be a list of full commit ids, 40 hex digits each")
    return tuple(word.lower() for word in words)


def _urls(value: object) -> tuple[str, ...]:
    words = value.split() if isinstance(value, str) else value
    if not isinstance(words, list) or not all(isinstance(word, str) and "://" in word for word in words):
        raise ValueError("must be a list of URLs; https://github.com/caronc/apprise/wiki lists their forms")
    return tuple(words)


def _addresses(value: object) -> tuple[str, ...]:
    words = value.replace(",", " ").split() if isinstance(value, str) else value
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ValueError("must be a list of IP addresses")
    return tuple(str(ipaddress.ip_address(word)) for word in words)


_FOLDER_OR_NOTHING: Final = Kind(_folder_or_nothing, 'a folder, or "" for none')
_SOCKET_OR_NOTHING: Final = Kind(_folder_or_nothing, 'a path, or "" for none')
_TOKEN: Final = Kind(_token, "visible ASCII without spaces")
_COMMITS: Final = Kind(_commits, "a list of full commit ids, 40 hex digits each")
_URLS: Final = Kind(_urls, "a list of apprise URLs")
_ADDRESSES: Final = Kind(_addresses, "a list of IP addresses")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The effective configuration. One field a key; units are in the names."""

    data_dir: Path = key(Path("data"), PATH, "folder that holds everything the receiver stores")
    health_dir: str = key(
        "host-health",
        _FOLDER_OR_NOTHING,
        'folder of the doctor reports, relative to data_dir; "" turns reports off',
    )
    bind: str = key("127.0.0.1:8490", TEXT, "address: HOST:PORT, [IPV6]:PORT or unix:/path")
    bearer_token: str | None = key(
        None, _TOKEN, "token that clients present; without one, only loopback", secret=True
    )
    bearer_token_file: Path | None = key(None, PATH, "file that holds the token, instead of it")
    tokens_file: Path | None = key(
        None, PATH, "tokens.toml: tokens of single hosts and readers, made by `cis490-receiver token`"
    )
    trusted_proxies: tuple[str, ...] = key(
        (), _ADDRESSES, "addresses, beside the unix socket, that are believed about client certificates"
    )
    bind_client_certificates: bool = key(
        False, BOOLEAN, "a host's uploads need a client certificate whose common name is the host id"
    )
    allow_unauthenticated: bool = key(
        False, BOOLEAN, "serve without a token on an address that others can reach"
    )
    metrics_public: bool = key(False, BOOLEAN, "answer /metrics without a token")
    max_episode_bytes: int = key(16 << 30, size(1), "largest episode taken")
    disk_reserve_bytes: int = key(1 << 30, size(0), "free space that no upload may touch")
    validate: str = key(
        "off",
        choice("off", "magic", "full"),
        "what an upload must be: anything, something that begins as zstd, an archive that decodes to its end",
    )
    max_decompressed_bytes: int = key(
        64 << 30, size(1), 'largest content of an episode, for validate = "full"'
    )
    gate_enabled: bool = key(False, BOOLEAN, "take only episodes recorded by a commit in gate.json")
    gate_repo: Path | None = key(None, PATH, "git clone that gate-refresh reads")
    gate_ref: str = key("origin/main", TEXT, "branch or ref whose last commits are accepted")
    gate_window: int = key(50, integer(1, 100_000), "how many of its last commits are accepted")
    gate_extra_commits: tuple[str, ...] = key(
        (), _COMMITS, "further commits that are accepted, such as a release's"
    )
    gate_max_age_hours: int = key(24, integer(1, 24 * 365), "age of gate.json that is reported")
    silent_after_minutes: int = key(
        30, integer(1, 60 * 24 * 7), "a host that shipped and then did not for so long is silent"
    )
    lookback_hours: int = key(24, integer(1, 24 * 90), "how far back the fleet monitor looks")
    doctor_stale_hours: int = key(
        48, integer(1, 24 * 90), "age of a host's doctor report that the fleet monitor raises"
    )
    syslog_address: str = key(
        "/dev/log", _FOLDER_OR_NOTHING, 'socket that alerts are sent to; "" is standard error'
    )
    notify_urls: tuple[str, ...] = key(
        (), _URLS, "where alerts are sent too, as apprise URLs (extra: notify)", secret=True
    )
    head_seconds: int = key(
        20, integer(1, 3600), "time for a connection's first request to begin, and for each head to arrive"
    )
    body_idle_seconds: int = key(60, integer(1, 3600), "longest pause within a body")
    body_min_bytes_per_second: int = key(
        1024, integer(0, 1 << 30), "slowest mean rate of a body, after its first 30 s; 0 is any"
    )
    body_max_seconds: int = key(6 * 3600, integer(1, 7 * 86400), "time for a whole body to arrive")
    workers: int = key(2, integer(1, 64), "worker processes")
    threads: int = key(128, integer(1, 512), "threads a worker: how many requests it serves at once")
    graceful_seconds: int = key(
        600, integer(1, 86400), "how long a stop waits for uploads under way to finish"
    )
    log_level: str = key(
        "info", choice("debug", "info", "warning", "error"), "least severe lines that are logged"
    )

    def __post_init__(self) -> None:
        # A relative folder means the same after a change of the working directory.
        object.__setattr__(self, "data_dir", self.data_dir.absolute())

    @property
    def reports_folder(self) -> Path | None:
        """Where the doctor reports are; None when reports are off."""
        return self.data_dir / self.health_dir if self.health_dir else None


FIELDS: Final = {item.name: item for item in dataclasses.fields(Settings)}


def load(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the configuration that `environ` and the file it names describe.

    Raises:
        ConfigError: something in it cannot be used.
    """
    return load_with_sources(environ)[0]


def load_with_sources(environ: Mapping[str, str] = os.environ) -> tuple[Settings, dict[str, str]]:
    """`load`, and where each value that is not the default came from.

    Raises:
        ConfigError: as `load`.
    """
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for given in (_from_file(environ), _from_environment(environ)):
        for name, (raw, where) in given.items():
            values[name] = _parse(name, raw, where)
            sources[name] = where
    settings = _checked(Settings(**values), sources)
    if settings.bearer_token_file:
        sources["bearer_token"] = str(settings.bearer_token_file)
    return settings, sources


_Given = dict[str, tuple[object, str]]


def _from_file(environ: Mapping[str, str]) -> _Given:
    name = environ.get(ENV_CONFIG)
    if name is None:
        return {}
    try:
        with open(name, "rb") as stream:
            table = tomllib.load(stream)
    except OSError as exc:
        raise ConfigError(
            f"{ENV_CONFIG}: cannot read {name}: {exc.strerror}; name a file that exists and can be read"
        ) from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{name} is not valid TOML: {exc}") from exc
    return {key: (value, name) for key, value in table.items()}


def _from_environment(environ: Mapping[str, str]) -> _Given:
    given: _Given = {}
    for name, value in environ.items():
        ours = name.startswith(ENV_PREFIX) and not name.startswith(ENV_CLIENT_PREFIX)
        if ours and name != ENV_CONFIG:
            given[name.removeprefix(ENV_PREFIX).lower()] = (value, f"the environment ({name})")
    return given


def _parse(key: str, raw: object, where: str) -> Any:
    if key not in FIELDS:
        hint = _nearest(key)
        raise ConfigError(f"unknown key {key} in {where}{hint}; `cis490-receiver config` lists the keys")
    try:
        return FIELDS[key].metadata["parse"](raw)
    except ValueError as exc:
        shown = "" if FIELDS[key].metadata["secret"] else f" (it is {raw!r})"
        raise ConfigError(f"{key} in {where} {exc}{shown}") from None


def _nearest(key: str) -> str:
    import difflib

    close = difflib.get_close_matches(key, FIELDS, n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _checked(settings: Settings, sources: Mapping[str, str]) -> Settings:
    if settings.bearer_token and settings.bearer_token_file:
        raise ConfigError("bearer_token and bearer_token_file are both set; keep one of them")
    if settings.bearer_token_file:
        settings = dataclasses.replace(settings, bearer_token=_read_token(settings.bearer_token_file))
    reachable = not is_local(settings.bind)
    guarded = settings.bearer_token is not None or settings.tokens_file is not None
    if reachable and not guarded and not settings.allow_unauthenticated:
        where = sources.get("bind", "the defaults")
        raise ConfigError(
            f"bind in {where} is {settings.bind}, which others can reach, and no token is set; set "
            "bearer_token_file (or bearer_token), bind to 127.0.0.1 or a unix socket, or say "
            "allow_unauthenticated = true"
        )
    return settings


def _read_token(path: Path) -> str:
    try:
        return _token(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigError(
            f"bearer_token_file: cannot read {path}: {exc.strerror}; create it, readable by the receiver"
        ) from exc
    except ValueError as exc:
        raise ConfigError(f"bearer_token_file: the content of {path} {exc}") from None


def is_local(bind: str) -> bool:
    """Whether only this machine can reach `bind`.

    Raises:
        ConfigError: it is not an address.
    """
    if bind.startswith("unix:"):
        return True
    host, separator, port = bind.rpartition(":")
    if not separator or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise ConfigError(f"bind is {bind!r}; give HOST:PORT, [IPV6]:PORT or unix:/path")
    host = host.strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
