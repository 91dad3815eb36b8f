"""The values that pass between the layers. Frozen, and free of behaviour that needs a file or a socket."""

from __future__ import annotations

import datetime as dt
import functools
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, TypeVar

from cis490_receiver import i_json, protocol
from cis490_receiver.stamps import KIND, Stamps

#: What episodes are counted by: the host, the day of arrival (UTC), the kind.
DIMENSIONS: Final = ("host_id", "day", *KIND)


@dataclass(frozen=True, slots=True, order=True)
class EpisodeKey:
    """The name of an episode; both parts obey the id rule (`protocol.is_valid_id`)."""

    host_id: str
    episode_id: str

    def __post_init__(self) -> None:
        if not (protocol.is_valid_id(self.host_id) and protocol.is_valid_id(self.episode_id)):
            raise ValueError(f"not an episode's name: {self.host_id!r}, {self.episode_id!r}")

    @property
    def file_name(self) -> str:
        """The last component of the episode's URL and of its path on disk."""
        return self.episode_id + protocol.EPISODE_SUFFIX

    def __str__(self) -> str:
        return f"{self.host_id}/{self.episode_id}"


@dataclass(frozen=True, slots=True)
class Upload:
    """What the head of an accepted PUT says of the body that follows."""

    key: EpisodeKey
    sha256: str
    stamps: Stamps = Stamps()
    #: Content-Length in bytes; None for a chunked body.
    size_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class _Stored:
    host_id: str
    episode_id: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class _Arrived:
    received_at_wall: str
    received_at_ns: int


@dataclass(frozen=True, kw_only=True)
class Episode(_Arrived, Stamps, _Stored):
    """One line of index.jsonl: a stored episode. Field names and order are the contract's: what is stored, the stamps
    (`stamps`), when it came."""

    @classmethod
    def from_upload(cls, upload: Upload, *, size_bytes: int, received_at_ns: int) -> Episode:
        """The line for `upload`, whose body was `size_bytes` long and was whole at `received_at_ns`."""
        return cls(
            host_id=upload.key.host_id,
            episode_id=upload.key.episode_id,
            sha256=upload.sha256,
            size_bytes=size_bytes,
            **vars(upload.stamps),
            received_at_wall=wall_time(received_at_ns),
            received_at_ns=received_at_ns,
        )

    @classmethod
    def from_row(cls, row: Iterable[Any]) -> Episode:
        """The record whose fields are `row`, in the order of `EPISODE_FIELDS`."""
        return cls(**dict(zip(EPISODE_FIELDS, row, strict=True)))

    @property
    def key(self) -> EpisodeKey:
        """The episode's name."""
        return EpisodeKey(self.host_id, self.episode_id)

    def as_dict(self) -> dict[str, Any]:
        """The record as it stands in JSON. (`asdict` copies what needs no copy, at a tenth of an ingest's CPU.)"""
        return {name: getattr(self, name) for name in EPISODE_FIELDS}

    def to_line(self) -> bytes:
        """The record as one line of index.jsonl, newline included."""
        return json.dumps(self.as_dict(), separators=(",", ":")).encode("ascii") + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Episode:
        """Read a line of index.jsonl. Unknown keys are ignored, so that a later version may add some.

        Raises:
            ValueError: the line is not a record.
        """
        try:
            # Bytes would be guessed at: UTF-16 and UTF-32 are taken too.
            data = json.loads(line.decode("utf-8"))
        except RecursionError:
            raise ValueError("not a record: nested too deeply") from None
        if not isinstance(data, dict):
            raise ValueError("not a record: not a JSON object")
        return cls.from_dict(data)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Episode:
        """Check `data` and make a record of it.

        Raises:
            ValueError: a field is missing or of the wrong kind.
        """
        record = cls(**{name: read(data, name) for name, read in _READERS})
        if not protocol.is_sha256(record.sha256) or not 0 <= record.size_bytes <= protocol.MAX_SIZE_BYTES:
            raise ValueError("not a record: bad sha256 or size_bytes")
        if record.received_at_ns < 0:
            raise ValueError("not a record: bad received_at_ns")
        EpisodeKey(record.host_id, record.episode_id)
        return record


@dataclass(frozen=True, slots=True)
class Rejection:
    """A PUT that stored nothing: a fact for the fleet monitor. Ids that break the id rule are None."""

    received_at_wall: str
    received_at_ns: int
    host_id: str | None
    episode_id: str | None
    status: int
    code: str
    code_commit: str | None
    #: Whether the client had presented a good token.
    authenticated: bool

    def to_line(self) -> bytes:
        """The fact as one line of rejections.jsonl, newline included."""
        record = {name: getattr(self, name) for name in self.__slots__}
        return json.dumps(record, separators=(",", ":")).encode("ascii") + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Rejection:
        """Read a line of rejections.jsonl.

        Raises:
            ValueError: it is not such a fact.
        """
        try:
            data = json.loads(line.decode("utf-8"))
        except RecursionError:
            raise ValueError("not a fact: nested too deeply") from None
        if not isinstance(data, dict):
            raise ValueError("not a fact: not a JSON object")
        return cls(
            received_at_wall=_field(data, "received_at_wall", str),
            received_at_ns=_field(data, "received_at_ns", int),
            host_id=_optional_text(data, "host_id"),
            episode_id=_optional_text(data, "episode_id"),
            status=_field(data, "status", int),
            code=_field(data, "code", str),
            code_commit=_optional_text(data, "code_commit"),
            authenticated=data.get("authenticated") is True,
        )


