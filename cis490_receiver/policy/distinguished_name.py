"""Distinguished names as text: the grammar of RFC 4514 §3, nothing more and nothing less.

A name is read from its first character to its last, or not at all. What Go and so Caddy write is within this
grammar, but for a NUL that they leave bare; so are the names of nginx (``$ssl_client_s_dn``) and HAProxy. The quoted
values and the blanks around separators of older writers (RFC 2253 §4, RFC 1779) are not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_TYPE: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]*|(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*))+")
_HEX: Final = re.compile(r"#((?:[0-9A-Fa-f]{2})+)")
_PAIR: Final = r'\\(?:[\\"+,;<>#= ]|[0-9A-Fa-f]{2})'
_PLAIN: Final = r'[^\0"+,;<>\\ ]'
# Neither the first nor the last character may be a bare space, nor the first a bare `#`. Spaces and what
# follows them are taken together and never given back, so the time is linear in the length.
_TEXT: Final = re.compile(rf"(?:(?:(?!#){_PLAIN}|{_PAIR})(?: *+(?:{_PLAIN}|{_PAIR}))*+)?")
_ESCAPED: Final = re.compile(rb"\\([0-9A-Fa-f]{2}|.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Attribute:
    """One type and its value."""

    #: As it was written: ``CN``, ``cn`` or ``2.5.4.3``.
    type: str
    #: Bytes where the value was written as ``#`` and the hex digits of its BER encoding.
    value: str | bytes


def parse(text: str) -> list[Attribute]:
    """Every attribute of the name `text`, in the order in which they are written. The empty text is the name
    of no attributes.

    Raises:
        ValueError: it is not a name by RFC 4514; the text says where it ceases to be one.
    """
    attributes: list[Attribute] = []
    position = 0
    while text:
        attribute, position = _attribute(text, position)
        attributes.append(attribute)
        if position == len(text):
            break
        if text[position] not in ",+":
            raise ValueError(f"character {position + 1} is out of place")
        position += 1
    return attributes


def _attribute(text: str, start: int) -> tuple[Attribute, int]:
    """The attribute that begins at `start`, and where it ends."""
    kind = _TYPE.match(text, start)
    if kind is None or text[kind.end() : kind.end() + 1] != "=":
        raise ValueError(f"an attribute's type and = are expected at character {start + 1}")
    value_start = kind.end() + 1
    if text[value_start : value_start + 1] == "#":
        encoded = _HEX.match(text, value_start)
        if encoded is None:
            raise ValueError(f"hex digits are expected at character {value_start + 2}")
        return Attribute(kind[0], bytes.fromhex(encoded[1])), encoded.end()
    written = _TEXT.match(text, value_start)
    if written is None:
        raise ValueError(f"no value begins at character {value_start + 1}")
    return Attribute(kind[0], _unescape(written[0])), written.end()


def _unescape(written: str) -> str:
    def one(match: re.Match[bytes]) -> bytes:
        return match[1] if len(match[1]) == 1 else bytes.fromhex(match[1].decode("ascii"))

    try:
        return _ESCAPED.sub(one, written.encode("utf-8")).decode("utf-8")
    except UnicodeError:
        raise ValueError("a value is not UTF-8") from None
