"""Whether what was said of an episode when it came, its index line, is what its meta.json says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from cis490_receiver.models import Episode
from cis490_receiver.stamps import DECLARED, Declaration

_NAMES: Final = ("host_id", "episode_id")
#: A value is a host's own text, of any length.
_SHOWN: Final = 80


def disagreements(episode: Episode, meta: Mapping[str, Any]) -> list[str]:
    """What the two say differently, a phrase each. What either leaves open agrees."""
    found = []
    for name in (*_NAMES, *(declared.name for declared in DECLARED)):
        said, recorded = meta.get(name), getattr(episode, name)
        if isinstance(said, str) and name not in _NAMES:
            said = said.strip().lower()
        if said is not None and recorded is not None and said != recorded:
            found.append(f"{name} is {_shown(said)} in meta.json, {recorded!r} in the index")
    return found


def lacking(episode: Episode, meta: Mapping[str, Any]) -> list[str]:
    """What one of the two lacks, a phrase each: the index line what meta.json says, meta.json what every recorder is
    expected to say."""
    found = []
    for declared in DECLARED:
        said, recorded = meta.get(declared.name), getattr(episode, declared.name)
        if said is not None and recorded is None:
            found.append(_not_in_the_index(declared, said))
        elif said is None and declared.expected:
            found.append(f"meta.json lacks {declared.name}")
    return found


def _not_in_the_index(declared: Declaration, said: Any) -> str:
    try:
        declared.grammar.of_json(said)
    except ValueError as exc:
        return f"{declared.name} is {_shown(said)} in meta.json, and {exc}"
    return (
        f"{declared.name} is {_shown(said)} in meta.json, and was not said in the upload's {declared.header}"
    )


def _shown(said: Any) -> str:
    text = repr(said)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
