# SPDX-License-Identifier: GPL-2.0-only
"""The filter: one line that says which calls and Oopses are meant, as people type it.

    comm:rmmod regime:above,below !site:mmu.c took>1ms time:0.5..0.9

Terms are separated by spaces and all of them must hold; ``!`` turns one around; of values with
commas any may hold. Ranges are ``A..B`` without B, or ``A+LENGTH``. A filter is a frozen value,
made once from its text and asked once a block of columns; names are compared as they are shown
(escaped), so that what is on the screen can be typed. A value that a call does not have (its end
was lost: no ``took``) matches no term, and so every ``!`` of it.

Raises ``FilterError`` with one line that says what is wrong and what would be right.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Self

import numpy as np

from recordings.explore.filter_terms import (
    LISTED,
    NAMED,
    OUTSIDE,
    RANGED,
    SILENT,
    Columns,
    Facts,
    Mask,
    Names,
    TermError,
    Test,
)
from recordings.wording.escape import printable
from tracers import regimes
from tracers.events import Source

__all__ = ["KEYS", "Facts", "Filter", "FilterError", "Names"]

#: What there is to ask for, with an example and its meaning, in the order of the help.
KEYS: Final = {
    "comm": ("comm:rmmod", "name of the task; * and ? stand for anything"),
    "pid": ("pid:68", "process; the thread where only that is known"),
    "tid": ("tid:68", "thread"),
    "cpu": ("cpu:0", "CPU"),
    "kind": ("kind:free", "populate, free, or fault: an Oops"),
    "regime": ("regime:above", "where it lies; also outside, silent"),
    "lands": ("lands:vmalloc", "region it lands on"),
    "site": ("site:mmu.c:1268", "place of the WARN inside it, or a function of an Oops; none, any"),
    "known": ("known:derived", "how the call is known"),
    "op": ("op:1", "inside one operation, by the number of its first event"),
    "took": ("took>1ms", "how long it took; ns, us, ms, s"),
    "time": ("time:0.5..0.9", "seconds after the first event"),
    "event": ("event:100..200", "number of its event"),
    "pfn": ("pfn:0x53f8000+0x8000", "page frames whose struct pages it maps"),
    "phys": ("phys:16G..32G", "the same as physical addresses"),
    "addr": ("addr:0xffffffff4ee00000", "address of struct pages"),
}
#: The values that a key can have in any recording.
_VALUES: Final = {
    "regime": (*regimes.REGIMES, OUTSIDE, SILENT),
    "kind": tuple(kind.label for kind in LISTED),
    "known": tuple(source.label for source in Source if source),
}
_TERM: Final = re.compile(r"(!?)([a-z]+)(:|=|>=|<=|>|<)(.*)", re.DOTALL)
_WORD: Final = re.compile(r"""(?:"[^"]*"|'[^']*'|[^\s"'])+""")
_VALUE: Final = re.compile(r"""(?:"[^"]*"|'[^']*'|[^,"'])+""")
#: Terms of one filter, so that a pasted book is refused.
_MOST_TERMS: Final = 64
#: Operations that can be completed, so that a keystroke costs the same in any recording.
_MOST_OPERATIONS: Final = 1000


class FilterError(ValueError):
    """A filter that cannot be read; the message is one line."""


@dataclass(frozen=True, slots=True)
class Term:
    """One condition."""

    text: str
    negated: bool
    names: tuple[str, ...]  # columns it needs
    test: Test = field(compare=False)

    def mask(self, columns: Columns, names: Names) -> Mask:
        """Return where it holds: bool[n]."""
        return self.test(columns, names) ^ self.negated


