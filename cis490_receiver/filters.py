"""Which episodes are meant: **the one table of the filters**, for the catalog's SQL and for records alike."""

from __future__ import annotations

import datetime as dt
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


#: What is to be done with episodes that were withdrawn.
WITHDRAWN: Final = ("exclude", "include", "only")


@dataclass(frozen=True, slots=True)
class Filter:
    """One filter.

    Attributes:
        name: in queries and, with ``-`` for ``_``, as an option.
        column: the field of the index line that it looks at; empty where it looks at something else.
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


def _as_text(moment_ns: int, comparison: str) -> str:
    microseconds = moment_ns // 1000 if comparison == ">=" else -(-moment_ns // 1000)
    since = dt.timedelta(microseconds=microseconds)
    return (dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + since).isoformat()


def _withdrawn(text: str) -> str:
    if text not in WITHDRAWN:
        raise ValueError(f"must be one of {', '.join(WITHDRAWN)}")
    return text


def _of_stamp(declared: stamps.Declaration, name: str) -> Filter:
    grammar = declared.grammar
    return Filter(
        name,
        declared.name,
        "=",
        grammar.parse,
        f"Only with this {declared.name.replace('_', ' ')} ({declared.doc}): {grammar.text}.",
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
        Filter(
            "withdrawn",
            "",
            "",
            _withdrawn,
            "Withdrawn episodes: exclude (which is also meant without this), include, or only them.",
            WITHDRAWN,
        ),
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
        """Column, comparison and value of each that looks at the index line; an episode passes for which all hold."""
        return [
            (FILTERS[name].column, FILTERS[name].comparison, value)
            for name, value in self._values.items()
            if FILTERS[name].column
        ]

    def passes(self, episode: Episode) -> bool:
        """Whether `episode` is meant, as far as its index line tells: whether it is withdrawn does not stand there."""
        return all(
            _HOLDS[comparison](getattr(episode, column), value)
            for column, comparison, value in self.conditions()
        )

    @property
    def withdrawn(self) -> str:
        """What is meant of withdrawn episodes, one of `WITHDRAWN`."""
        return str(self._values.get("withdrawn", "exclude"))

    def or_withdrawn(self) -> Filters:
        """The same choice, of withdrawn episodes too unless it says what is meant of them."""
        return Filters(**{"withdrawn": "include", **self._values})

    def but(self, **other: Any) -> Filters:
        """The same choice with other values for these filters; None is not given."""
        return Filters(**{**self._values, **other})

    def as_query(self) -> dict[str, str]:
        """The same choice as the texts of a query, which have microseconds: a finer moment chooses up to one more."""
        return {
            name: _as_text(value, FILTERS[name].comparison)
            if FILTERS[name].column == "received_at_ns"
            else str(value)
            for name, value in self._values.items()
        }

    def get(self, name: str) -> Any:
        """The value of the filter `name`; None where it is not given."""
        return self._values.get(name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Filters) and self._values == other._values

    def __hash__(self) -> int:
        return hash(tuple(self._values.items()))

    def __repr__(self) -> str:
        return f"Filters({', '.join(f'{name}={value!r}' for name, value in self._values.items())})"
