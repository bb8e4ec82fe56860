# SPDX-License-Identifier: GPL-2.0-only
"""Entries and exits are paired as a stack per thread would pair them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tracers.live.tracefs.whole_calls import EntryExitPairs

ROWS = st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.booleans()), max_size=60)


def by_hand(rows: list[tuple[int, bool, bool]]) -> list[bool]:
    under_way: dict[int, list[bool]] = {}
    kept = []
    for key, entry, wanted in rows:
        stack = under_way.setdefault(key, [])
        if entry:
            stack.append(wanted)
            kept.append(wanted)
        else:
            kept.append(stack.pop() if stack else False)
    return kept


@given(ROWS, st.lists(st.integers(0, 60), max_size=4))
def test_an_exit_goes_the_way_of_its_entry(
    rows: list[tuple[int, bool, bool]], cuts: list[int]
) -> None:
    pairs, kept = EntryExitPairs(), []
    ends = sorted({*(cut for cut in cuts if cut < len(rows)), len(rows)})
    for first, last in zip([0, *ends], ends, strict=False):
        key, entry, wanted = (
            np.array([row[part] for row in rows[first:last]], kind)
            for part, kind in enumerate((np.int64, np.bool_, np.bool_))
        )
        kept += pairs.choose(key, entry, wanted).tolist()
    assert kept == by_hand(rows)


def test_nothing_to_choose_from() -> None:
    none = np.zeros(0, np.bool_)
    assert len(EntryExitPairs().choose(np.zeros(0, np.int64), none, none)) == 0
