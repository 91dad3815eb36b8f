"""Which episodes are meant: **the one table of the filters**, for the catalog's SQL and for records alike."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cis490_receiver import protocol, stamps, times
from cis490_receiver.models import Episode, nanoseconds

_HOLDS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "=": operator.eq,
    ">=": operator.ge,
    "<": operator.lt,
}


@dataclass(frozen=True, slots=True)
class Filter:
    """One filter.

    Attributes:
        name: in queries and, with ``-`` for ``_``, as an option.
        column: the field of the index line that it looks at.
        comparison: ``=``, ``>=`` or ``<``: how the field is to compare with the filter's value.
        parse: the value that a text means; raises ValueError, whose text goes on after the filter's name.
        doc: what it chooses, a sentence.
        allowed: the values, where they can be listed.
    """

    name: str
    column: str
    comparison: str
    parse: Callable[[str], Any]
    doc: str
    allowed: tuple[str, ...] = ()


def _host(text: str) -> str:
    if not protocol.is_valid_id(text):
        raise ValueError("must be a host id")
    return text


def _moment(text: str) -> int:
    try:
        return nanoseconds(times.parse_moment(text))
    except ValueError:
        raise ValueError("must be a date such as 2026-11-23 or 2026-11-23T08:00:00Z") from None


def _of_stamp(declared: stamps.Declaration, name: str) -> Filter:
    grammar = declared.grammar
    return Filter(
        name,
        declared.name,
        "=",
        grammar.parse,
        f"Only with this {declared.doc}: {grammar.text}.",
        grammar.allowed,
    )


FILTERS: Final[Mapping[str, Filter]] = {
    item.name: item
    for item in (
        Filter("host", "host_id", "=", _host, "Only this host's episodes."),
        Filter(
            "since", "received_at_ns", ">=", _moment, "Only what came since then, that moment included (UTC)."
        ),
        Filter("until", "received_at_ns", "<", _moment, "Only what came before then (UTC)."),
        *(_of_stamp(declared, declared.filter) for declared in stamps.DECLARED if declared.filter),
    )
}


class Filters:
    """A choice of filters. Without any, every episode passes."""

    __slots__ = ("_values",)

    def __init__(self, **given: Any) -> None:
        """Values by the filters' names, as `Filter.parse` gives them; a moment may be a datetime with a time zone.
        None is the same as not given.

        Raises:
            TypeError: there is no such filter.
        """
        if unknown := given.keys() - FILTERS.keys():
            raise TypeError(f"no such filter: {', '.join(sorted(unknown))}")
        self._values = {
            name: nanoseconds(given[name]) if hasattr(given[name], "tzinfo") else given[name]
            for name in FILTERS
            if given.get(name) is not None
        }

    def conditions(self) -> list[tuple[str, str, Any]]:
        """Column, comparison and value of each; an episode passes for which all hold."""
        return [
            (FILTERS[name].column, FILTERS[name].comparison, value) for name, value in self._values.items()
        ]

    def passes(self, episode: Episode) -> bool:
        """Whether `episode` is meant."""
        return all(
            _HOLDS[comparison](getattr(episode, column), value)
            for column, comparison, value in self.conditions()
        )

    def without(self, name: str) -> Filters:
        """The same choice but for the filter `name`."""
        return Filters(**{other: value for other, value in self._values.items() if other != name})

    def get(self, name: str) -> Any:
        """The value of the filter `name`; None where it is not given."""
        return self._values.get(name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Filters) and self._values == other._values

    def __hash__(self) -> int:
        return hash(tuple(self._values.items()))

    def __repr__(self) -> str:
        return f"Filters({', '.join(f'{name}={value!r}' for name, value in self._values.items())})"