@dataclass(frozen=True, slots=True)
class Report:
    """A doctor report as it is stored: whose, when it came by the receiver's clock, what it says."""

    host_id: str
    received_at_wall: str
    doctor: dict[str, Any]

    def to_json(self) -> bytes:
        """The content of ``host-health/<host_id>.json``."""
        return json.dumps(asdict(self), separators=(",", ":")).encode("ascii") + b"\n"

    @classmethod
    def from_json(cls, text: bytes) -> Report:
        """Read a stored report.

        Raises:
            ValueError: it is not one, or not I-JSON.
        """
        # The report stands one level deeper than it came.
        data = i_json.loads(text, max_depth=i_json.MAX_DEPTH + 1)
        if not isinstance(data, dict) or not isinstance(data.get("doctor"), dict):
            raise ValueError("not a report")
        return cls(_field(data, "host_id", str), _field(data, "received_at_wall", str), data["doctor"])

    @property
    def received_at_ns(self) -> int:
        """The time of arrival in nanoseconds since the epoch, to the second.

        Raises:
            ValueError: the stored time is none.
        """
        moment = dt.datetime.strptime(self.received_at_wall, "%Y-%m-%dT%H:%M:%S%z")
        return int(moment.timestamp()) * 1_000_000_000


def failed_checks(doctor: dict[str, Any]) -> list[str]:
    """The names of the checks that a doctor report says failed.

    Reads ``checks``, a list of objects with a ``name`` and either ``status`` (``fail`` is failed) or ``ok``,
    or an object of such objects by name. What it does not understand did not fail.
    """
    checks = doctor.get("checks")
    if isinstance(checks, dict):
        named = list(checks.items())
    elif isinstance(checks, list):
        named = [(check.get("name"), check) for check in checks if isinstance(check, dict)]
    else:
        return []
    return [_printable(name) for name, check in named if _failed(check)]


def _printable(name: object) -> str:
    """A host's own word, fit for a terminal and a log: nothing that moves a cursor, begins a line, or is no text."""
    return "".join(char if char.isprintable() else "?" for char in str(name)[:100])


def _failed(check: Any) -> bool:
    if not isinstance(check, dict):
        return check is False
    return check.get("ok") is False or check.get("status") in ("fail", "failed", "error")


def wall_time(ns: int) -> str:
    """`ns` (nanoseconds since the epoch) as UTC, ``YYYY-MM-DDTHH:MM:SSZ``."""
    return _wall_second(ns // 1_000_000_000)


# The monitor asks for the same moments again and again.
@functools.lru_cache(1024)
def _wall_second(seconds: int) -> str:
    moment = dt.datetime.fromtimestamp(seconds, tz=dt.UTC)
    return moment.replace(tzinfo=None).isoformat() + "Z"


def recordable_ns(ns: int) -> int:
    """The moment next to `ns` that a record can have: from 1970 to 2262, which is 63 bits of nanoseconds."""
    return min(max(ns, 0), (1 << 63) - 1)


def nanoseconds(moment: dt.datetime) -> int:
    """A moment in nanoseconds since the epoch, exactly."""
    since = moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    return ((since.days * 86400 + since.seconds) * 10**6 + since.microseconds) * 1000


_T = TypeVar("_T", str, int)


def _field(data: dict[str, Any], name: str, kind: type[_T]) -> _T:
    value = data.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"not a record: bad {name}")
    if isinstance(value, int) and abs(value) >= 1 << 63:
        raise ValueError(f"not a record: {name} is out of range")
    if isinstance(value, str) and not value.isascii():
        # Nothing that this program writes into a record is anything else.
        raise ValueError(f"not a record: {name} is not ASCII")
    return value


def _optional_text(data: dict[str, Any], name: str) -> str | None:
    return None if data.get(name) is None else _field(data, name, str)


#: The names of an index line's fields, in their order.
EPISODE_FIELDS: Final = tuple(item.name for item in fields(Episode))
_BY_TYPE: Final[dict[str, Callable[[dict[str, Any], str], Any]]] = {
    "str": lambda data, name: _field(data, name, str),
    "int": lambda data, name: _field(data, name, int),
    "str | None": _optional_text,
}
_READERS: Final = tuple((item.name, _BY_TYPE[str(item.type)]) for item in fields(Episode))
