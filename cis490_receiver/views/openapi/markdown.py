"""docs/http.md, made from the OpenAPI document; ``bin/http-docs`` writes it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from cis490_receiver.views.openapi.handbook import (
    Call,
    Document,
    ErrorCode,
    calls,
    common_codes,
    error_codes,
)

_BEGIN: Final = """\
# HTTP

What programs may ask of a receiver. `bin/http-docs` writes this page from what the program says of itself; a running
receiver shows the same at `/docs`, and to programs at `/v1/openapi.json` (OpenAPI 3.1).

- Answers are JSON unless said otherwise. An error is `{"error": "...", "code": "..."}`, often with more; a `code` never
  changes its meaning, and the [table of all codes](#error-codes) tells what to do.
- A token goes into `Authorization: Bearer TOKEN`. A receiver without any token, as on loopback, asks for none.
- Every GET is there as HEAD too. Another method is answered 405 with `Allow`, another path 404.
- Answers to come may have more members and headers than are named here; ignore what you do not know.

The examples are lines for a shell that knows the receiver and a token, and an episode to ship; `UPLOAD` is the last
part of the `Location` that an upload in pieces was given:

```sh
RECEIVER=http://127.0.0.1:8490
TOKEN=any-word-where-none-is-asked-for
```

```sh
mkdir -p run-0001
echo '{"schema_version": 2, "episode_type": "control", "benign_profile": "idle"}' > run-0001/meta.json
tar --mtime=@0 -cf - -C run-0001 meta.json | zstd -q -f -o run-0001.tar.zst
```

## Calls
"""


def markdown(document: Document) -> str:
    """The page."""
    found = calls(document)
    parts = [
        _BEGIN,
        _table(
            ("call", "needs", "does"),
            ((f"[`{one.method} {one.path}`](#{one.anchor})", one.needs, one.summary) for one in found),
        ),
    ]
    for one in found:
        parts += _section(one)
    codes = ", ".join(f"`{code}`" for code in sorted(common_codes(document)))
    parts += ["## Error codes\n", f"Any call may be answered with {codes}.\n", _errors(error_codes(document))]
    return "\n".join(parts)


def _section(call: Call) -> Iterator[str]:
    yield f"### `{call.method} {call.path}`\n"
    yield f"{call.summary}. Needs {call.needs}. {call.doc}".rstrip() + "\n"
    yield f"```sh\n{call.curl}\n```\n"
    if call.parameters:
        rows = ((f"`{name}`", where, look, meaning) for name, where, look, meaning in call.parameters)
        yield _table(("parameter", "is", "looks like", "meaning"), rows)
    if call.body:
        yield f"Body: {call.body}\n"
    refusals = ((status, ", ".join(f"`{code}`" for code in codes)) for status, codes in call.refusals)
    yield _table(("status", "means"), [*call.answers, *refusals])
    if call.headers:
        yield _table(("header of the answer", "means"), ((f"`{name}`", doc) for name, doc in call.headers))


def _errors(codes: Iterable[ErrorCode]) -> str:
    return _table(
        ("code", "status", "says", "what to do"),
        (
            (f"`{one.code}`", str(one.status), one.message, one.what_to_do + _again(one.retry_after_seconds))
            for one in codes
        ),
    )


def _again(seconds: int | None) -> str:
    return f" `Retry-After`: {seconds} s." if seconds else ""


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [heads, ("---",) * len(heads), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)
