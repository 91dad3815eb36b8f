"""What a configuration's keys may hold: how a value is read, which are allowed, how one is written in the file."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from cis490_receiver import protocol

_UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE: Final = re.compile(r"([0-9]{1,18})\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)
_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "no", "off"})


def as_it_is(value: Any) -> Any:
    """A value as JSON and TOML have it."""
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of value."""

    #: Reads a value of the file or of the environment, where all are texts. Raises ValueError with what it must be.
    parse: Callable[[object], Any]
    #: Which values are allowed, for people.
    allowed: str
    #: The value as a person would write it in the file; `parse` reads that.
    write: Callable[[Any], Any] = as_it_is


#: In place of a default: the key must be set.
REQUIRED: Final[Any] = dataclasses.MISSING


@dataclass(frozen=True, slots=True)
class Key:
    """A key of a table."""

    name: str
    #: Its value when nobody sets it; REQUIRED when somebody has to.
    default: Any
    kind: Kind
    #: What it means, for people.
    doc: str
    #: Whether its value is never shown.
    secret: bool


def key(default: Any, kind: Kind, doc: str, *, secret: bool = False) -> Any:
    """A dataclass field that is a key, with what `Key` says of it."""
    metadata = {"kind": kind, "doc": doc, "secret": secret}
    return dataclasses.field(default=default, metadata=metadata, repr=not secret)


def keys_of(table: type[Any]) -> dict[str, Key]:
    """The keys of a dataclass whose fields were made by `key`, in their order."""
    return {item.name: Key(item.name, item.default, **item.metadata) for item in dataclasses.fields(table)}


def parse_text(value: object) -> str:
    """Raises:
    ValueError: not a text, or an empty one.
    """
    if not isinstance(value, str) or not value.strip():
        raise ValueError("must be a text that is not empty")
    if "\0" in value:
        raise ValueError("must not have a zero byte in it")
    return value.strip()


def _parse_path(value: object) -> Path:
    try:
        return Path(parse_text(value)).expanduser().absolute()
    except RuntimeError:
        raise ValueError("begins with a home folder that does not exist") from None


def parse_address(value: object) -> str:
    """The address of a server, without a slash at its end.

    Raises:
        ValueError: it is none.
    """
    text = parse_text(value).rstrip("/")
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable or parts.username or parts.query or parts.fragment:
        raise ValueError("must be an address such as https://receiver.lab.internal")
    return text


def _parse_boolean(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in _TRUE | _FALSE:
        return value.strip().lower() in _TRUE
    raise ValueError("must be true or false")


TEXT: Final = Kind(parse_text, "a text")
PATH: Final = Kind(_parse_path, "a path")
ADDRESS: Final = Kind(parse_address, "an address such as https://receiver.lab.internal")
BOOLEAN: Final = Kind(_parse_boolean, "true or false")


def integer(minimum: int, maximum: int) -> Kind:
    """A whole number in a range."""

    def parse(value: object) -> int:
        if isinstance(value, str) and re.fullmatch(r"\s*[0-9]{1,18}\s*", value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:
            raise ValueError(f"must be a whole number from {minimum} to {maximum}")
        return value

    return Kind(parse, f"a whole number from {minimum} to {maximum}")


def size(minimum: int) -> Kind:
    """A number of bytes, such as 1073741824 or ``1GiB``, up to `protocol.MAX_SIZE_BYTES`."""
    allowed = f'a number of bytes from {minimum} to {protocol.MAX_SIZE_BYTES}, such as 1073741824 or "1GiB"'
    within = range(minimum, protocol.MAX_SIZE_BYTES + 1)

    def parse(value: object) -> int:
        if isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
            value = int(match[1]) * _UNITS[match[2].upper()]
        if isinstance(value, int) and not isinstance(value, bool) and value in within:
            return value
        raise ValueError(f"must be {allowed}")

    return Kind(parse, allowed, written_size)


def written_size(count: int) -> int | str:
    """A number of bytes in the largest unit that says it exactly."""
    for unit in ("T", "G", "M", "K"):
        if count and count % _UNITS[unit] == 0:
            return f"{count // _UNITS[unit]}{unit}iB"
    return count


def choice(*allowed: str) -> Kind:
    """One of a few words."""
    words = ", ".join(allowed)

    def parse(value: object) -> str:
        if not isinstance(value, str) or value.strip().lower() not in allowed:
            raise ValueError(f"must be one of {words}")
        return value.strip().lower()

    return Kind(parse, f"one of {words}")


def words(each: Callable[[str], str], allowed: str, *, separators: str = r"[\s,]+") -> Kind:
    """A list of words, each of which `each` reads; in the environment they stand between `separators` (a regular
    expression)."""

    def parse(value: object) -> tuple[str, ...]:
        found = [word for word in re.split(separators, value) if word] if isinstance(value, str) else value
        if not isinstance(found, list) or not all(isinstance(word, str) for word in found):
            raise ValueError(f"must be {allowed}")
        return tuple(each(word) for word in found)

    return Kind(parse, allowed)
