# SPDX-License-Identifier: GPL-2.0-only
"""What doctor prints: the result and the gaps first, each step where it is needed."""

import io
import json
import re

import pytest
from rich.cells import cell_len
from rich.console import Console

from recordings.reports.doctor_json import diagnosis_dict
from recordings.reports.doctor_text import render
from tracers.events import Kind
from tracers.live.doctor.examine import NO, OK, UNKNOWN, Check, Diagnosis, Trial
from tracers.live.probes.ladder import Attached
from tracers.live.probes.points import Probe, ProbeAddress, Rung
from tracers.machine import Machine
from tracers.window import Window

WINDOW = Window(0xFFFFFFFE00000000, 0xFFFFFFFF00000000)
ABSENT = "absent: this kernel has no such function (CONFIG_ZONE_DEVICE=n)"
HOSTILE = "\x1b]0;x\x07[bold]\u202e\u200b"


def seen(kind: Kind, function: str, rung: Rung = Rung.KPROBE, *, timed: bool = True, **more):
    symbol, offset = ("__add_pages", 0xAC) if rung is Rung.CALLSITE else (function, 0)
    entries = (ProbeAddress(symbol, offset, 4),)
    return Attached(kind, function, Probe(kind, rung, function, entries, timed=timed), **more)


NOTRACE = ((Rung.KPROBE, "Invalid argument (notrace)"),)
FREE = seen(Kind.FREE, "vmemmap_free")
ADD = seen(Kind.SECTION_ADD, "sparse_add_section", Rung.CALLSITE, refused=NOTRACE)
UNTIMED = seen(Kind.WARN, "__warn", timed=False, notes=("entry only: no slot",))
DERIVED = Attached(Kind.POPULATE, "vmemmap_populate", None, NOTRACE, derived=True)
UNSEEN = Attached(Kind.MEMUNMAP, "memunmap_pages", None, ((Rung.KPROBE, "refused"),))
GONE = Attached(Kind.MEMREMAP, "memremap_pages", None, absent=True)


def diagnosis(*attached: Attached, checks=(), window: Window | None = WINDOW, **more) -> Diagnosis:
    trials = (
        Trial("bcc", failed="BCC is not installed"),
        Trial("tracefs", attached) if attached else Trial("tracefs", failed="not mounted"),
    )
    machine = Machine(window=window, **more)
    return Diagnosis("6.1.192-vmemlab", "aarch64", tuple(checks), trials, machine)


def shown(told: Diagnosis, distribution: str | None = None, *, width=80, terminal=False) -> str:
    out = io.StringIO()
    colours = "truecolor" if terminal else None
    console = Console(file=out, width=width, force_terminal=terminal, color_system=colours)
    render(console, told, distribution)
    return out.getvalue()


def words(told: Diagnosis, *args, **options) -> str:
    return " ".join(shown(told, *args, **options).split())


def answer(told: Diagnosis) -> str:
    """All that stands before the kernel's line, in one line."""
    return " ".join(shown(told).partition("\nkernel ")[0].split())


# -- the answer ----------------------------------------------------------------------------------


def test_ready():
    told = diagnosis(FREE, ADD, GONE)
    assert answer(told) == "READY live capture by engine tracefs: every call is seen and timed"
    assert told.exit_code == 0


def test_not_possible():
    told = diagnosis()
    assert answer(told) == "NOT POSSIBLE no engine works here: see below"
    assert told.exit_code == 2


@pytest.mark.parametrize(
    ("told", "gaps"),
    [
        (diagnosis(FREE, UNSEEN), "not seen: memunmap_pages"),
        (diagnosis(DERIVED, FREE), "only derived: vmemmap_populate"),
        (diagnosis(UNTIMED, FREE), "not timed: __warn"),
        (
            diagnosis(DERIVED, UNTIMED, seen(Kind.FREE, "vmemmap_free", timed=False), UNSEEN),
            (
                "only derived: vmemmap_populate; not timed: __warn, vmemmap_free;"
                " not seen: memunmap_pages"
            ),
        ),
        (diagnosis(FREE, window=None), "the window is not known"),
        (diagnosis(FREE, agree=False), "the window's sources contradict"),
        (
            diagnosis(UNSEEN, FREE, window=None),
            "not seen: memunmap_pages; the window is not known",
        ),
    ],
)
def test_gaps_are_named_first(told, gaps):
    assert answer(told) == f"WITH GAPS live capture by engine tracefs; {gaps}"
    assert told.exit_code == 3


# -- the points ----------------------------------------------------------------------------------


def test_each_point_and_why_it_is_not_on_the_first_rung():
    lines = shown(diagnosis(FREE, ADD, UNTIMED)).splitlines()
    at = lines.index("Engine tracefs")
    assert lines[at + 1 : at + 5] == [
        "  vmemmap_free  kprobe entry+return",
        "  sparse_add_section  callsite entry+return (bl at __add_pages+0xac)",
        "      kprobe: Invalid argument (notrace)",
        "  __warn  kprobe entry; entry only: no slot",
    ]
    at = lines.index("Engine bcc")
    assert lines[at + 1] == "no   BCC is not installed"


def test_a_function_that_does_not_exist_is_said_so_once():
    text = words(diagnosis(FREE, GONE))
    assert f"memremap_pages {ABSENT}" in text
    assert text.count("memremap_pages") == text.count("no such function") == 1
    assert "inlined or absent" not in text


def test_why_a_point_is_not_seen_is_said_once():
    text = words(diagnosis(UNSEEN, DERIVED))
    assert "memunmap_pages no: kprobe: refused" in text
    assert "vmemmap_populate derived from __add_pages (kprobe: Invalid argument (notrace))" in text
    assert text.count("refused") == text.count("notrace") == 1


