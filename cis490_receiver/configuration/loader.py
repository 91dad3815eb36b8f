"""A configuration: a TOML file, overridden by the environment, checked once, frozen.

Each failure is one sentence that names the key, where its value came from, and what to do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from cis490_receiver.configuration.keys import REQUIRED, Key, keys_of
from cis490_receiver.errors import ConfigError
from cis490_receiver.files.small import read_small

T = TypeVar("T")

_MAX_FILE_BYTES: Final = 1 << 20
_MAX_SHOWN: Final = 200
#: User and password of a URL.
_USER: Final = re.compile(r"://[^/\s]*@")


@dataclass(frozen=True, slots=True)
class Loaded(Generic[T]):
    """A configuration in force."""

    settings: T
    #: Where each value came from that is not the default.
    sources: Mapping[str, str]


#: A key, its value, and where that stands, for people.
_Given = tuple[str, object, str]


class Table(Generic[T]):
    """The keys of one program, and where they are set."""

    def __init__(
        self,
        settings: type[T],
        *,
        prefix: str,
        command: str,
        default_file: Path | None = None,
        foreign_prefix: str | None = None,
    ) -> None:
        """Say which keys there are.

        Args:
            settings: a dataclass whose fields are made by `keys.key`.
            prefix: of the variables that override the file; the one that names it is the prefix with CONFIG.
            command: the command that shows this configuration.
            default_file: the file when no variable names one; it may be absent.
            foreign_prefix: of variables that are another program's, though they begin with `prefix`.
        """
        self._settings = settings
        self.keys: Final[Mapping[str, Key]] = keys_of(settings)
        self.command: Final = command
        self.file_variable: Final = f"{prefix}CONFIG"
        self._prefix = prefix
        self._default_file = default_file
        self._foreign_prefix = foreign_prefix

    def load(self, environ: Mapping[str, str]) -> Loaded[T]:
        """Read what `environ` and the file that it names say; each value is checked, but not yet how they go together.

        Raises:
            ConfigError: something in it cannot be used.
        """
        values: dict[str, Any] = {}
        sources: dict[str, str] = {}
        for name, value, source in (*self._from_file(environ), *self._from_environment(environ)):
            values[name] = self._parse(name, value, source)
            sources[name] = source
        for key in self.keys.values():
            if key.default is REQUIRED and key.name not in values:
                where = self.file(environ) or f"the file that {self.file_variable} names"
                raise ConfigError(f"{key.name} is not set; set it in {where} or as {self.variable(key.name)}")
        return Loaded(self._settings(**values), sources)

    def variable(self, name: str) -> str:
        """The variable that sets the key `name`."""
        return f"{self._prefix}{name.upper()}"

    def file(self, environ: Mapping[str, str]) -> Path | None:
        """The file that is read, whether it is there or not; None when none is named."""
        named = environ.get(self.file_variable)
        return Path(named) if named else self._default_file

    def _from_file(self, environ: Mapping[str, str]) -> Iterator[_Given]:
        path = self.file(environ)
        is_named = self.file_variable in environ
        if path is None and is_named:
            raise ConfigError(f"{self.file_variable} is empty; name a file in it, or unset it")
        if path is None:
            return
        try:
            content = read_small(path, _MAX_FILE_BYTES)
        except FileNotFoundError as exc:
            if is_named:
                raise self._unreadable(path, exc) from exc
            return
        except OSError as exc:
            raise self._unreadable(path, exc) from exc
        for name, value in _parse_toml(path, content).items():
            yield name, value, str(path)

    def _unreadable(self, path: Path, exc: OSError) -> ConfigError:
        return ConfigError(
            f"cannot read {path}: {exc.strerror}; name another file in {self.file_variable}, or run this as a user "
            "who may read it"
        )

    def _from_environment(self, environ: Mapping[str, str]) -> Iterator[_Given]:
        for name, value in environ.items():
            foreign = self._foreign_prefix and name.startswith(self._foreign_prefix)
            if name.startswith(self._prefix) and not foreign and name != self.file_variable:
                yield name.removeprefix(self._prefix).lower(), value, f"the environment ({name})"

    def _parse(self, name: str, value: object, source: str) -> Any:
        key = self.keys.get(name)
        if key is None:
            hint = _nearest(name, self.keys)
            raise ConfigError(
                f"unknown key {name} in {source}{hint}; `{self.command} --defaults` lists the keys"
            )
        try:
            return key.kind.parse(value)
        except ValueError as exc:
            shown = "" if key.secret else f" (it is {_shown(value)})"
            raise ConfigError(f"{name} in {source} {exc}{shown}") from None


def _parse_toml(path: Path, content: bytes) -> dict[str, object]:
    # Imported late: most commands of a receiver that the environment configures do without.
    import tomllib

    try:
        return tomllib.loads(content.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path} is not valid TOML: {exc}") from exc
    except RecursionError:
        raise ConfigError(f"{path} is not valid TOML: it is nested too deeply") from None


def _nearest(name: str, names: Mapping[str, Key]) -> str:
    import difflib

    close = difflib.get_close_matches(name, names, n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _shown(value: object) -> str:
    """A value that is wrong, without what may be a password in it."""
    text = _USER.sub("://…@", repr(value))
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"