@dataclass(frozen=True, slots=True)
class Filter:
    """Which calls are meant. An empty one means all, and is false."""

    terms: tuple[Term, ...] = ()

    @classmethod
    def parse(cls, text: str, facts: Facts) -> Self:
        """Read a filter as it was typed.

        Raises:
            FilterError: what is wrong with it.
        """
        words = split(text)
        if len(words) > _MOST_TERMS:
            raise FilterError(f"{len(words)} terms; {_MOST_TERMS} is the most")
        return cls(tuple(_term(word, facts) for word in words))

    def __bool__(self) -> bool:
        return bool(self.terms)

    @property
    def text(self) -> str:
        """The line that gives this filter again."""
        return " ".join(term.text for term in self.terms)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns that ``mask`` needs, one at least."""
        names = tuple(dict.fromkeys(name for term in self.terms for name in term.names))
        return names or ("kind",)

    def mask(self, columns: Columns, table: Names) -> Mask:
        """Return which rows of ``columns`` (those in ``names``, of one length) are meant."""
        mask = np.ones(len(next(iter(columns.values()))), np.bool_)
        for term in self.terms:
            mask &= term.mask(columns, table)
        return mask


def split(text: str) -> list[str]:
    """Cut a line at its spaces, but for those in quotes, which stay."""
    if (rest := _WORD.sub("", text)).strip():
        raise FilterError(f"a quote is not closed: {printable(rest.strip())}")
    return _WORD.findall(text)


def toggled(text: str, term: str) -> str:
    """Return a filter's line with ``term`` in place of others of its key, or without it.

    Without it if it is there already.
    """
    words = split(text)
    if term in words:
        return " ".join(word for word in words if word != term)
    return " ".join([*(word for word in words if _key(word) != _key(term)), term])


def _key(word: str) -> str:
    match = _TERM.fullmatch(word)
    return match[1] + match[2] if match else word


def complete(text: str, names: Names) -> list[str]:
    """Return the lines that ``text`` may become: its last word finished in each way there is."""
    try:
        words = split(text)
    except FilterError:
        return []
    last = "" if not text or text[-1].isspace() else words.pop()
    mark = "!" if last.startswith("!") else ""
    typed = last.removeprefix("!")
    key, colon, value = typed.partition(":")
    if colon:
        *before, value = value.split(",")
        start = "".join(f"{each}," for each in before)
        wanted = value.strip("\"'")
        ends = [
            f"{key}:{start}{_quoted(each)}"
            for each in _values(key, names)
            if each.startswith(wanted) and each != wanted
        ]
    else:
        ends = [
            example[: len(each) + 1]
            for each, (example, _) in KEYS.items()
            if each.startswith(typed)
        ]
    return [" ".join([*words, mark + end]) for end in ends]


def _values(key: str, names: Names) -> Iterable[str]:
    if key == "comm":
        return sorted({printable(comm) for comm in names.comms if comm})
    if key == "site":
        places = {printable(site) for site in names.sites if site}
        return (*sorted({place.rsplit("/", 1)[-1] for place in places}), "any", "none")
    if key == "op":
        rows = names.operations(_MOST_OPERATIONS).tolist()
        return (*map(str, rows), *(f"#{row}" for row in rows))
    return _VALUES.get(key, ())


def _quoted(value: str) -> str:
    return f'"{value}"' if re.search(r"[\s']", value) else value


def _term(word: str, facts: Facts) -> Term:
    match = _TERM.fullmatch(word)
    if match is None:
        plain = word.removeprefix("!").strip("\"'")
        raise FilterError(f"{printable(word)}: say of what, such as comm:{printable(plain)}")
    negation, key, sign, value = match.groups()
    if key not in KEYS:
        raise FilterError(f"{key}: no such key; there are {', '.join(KEYS)}")
    sign = ":" if sign == "=" else sign
    if not value.strip("\"',"):
        raise FilterError(f"{key}: a value is missing, such as {KEYS[key][0]}")
    if sign != ":" and key not in RANGED:
        raise FilterError(f"{key} has no order: {KEYS[key][0]}")
    make = RANGED.get(key)
    try:
        if make is not None:
            names, test = make(sign, value, facts)
        else:
            values = tuple(part.strip("\"'") for part in _VALUE.findall(value))
            names, test = NAMED[key](values, facts)
            if key == "op":  # one text for one filter, so that it can be toggled
                value = ",".join(part.removeprefix("#") for part in values)
    except TermError as error:
        raise FilterError(f"{key}: {error}, such as {KEYS[key][0]}") from None
    return Term(f"{negation}{key}{sign}{value}", bool(negation), names, test)