# -- the checks ----------------------------------------------------------------------------------

OWN = {"debian": "apt install x", "ubuntu": "apt install y", "fedora": "dnf install x"}
CHECKS = (
    Check("BTF", OK, "there", {"": "a step nobody needs"}),
    Check("BCC", NO, "is missing", OWN),
    Check("lockdown", UNKNOWN, "not mounted"),
    Check("kernel text", NO, "cannot be read", {"": "--vmlinux FILE", **OWN}),
)


def after_bcc(text: str) -> list[str]:
    lines = text.splitlines()
    at = lines.index("BCC          no      is missing")
    steps = [line.strip() for line in lines[at + 1 :]]
    return steps[: next(n for n, line in enumerate(steps) if not line.startswith("→"))]


def test_each_no_is_followed_by_its_step():
    text = shown(diagnosis(FREE, checks=CHECKS), "debian")
    assert text.splitlines()[-7:] == [
        "BTF          ok      there",
        "BCC          no      is missing",
        "             → debian: apt install x",
        "lockdown     unknown not mounted",
        "kernel text  no      cannot be read",
        "             → --vmlinux FILE",
        "             → debian: apt install x",
    ]


@pytest.mark.parametrize(
    ("distribution", "steps"),
    [
        ("debian", ["→ debian: apt install x"]),
        ("fedora", ["→ fedora: dnf install x"]),
        (
            None,
            ["→ debian: apt install x", "→ ubuntu: apt install y", "→ fedora: dnf install x"],
        ),
    ],
)
def test_only_this_distributions_steps_where_it_is_known(distribution, steps):
    assert after_bcc(shown(diagnosis(FREE, checks=CHECKS), distribution)) == steps


# -- paper and JSON ------------------------------------------------------------------------------


def hostile() -> Diagnosis:
    point = Attached(Kind.FREE, HOSTILE, None, ((Rung.KPROBE, HOSTILE),))
    late = seen(Kind.WARN, HOSTILE, notes=(HOSTILE,), refused=((Rung.KPROBE, HOSTILE),))
    return Diagnosis(
        HOSTILE,
        HOSTILE,
        (Check("window", NO, HOSTILE, {"": HOSTILE}),),
        (Trial("bcc", failed=HOSTILE), Trial("tracefs", (point, late), (HOSTILE,))),
        Machine(window=WINDOW),
    )


@pytest.mark.parametrize("terminal", [False, True])
def test_a_kernels_text_cannot_reach_the_terminal(terminal):
    text = shown(hostile(), width=400, terminal=terminal)
    assert text.count(r"\x1b]0;x\x07[bold]\u202e\u200b") >= 9
    assert not re.search("[\x07\u202e\u200b]", text)
    assert not re.search(r"\x1b(?!\[[0-9;]*m)", text)


@pytest.mark.parametrize("width", [40, 80, 160])
@pytest.mark.parametrize(
    "told", [hostile(), diagnosis(DERIVED, ADD, GONE, checks=CHECKS)], ids=["hostile", "gaps"]
)
def test_no_line_is_wider_than_the_screen(told, width):
    assert max(map(cell_len, shown(told, width=width).splitlines())) <= width


def test_piped_text_is_plain_and_a_terminal_gets_the_same_words():
    told = diagnosis(DERIVED, FREE, GONE, checks=CHECKS)
    plain = shown(told)
    assert "\x1b" not in plain
    assert not re.search(r" $", plain, re.MULTILINE)
    coloured = shown(told, terminal=True)
    assert "\x1b[1;33mWITH GAPS" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured).split() == plain.split()


def test_json_says_the_same():
    told = json.loads(json.dumps(diagnosis_dict(diagnosis(DERIVED, ADD, GONE, checks=CHECKS))))
    assert (told["release"], told["arch"]) == ("6.1.192-vmemlab", "aarch64")
    assert (told["exit_code"], told["engine"]) == (3, "tracefs")
    assert told["gaps"] == ["only derived: vmemmap_populate"]
    assert told["checks"][1] == {"name": "BCC", "status": "no", "said": "is missing", "steps": OWN}
    bcc, tracefs = told["engines"]
    assert bcc == {
        "engine": "bcc",
        "failed": "BCC is not installed",
        "sees": None,
        "notes": [],
        "points": [],
    }
    assert tracefs["failed"] is None
    derived, add, gone = tracefs["points"]
    assert (derived["kind"], derived["rung"], derived["absent"]) == (
        "vmemmap_populate",
        "derived",
        False,
    )
    assert derived["refused"] == {"kprobe": "Invalid argument (notrace)"}
    assert (add["rung"], add["function"]) == ("callsite", "sparse_add_section")
    assert gone == {
        "kind": "memremap_pages",
        "function": "memremap_pages",
        "how": ABSENT,
        "rung": None,
        "absent": True,
        "refused": {},
    }
    assert diagnosis_dict(diagnosis())["engine"] is None


def test_an_engine_that_attaches_nothing_says_what_it_sees():
    trials = (Trial("tracefs", failed="not mounted"), Trial("kmsg", sees="WARNs of the log"))
    told = Diagnosis("6.1.192-vmemlab", "aarch64", (), trials, Machine(window=WINDOW))
    text = words(told)
    assert text.startswith(
        "WITH GAPS live capture by engine kmsg; only calls that warn are seen, and none is timed"
    )
    assert "Engine kmsg WARNs of the log" in text
    assert diagnosis_dict(told)["engines"][1]["sees"] == "WARNs of the log"
