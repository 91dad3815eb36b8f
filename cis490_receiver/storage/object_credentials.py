"""What an object store asks of those who come: from a file of the form that Amazon's tools use, or else from the usual
AWS variables, which obstore reads itself."""

from __future__ import annotations

import configparser
from pathlib import Path
from typing import Final

from cis490_receiver.errors import ConfigError

#: By the names that obstore has for them.
_KEYS: Final = {
    "access_key_id": "aws_access_key_id",
    "secret_access_key": "aws_secret_access_key",
    "token": "aws_session_token",
}


def read_credentials(path: Path) -> dict[str, str]:
    """The section ``[default]`` of a credentials file (AWS CLI User Guide, *Configuration and credential file
    settings*), by the names of obstore.

    Raises:
        ConfigError: it cannot be read, or names no keys.
    """
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
        section = dict(parser["default"])
    except OSError as exc:
        raise ConfigError(
            f"objects_credentials_file: cannot read {path}: {exc.strerror}; make it readable by the receiver"
        ) from exc
    except (UnicodeDecodeError, configparser.Error, KeyError):
        section = {}
    found = {ours: section[name].strip() for ours, name in _KEYS.items() if section.get(name, "").strip()}
    if not {"access_key_id", "secret_access_key"} <= found.keys():
        raise ConfigError(
            f"objects_credentials_file: {path} has no keys; it must have a section [default] with aws_access_key_id "
            "and aws_secret_access_key"
        )
    return found
