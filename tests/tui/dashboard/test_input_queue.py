# SPDX-License-Identifier: GPL-2.0-only
"""What waits of what was typed, in whatever pieces it comes, and who is heard ahead of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.dashboard.input_queue import LIMIT, LONG, PASTE_S, PASTED, SEQUENCE_S, InputQueue

ESC = "\x1b"
MOVE, DRAG, WHEEL, PRESS = (f"{ESC}[<{code};7;9M" for code in (35, 32, 65, 0))
WHOLE = [
    *("a", "?", "\t", "\r", "é", "\x7f"),
    *(f"{ESC}[A", f"{ESC}[1;2C", f"{ESC}OP", f"{ESC}x", f"{ESC}[97;5u", f"{ESC}[?2026;2$y"),
    *(f"{ESC}[Mqqq", f"{ESC}[M\x03q\x1b", WHEEL, PRESS, f"{ESC}[I"),
    f"{ESC}[200~q\x03{ESC}[A{ESC}[201~",
]


def queue(*pieces: str) -> InputQueue:
    waiting = InputQueue()
    for piece in pieces:
        waiting.put(piece)
    return waiting


def units(waiting: InputQueue) -> list[str]:
    return list(iter(waiting.get, None))


@given(st.lists(st.sampled_from(WHOLE), max_size=LIMIT), st.lists(st.integers(1, 9)))
def test_units_come_out_as_they_went_in_however_they_were_cut(typed, sizes):
    text, pieces = "".join(typed), []
    for size in sizes:
        pieces.append(text[:size])
        text = text[size:]
    waiting = queue(*pieces, text)
    assert not waiting.unfinished
    assert not waiting.wants_out
    assert units(waiting) == typed


@given(st.text(st.sampled_from(f"{ESC}[O<M;0123~qux\x03\x7fé200~201~"), max_size=500), st.data())
def test_whatever_comes_it_is_bounded_and_the_cuts_do_not_matter(text, data):
    cut = data.draw(st.integers(0, len(text)))
    whole, cut_once = queue(text), queue(text[:cut], text[cut:])
    assert whole.wants_out == cut_once.wants_out
    for waiting in (whole, cut_once):
        waiting.quiet(PASTE_S)
        assert not waiting.unfinished
        assert len(waiting) <= LIMIT
    assert units(whole) == units(cut_once)


def test_of_movements_the_last_waits_and_of_anything_else_what_came_first():
    assert units(queue(MOVE * 9 + DRAG)) == [DRAG]
    assert units(queue(MOVE + PRESS + MOVE + MOVE)) == [MOVE, PRESS, MOVE]
    assert units(queue("ab" * LIMIT)) == list("ab" * (LIMIT // 2))
    assert units(queue(WHEEL * 2 * LIMIT)) == [WHEEL] * LIMIT
    paste = f"{ESC}[200~x{ESC}[201~"
    assert units(queue(paste * 2 * LIMIT)) == [paste] * LIMIT


def test_a_size_is_never_dropped():
    first, last = f"{ESC}[48;24;80;1;1t", f"{ESC}[48;25;80;1;1t"
    assert units(queue("a" * 2 * LIMIT + first + "a" + last)) == ["a"] * LIMIT + [last]


def test_a_long_paste_is_cut():
    (paste,) = units(queue(f"{ESC}[200~", *["x" * 1000] * 1000, f"{ESC}[20", "1~"))
    assert paste == f"{ESC}[200~{'x' * PASTED}{ESC}[201~"


@pytest.mark.parametrize("key", ["\x03", f"{ESC}[99;5u", f"{ESC}[99;133u", f"{ESC}[99;69;u"])
def test_ctrl_c_is_heard_at_once(key):
    assert queue(key).wants_out
    assert queue("?", key).wants_out
    assert not queue(f"{ESC}[200~{key}{ESC}[201~").wants_out


@pytest.mark.parametrize("key", ["q", f"{ESC}[113u", f"{ESC}[113;1;113u", f"{ESC}[113;129;113u"])
@pytest.mark.parametrize("before", ["?", f"{ESC}[A", PRESS])
def test_q_is_heard_ahead_of_a_long_queue_only(key, before):
    assert queue(before * LONG + key).wants_out
    assert queue(before * 9999, key).wants_out
    short = queue(before * (LONG - 1) + key)
    assert not short.wants_out
    assert units(short)[-1] == key
    assert not queue(before * LONG + f"{ESC}[200~{key}{ESC}[201~").wants_out


@pytest.mark.parametrize("key", ["Q", f"{ESC}q", f"{ESC}[113;5u", f"{ESC}[99;1u", f"{ESC}[97;5u"])
def test_no_other_key_is_taken_for_it(key):
    assert not queue("?" * LIMIT + key).wants_out


def test_what_was_begun_is_what_it_is_once_nothing_more_comes():
    waiting = queue(ESC)
    assert waiting.unfinished
    waiting.quiet(SEQUENCE_S / 2)
    assert units(waiting) == []
    waiting.quiet(SEQUENCE_S)
    assert units(waiting) == [ESC]
    waiting = queue(f"{ESC}[200~q", "q")
    waiting.quiet(PASTE_S / 2)
    assert waiting.unfinished
    waiting.quiet(PASTE_S)
    waiting.put("a")
    assert units(waiting) == [f"{ESC}[200~qq{ESC}[201~", "a"]
