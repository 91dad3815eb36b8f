"""How a command ends that cannot do what it was asked for: one sentence, an exit status, and with ``--json`` one
object on standard output for programs."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NoReturn

import click

from cis490_receiver import page
from cis490_receiver.errors import ConfigError, ReceiverError, StorageFailed

EXIT_FOUND: Final = 1
EXIT_USAGE: Final = 2
#: As a shell shows what SIGINT and SIGPIPE end.
EXIT_INTERRUPTED: Final = 130
EXIT_NOT_READ: Final = 141

_INTERRUPTED: Final = "interrupted"
_NOTHING: Final[Mapping[str, Any]] = {}


class Failure(Exception):
    """A command's own end: what to say, the `code` that programs read, the exit status, and what else programs get."""

    def __init__(self, sentence: str, code: str, status: int = EXIT_FOUND, **details: Any) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.code = code
        self.status = status
        self.details = details


def fail(what: str, exc: ReceiverError | OSError, *, hint: str = "", status: int = EXIT_FOUND) -> NoReturn:
    """End the command, saying `what` went wrong and why.

    Raises:
        Failure: always.
    """
    code = exc.code if isinstance(exc, ReceiverError) else StorageFailed.code
    raise Failure(f"{what}: {reason(exc)}{hint and '; '}{hint}", code, status) from exc


def interrupted(sentence: str) -> Failure:
    """What to raise for ^C."""
    return Failure(sentence, _INTERRUPTED, EXIT_INTERRUPTED)


def reason(exc: BaseException) -> str:
    """Why, for people: what our own errors keep from clients, they tell whoever runs a command."""
    if isinstance(exc, ReceiverError) and exc.message != exc.default_message:
        return exc.message
    cause = exc.__cause__ or exc
    if isinstance(cause, OSError) and cause.strerror:
        return f"{os.fsdecode(cause.filename)}: {cause.strerror}" if cause.filename else cause.strerror
    return str(cause) or type(cause).__name__


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether programs read the answer: told from the words alone, since they may be what is wrong."""
    words = list(arguments)
    return "--json" in (words[: words.index("--")] if "--" in words else words)


@contextlib.contextmanager
def reported(program: str, *, as_json: bool) -> Iterator[None]:
    """Turn whatever ends a command of `program` into its exit status, and say why."""
    try:
        with _output_flushed():
            yield
    except BrokenPipeError:
        # Whoever read the output has enough.
        sys.exit(EXIT_NOT_READ)
    except KeyboardInterrupt:
        _end(program, "interrupted", _INTERRUPTED, EXIT_INTERRUPTED, as_json)
    except click.ClickException as exc:
        exc.show()
        _answer(exc.format_message(), "bad-usage", as_json, {})
        sys.exit(EXIT_USAGE)
    except Failure as exc:
        _end(program, exc.sentence, exc.code, exc.status, as_json, exc.details)
    except ConfigError as exc:
        _end(program, exc.message, exc.code, EXIT_USAGE, as_json)
    except ReceiverError as exc:
        _end(program, reason(exc), exc.code, EXIT_FOUND, as_json)
    except OSError as exc:
        _end(program, reason(exc), StorageFailed.code, EXIT_FOUND, as_json)


@contextlib.contextmanager
def _output_flushed() -> Iterator[None]:
    """A pipe that nobody reads, and a full disk, are noticed here and not at exit."""
    try:
        yield
    finally:
        if sys.stdout is not None:
            try:
                sys.stdout.flush()
            except OSError:
                # Python would try what is left in the buffer again at exit.
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
                raise


def _end(
    program: str, sentence: str, code: str, status: int, as_json: bool, details: Mapping[str, Any] = _NOTHING
) -> NoReturn:
    page.say(sentence, label=f"{program}: ", err=True)
    _answer(sentence, code, as_json, details)
    sys.exit(status)


def _answer(sentence: str, code: str, as_json: bool, details: Mapping[str, Any]) -> None:
    if as_json:
        with contextlib.suppress(BrokenPipeError):
            click.echo(json.dumps({"error": sentence, "code": code, **details}, indent=2))
