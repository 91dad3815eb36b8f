"""Content codings: which of them a client asks for (RFC 9110 §12.5.3), and a stream compressed as it is sent.

Both are at their fastest level: a thread and a core are held for as long as they compress, and higher levels make lines
of JSON hardly any smaller.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO, Final, Protocol

import zstandard
from flask import Request

#: Read, and compressed, at a time.
_STEP: Final = 1 << 18
_ZSTD_LEVEL: Final = 1
_GZIP_LEVEL: Final = 1
#: zlib's way of saying a gzip header and trailer, with its largest window.
_GZIP_WINDOW_BITS: Final = 31
#: Other names of the codings (RFC 9110 §8.4.1.3).
_ALIASES: Final[Mapping[str, str]] = {"x-gzip": "gzip"}


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


def _zstd(size_bytes: int) -> _Compressor:
    # The frame says its size at its beginning. Its window is far below the 8 MiB that RFC 9659 allows.
    return zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=True).compressobj(size=size_bytes)


def _gzip(_: int) -> _Compressor:
    return zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_WINDOW_BITS)


_COMPRESSORS: Final[Mapping[str, Callable[[int], _Compressor]]] = {"zstd": _zstd, "gzip": _gzip}
#: The codings that there are, the best first.
CODINGS: Final = tuple(_COMPRESSORS)


def asked_for(request: Request) -> str | None:
    """The coding that the client likes best, one of `CODINGS`; None where it rather has the bytes as they are, does
    not say what it wants, or wants what nobody can give."""
    wanted = [
        (_ALIASES.get(word.lower(), word.lower()), quality) for word, quality in request.accept_encodings
    ]
    others = max((quality for word, quality in wanted if word == "*"), default=0.0)

    def quality_of(name: str, unless_named: float) -> float:
        return max((quality for word, quality in wanted if word == name), default=unless_named)

    # Of those that are liked as much, the first.
    best = max(CODINGS, key=lambda name: quality_of(name, others))
    quality = quality_of(best, others)
    return best if quality and quality >= quality_of("identity", 0.0) else None


def compressed(name: str, stream: BinaryIO, size_bytes: int) -> Iterator[bytes]:
    """The next `size_bytes` of `stream`, a piece at a time, in the coding `name`.

    Raises:
        EOFError: there are not so many.
    """
    compressor = _COMPRESSORS[name](size_bytes)
    while size_bytes > 0:
        piece = stream.read(min(_STEP, size_bytes))
        if not piece:
            raise EOFError("the file became shorter while it was sent")
        size_bytes -= len(piece)
        if given := compressor.compress(piece):
            yield given
    yield compressor.flush()
