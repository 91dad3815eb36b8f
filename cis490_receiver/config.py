"""The receiver's keys: the file that `CIS490_CONFIG` names, each key overridden by ``CIS490_<KEY>``."""

from __future__ import annotations

import dataclasses
import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cis490_receiver import protocol
from cis490_receiver.configuration.keys import (
    ADDRESS,
    BOOLEAN,
    PATH,
    TEXT,
    Kind,
    choice,
    integer,
    key,
    parse_text,
    size,
    words,
)
from cis490_receiver.configuration.loader import Loaded, Table
from cis490_receiver.configuration.token import TOKEN, read_token
from cis490_receiver.errors import ConfigError


def _folder_or_nothing(value: object) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise ValueError('must be a folder, or "" for none')
    return value.strip()


def _commit(word: str) -> str:
    if not protocol.is_commit(word.lower()):
        raise ValueError("must be a list of full commit ids, 40 hex digits each")
    return word.lower()


def _url(word: str) -> str:
    if "://" not in word:
        raise ValueError("must be a list of URLs; https://github.com/caronc/apprise/wiki lists their forms")
    return word


def _objects(value: object) -> str:
    text = parse_text(value).rstrip("/")
    if not _OBJECTS_URL.fullmatch(text) or "/./" in f"{text}/" or "/../" in f"{text}/" or "//" in text[5:]:
        raise ValueError("must be s3://BUCKET or s3://BUCKET/PREFIX, of letters, digits and . _ - /")
    return text


#: See Amazon S3 User Guide, *Bucket naming rules* and, for the prefix, *Safe characters*.
_OBJECTS_URL: Final = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](?:/[A-Za-z0-9._/-]{1,500})?")
#: Longer than the completion of an upload in pieces takes after its last byte came, in seconds.
_COMPLETION_SECONDS: Final = 6 * 3600
_OBJECTS: Final = Kind(_objects, "s3://BUCKET or s3://BUCKET/PREFIX")
_FOLDER: Final = Kind(_folder_or_nothing, 'a folder, or "" for none')
_SOCKET: Final = Kind(_folder_or_nothing, 'a path, or "" for none')
_COMMITS: Final = words(_commit, "a list of full commit ids, 40 hex digits each")
_URLS: Final = words(_url, "a list of apprise URLs", separators=r"\s+")
_ADDRESSES: Final = words(lambda word: str(ipaddress.ip_address(word)), "a list of IP addresses")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The effective configuration. One field a key; units are in the names."""

    data_dir: Path = key(Path("data"), PATH, "folder that holds everything the receiver stores")
    database_url: str | None = key(
        None,
        TEXT,
        "PostgreSQL database of receivers on many machines; needs objects_url (extra: cluster)",
        secret=True,
    )
    objects_url: str | None = key(
        None, _OBJECTS, "bucket of receivers on many machines, s3://BUCKET/PREFIX; needs database_url"
    )
    objects_endpoint: str | None = key(None, ADDRESS, "address of the object store, if it is not Amazon's")
    objects_region: str = key("us-east-1", TEXT, "region of the object store")
    objects_credentials_file: Path | None = key(
        None, PATH, "file of the AWS form with keys for the bucket, instead of the AWS variables"
    )
    health_dir: str = key(
        "host-health",
        _FOLDER,
        'folder of the doctor reports, relative to data_dir; "" turns reports off',
    )
    bind: str = key("127.0.0.1:8490", TEXT, "address: HOST:PORT, [IPV6]:PORT or unix:/path")
    public_url: str | None = key(
        None, ADDRESS, "the receiver's address as people reach it, for the URLs that `export` writes"
    )
    institution: str | None = key(
        None, TEXT, "who answers for the data, as the citation of a release names them"
    )
    bearer_token: str | None = key(
        None, TOKEN, "token that clients present; without one, only loopback", secret=True
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
    upload_expire_hours: int = key(
        72, integer(1, 24 * 90), "how long an upload in pieces waits for its next byte before it is discarded"
    )
    validate: str = key(
        "off",
        choice("off", "magic", "full"),
        "what an upload must be: anything, something that begins as zstd, an archive that decodes to its end",
    )
    max_decompressed_bytes: int = key(
        64 << 30, size(1), 'largest content of an episode, for validate = "full" and `inspect`'
    )
    inspect_bytes_per_second: int = key(
        64 << 20, size(0), "how fast `inspect` reads stored episodes; 0 is as fast as it can"
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
    syslog_address: str = key("/dev/log", _SOCKET, 'socket that alerts are sent to; "" is standard error')
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
    def cluster_folder(self) -> Path:
        """Where a cluster that is shown on this machine keeps what it keeps."""
        return self.data_dir / "cluster"

    @property
    def longest_upload_seconds(self) -> int:
        """What an upload takes at most, be it in pieces: the last request of one may complete it."""
        return self.body_max_seconds + _COMPLETION_SECONDS

    @property
    def is_cluster(self) -> bool:
        """Whether episodes and records are kept outside of this machine.

        Raises:
            ConfigError: only one of the two places for them is named.
        """
        if (self.database_url is None) != (self.objects_url is None):
            missing = "database_url" if self.database_url is None else "objects_url"
            raise ConfigError(
                f"{missing} is not set; receivers on many machines need database_url and objects_url, one machine "
                "alone needs neither"
            )
        return self.database_url is not None

    @property
    def reports_folder(self) -> Path | None:
        """Where the doctor reports are; None when reports are off."""
        return self.data_dir / self.health_dir if self.health_dir else None


#: Variables that begin with ``CIS490_LAB_`` belong to the lab host's programs, which may share a machine with us.
TABLE: Final = Table(
    Settings, prefix="CIS490_", command="cis490-receiver config", foreign_prefix="CIS490_LAB_"
)


def load(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the configuration that `environ` and the file it names describe.

    Raises:
        ConfigError: something in it cannot be used.
    """
    return load_with_sources(environ).settings


def load_with_sources(environ: Mapping[str, str] = os.environ) -> Loaded[Settings]:
    """`load`, and where each value came from.

    Raises:
        ConfigError: as `load`.
    """
    loaded = TABLE.load(environ)
    settings, sources = loaded.settings, dict(loaded.sources)
    if settings.bearer_token and settings.bearer_token_file:
        raise ConfigError("bearer_token and bearer_token_file are both set; keep one of them")
    if settings.bearer_token_file:
        settings = dataclasses.replace(settings, bearer_token=_token_of(settings.bearer_token_file))
        sources["bearer_token"] = str(settings.bearer_token_file)
    _check_reach(settings, sources)
    return Loaded(settings, sources)


def _token_of(path: Path) -> str:
    try:
        return read_token(path)
    except OSError as exc:
        raise ConfigError(
            f"bearer_token_file: cannot read {path}: {exc.strerror}; put the token into it, readable by the receiver"
        ) from exc
    except ValueError as exc:
        raise ConfigError(f"bearer_token_file: the content of {path} {exc}") from None


def _check_reach(settings: Settings, sources: Mapping[str, str]) -> None:
    guarded = settings.bearer_token is not None or settings.tokens_file is not None
    if not is_local(settings.bind) and not guarded and not settings.allow_unauthenticated:
        where = sources.get("bind", "the defaults")
        raise ConfigError(
            f"bind in {where} is {settings.bind}, which others can reach, and no token is set; set "
            "bearer_token_file (or bearer_token), bind to 127.0.0.1 or a unix socket, or say "
            "allow_unauthenticated = true"
        )


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
