"""What a recorder says of an episode beside its bytes: **the one table of these fields**.

A field is declared here, once. From its declaration follow the header of a PUT and of the shipper, the key that is
read in ``meta.json``, the field of the index line, the catalog's column, the filter of listing, `mirror`, `export` and
`stats`, what a trace in ``incoming/`` keeps of it, and its description in the interface's own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final

from cis490_receiver import protocol


@dataclass(frozen=True, slots=True)
class Grammar:
    """Which values a field may have.

    Attributes:
        kind: the type of a value, str or int.
        pattern: what its text looks like, all of it; of a str, after it was trimmed and lower-cased.
        text: the same for a person, after "must be".
        allowed: the values, where they can be listed.
    """

    kind: type[str] | type[int]
    pattern: re.Pattern[str]
    text: str
    allowed: tuple[str, ...] = ()

    def parse(self, text: str) -> str | int:
        """The value that a header, an option or a query says.

        Raises:
            ValueError: it is none.
        """
        word = text.strip().lower()
        if not self.pattern.fullmatch(word):
            raise ValueError(f"must be {self.text}")
        return self.kind(word)

    def of_json(self, value: Any) -> str | int:
        """The value that a JSON document says.

        Raises:
            ValueError: it is none.
        """
        if type(value) is not self.kind:
            raise ValueError(f"must be {self.text}")
        return self.parse(str(value))


def _one_of(words: frozenset[str]) -> Grammar:
    allowed = tuple(sorted(words))
    return Grammar(
        str, re.compile("|".join(map(re.escape, allowed))), f"one of {', '.join(allowed)}", allowed
    )


INTEGER: Final = Grammar(int, re.compile(r"[+-]?[0-9]{1,18}"), "a whole number of at most 18 digits")
COMMIT: Final = Grammar(str, re.compile(r"[0-9a-f]{40}"), "40 hex digits")


@dataclass(frozen=True, slots=True)
class Declaration:
    """One field.

    Attributes:
        name: in the index line, in ``meta.json`` and in the catalog.
        header: the header of a PUT that says it.
        grammar: which values it may have.
        filter: the name of the filter that chooses episodes by it; None where there is none.
        default: its value where nothing is said.
        doc: what it means, a phrase.
        expected: whether a recorder that leaves it out is told so.
    """

    name: str
    header: str
    grammar: Grammar
    filter: str | None
    default: str | int | None
    doc: str
    expected: bool


def _stamp(
    doc: str,
    header: str,
    grammar: Grammar,
    *,
    filter_name: str | None = None,
    default: Any = None,
    expected: bool = True,
) -> Any:
    return field(
        default=default,
        metadata={
            "declaration": lambda name: Declaration(
                name, header, grammar, filter_name, default, doc, expected
            )
        },
    )


@dataclass(frozen=True)
class Stamps:
    """The fields. Absent values are None.

    A header whose value cannot be used is dropped with a warning, but for the first two: the contract refuses a PUT
    with a bad schema version, and what a bad commit means is the version gate's to say.
    """

    schema_version: int = _stamp(
        "version of the episode's layout",
        protocol.HEADER_SCHEMA_VERSION,
        INTEGER,
        default=protocol.SCHEMA_VERSION,
    )
    code_commit: str | None = _stamp(
        "commit of the orchestrator that recorded it",
        protocol.HEADER_CODE_COMMIT,
        COMMIT,
        filter_name="commit",
    )
    episode_type: str | None = _stamp(
        "kind of run",
        protocol.HEADER_EPISODE_TYPE,
        _one_of(protocol.EPISODE_TYPES),
        filter_name="episode_type",
    )
    benign_profile: str | None = _stamp(
        "what the machine was used for in the meantime",
        protocol.HEADER_BENIGN_PROFILE,
        _one_of(protocol.BENIGN_PROFILES),
        filter_name="benign_profile",
        expected=False,
    )

    @classmethod
    def read(cls, said: Mapping[str, Any], parse: Callable[[Grammar, Any], str | int]) -> Stamps:
        """The fields as `said` has them, by name, each read by `parse`; what cannot be used is absent."""
        found: dict[str, Any] = {}
        for declared in DECLARED:
            if said.get(declared.name) is not None:
                try:
                    found[declared.name] = parse(declared.grammar, said[declared.name])
                except ValueError:
                    continue
        return cls(**found)

    @classmethod
    def of_meta(cls, meta: Mapping[str, Any]) -> Stamps:
        """What a ``meta.json`` says."""
        return cls.read(meta, Grammar.of_json)

    def words(self) -> list[str]:
        """Each field as a word without blanks, in their order; empty where absent."""
        values = (getattr(self, declared.name) for declared in DECLARED)
        return ["" if value is None else str(value) for value in values]

    @classmethod
    def of_words(cls, words: list[str]) -> Stamps | None:
        """The fields from `words`; None when one is no value of its field. Fewer words than there are fields come from
        an earlier version, which did not know the last ones."""
        if not 0 < len(words) <= len(DECLARED) or not words[0]:
            return None
        found: dict[str, Any] = {}
        for declared, word in zip(DECLARED, words, strict=False):
            try:
                value = declared.grammar.parse(word) if word else None
            except ValueError:
                return None
            if value is not None and str(value) != word:
                return None
            found[declared.name] = value
        return cls(**found)


#: The declarations of all fields, in the order of the index line.
DECLARED: Final[tuple[Declaration, ...]] = tuple(
    item.metadata["declaration"](item.name) for item in fields(Stamps)
)
#: What kind of episode it is: the fields that have a fixed set of values.
KIND: Final = tuple(declared.name for declared in DECLARED if declared.grammar.allowed)
