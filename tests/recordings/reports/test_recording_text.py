# SPDX-License-Identifier: GPL-2.0-only
"""The text report: the first line, the width, and escaping of the kernel's text."""

import io
import re

import pytest
from rich.cells import cell_len
from rich.console import Console

from recordings.format.header import Header
from recordings.ledger.ledger import Ledger
from recordings.reports.recording_text import render
from tests.recordings import plain
from tracers.batch import Losses
from tracers.machine import Machine, read_machine

HOSTILE = "\x1b]0;x\x07[bold]\u202e\u200b" + "x" * 300


def shown(machine, snapshot, *, width=80, terminal=False):
    out = io.StringIO()
    colours = "truecolor" if terminal else None
    console = Console(file=out, width=width, force_terminal=terminal, color_system=colours)
    render(console, Header(machine=machine), snapshot)
    return out.getvalue()


def capture(captures, kernel, scene, *, drop=0, losses=None):
    machine = read_machine(captures / kernel)
    rows = plain.read_trace(captures / kernel / f"{scene}.ftrace.txt")
    if all(row["kind"] != "populate" for row in rows):
        rows = plain.derived(rows, plain.read_note(captures / kernel / "kcore-vmcoreinfo"))
    ledger = Ledger(machine.window, machine.layout)
    ledger.fold(plain.batch(rows[: len(rows) - drop]))
    ledger.add_losses(losses or Losses())
    return machine, ledger.snapshot(final=True)


def hostile():
    """A recording in which every text is an attack on the terminal."""
    who = {"tid": 1, "comm": HOSTILE, "source": "kprobe"}
    rows = [
        {"ts_ns": 1, "kind": "memremap", "phase": "entry"} | who,
        {"ts_ns": 2, "kind": "warn", "phase": "entry", "site": HOSTILE, "line": 5} | who,
    ]
    ledger = Ledger(None, None)
    ledger.fold(plain.batch(rows))
    machine = Machine(release=HOSTILE, build_id=HOSTILE, problems=(HOSTILE,))
    return machine, ledger.snapshot(final=True)


def test_the_first_line_is_the_answer(captures):
    machine, storm = capture(captures, "6.1.192-vmemlab-39bit", "hole")
    assert shown(machine, storm).splitlines()[0] == (
        "OUT OF RANGE  256 of 256 calls outside the window; 256 WARNs cost 119.9 ms"
    )
    machine, once = capture(captures, "6.1.192-vmemlab-once-39bit", "hole")
    assert "; 2 WARNs cost 2.322 ms, 254 suppressed" in " ".join(shown(machine, once).split())
    machine, clean = capture(captures, "6.12.117-vmemlab-48bit", "in-range")
    first = shown(machine, clean).splitlines()[0]
    assert first == "CLEAN  all 32 calls lie inside the window; no WARN seen"
    machine, torn = capture(captures, "6.12.117-vmemlab-48bit", "below", losses=Losses(torn=2))
    assert shown(machine, torn).startswith("INCONCLUSIVE  Something is missing (2 torn records)")


def test_the_storm_in_full(captures):
    machine, storm = capture(captures, "6.1.192-vmemlab-39bit", "hole")
    text = shown(machine, storm)
    for part in (
        "6.1.192-vmemlab",
        "0xfffffffe00000000 - 0xffffffff00000000 (vmcoreinfo)",
        "128 populate, 128 free (128 derived†, not observed)",
        "256 above",
        "0xffffffff3f000000 - 0xffffffff4f000000 above, on unused, 256 calls",
        "128 populated and freed",
    ):
        assert part in text
    assert re.search(r"mmu\.c:1222 +128 +52\.13 ms$", text, re.MULTILINE)
    assert re.search(r"mmu\.c:1268 +128 +67\.77 ms$", text, re.MULTILINE)
    assert re.search(r"^  __add_pages +1 +57\.17 ms", text, re.MULTILINE)
    assert re.search(
        r"^  memremap_pages +insmod-68 +\+0 ns +128† +128 +776\.6 ms +7 %$", text, re.MULTILINE
    )
    assert "timing no sparse_add_section event" in " ".join(text.split())


def test_a_crash_inside_a_call_is_told(captures):
    machine, cut = capture(captures, "6.1.192-vmemlab-39bit", "hole", drop=3)
    text = shown(machine, cut)
    assert "3 calls have no end in this recording" in text
    assert "memunmap_pages by rmmod-69, began at +837.3 ms" in text
    assert re.search(r"rmmod-69 .* unfinished +67\.77 ms$", text, re.MULTILINE)


@pytest.mark.parametrize("width", [30, 60, 80, 160])
def test_no_line_is_wider_than_the_screen(captures, width):
    for machine, snapshot in (capture(captures, "6.1.192-vmemlab-39bit", "hole"), hostile()):
        lines = shown(machine, snapshot, width=width).splitlines()
        assert max(map(cell_len, lines)) <= width


def test_piped_text_is_plain(captures):
    text = shown(*capture(captures, "6.1.192-vmemlab-39bit", "hole"))
    assert "\x1b" not in text
    assert not re.search(r"[─━│┃┌╭]", text)
    assert not re.search(r" $", text, re.MULTILINE)


def test_a_terminal_gets_the_same_words(captures):
    storm = capture(captures, "6.1.192-vmemlab-39bit", "hole")
    text = shown(*storm, terminal=True)
    assert "\x1b[1;31mOUT OF RANGE" in text
    words = re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert words.split() == shown(*storm).split()


@pytest.mark.parametrize("terminal", [False, True])
def test_a_kernels_text_cannot_reach_the_terminal(terminal):
    text = shown(*hostile(), width=200, terminal=terminal)
    assert r"\x1b]0;x\x07[bold]\u202e\u200b" in text
    assert not re.search("[\x07\u202e\u200b]", text)
    assert not re.search(r"\x1b(?!\[[0-9;]*m)", text)  # colours and nothing else


def test_nothing_known():
    snapshot = Ledger(None, None).snapshot(final=True)
    text = shown(Machine(), snapshot)
    assert text.startswith("INCONCLUSIVE  The window is not known")
    assert "No populate or free call is in this recording." in text
    assert "kernel     not known" in text


def test_closing_notes_are_shown_and_not_obeyed():
    out = io.StringIO()
    snapshot = Ledger(None, None).snapshot(final=True)
    console = Console(file=out, width=80, color_system=None)
    render(console, Header(), snapshot, closing=("WARNs by witness: 2 and 2", HOSTILE))
    assert "at the end WARNs by witness: 2 and 2\n" in out.getvalue()
    assert "\x1b" not in out.getvalue()
    assert r"\x1b]0;x\x07[bold]" in out.getvalue()
    assert all(cell_len(line) <= 80 for line in out.getvalue().splitlines())
