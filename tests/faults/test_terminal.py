# SPDX-License-Identifier: GPL-2.0-only
"""The dashboard on a real terminal: it ends when it shall, and leaves the terminal as it was.

The terminal goes away, cannot draw, has no size or an absurd one, says nonsense, is flooded with
keys and pastes; signals come.
"""

import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from benchmarks.grow import grow
from recordings.samples import sample_path
from tests.recordings.made import wait_for
from tests.tui.processes import command, whole
from tests.tui.terminals import Terminal
from tui.dashboard.input_queue import PASTE_S
from tui.dashboard.terminal import MAX_SIZE

REPLAY = [sys.executable, "-m", "vmemscope", "replay"]
#: What the dashboard shows as soon as it hears keys.
SHOWN = b"OUT OF RANGE"
#: What it turns on, and must turn off: alternate screen, mouse, focus, pastes, wrapping, keyboard.
TURNED_OFF = [b"\x1b[?%dl" % mode for mode in (1049, 1000, 1003, 1015, 1006, 1004, 2004)]
TURNED_ON_AGAIN = [b"\x1b[?7h", b"\x1b[<u", b"\x1b[?25h"]


def replay(*args: str | Path, **options) -> Terminal:
    """Open the dashboard on the storm, paused, and wait for it."""
    terminal = Terminal([*REPLAY, *map(str, args), "--paused"], **options)
    terminal.until(SHOWN)
    terminal.until_still(0.2)
    return terminal


def live(*args: object) -> Terminal:
    terminal = Terminal(command({"rate": 2000, "rounds": None}, "live", *args))
    terminal.until(b"LIVE")
    return terminal


def assert_given_back(terminal: Terminal) -> None:
    assert terminal.as_it_was()
    # One that is only stopped has written it all; our side may not have read it yet.
    wait_for(lambda: all(code in terminal.output[-2000:] for code in TURNED_OFF + TURNED_ON_AGAIN))
    assert b"Traceback" not in terminal.output


# -- the terminal goes away -------------------------------------------------------------------


@pytest.mark.parametrize(
    "how", [{}, {"leads": False}, {"ignored": signal.SIGHUP}], ids=["shell", "make", "ignored"]
)
def test_a_terminal_that_went_away_ends_it_as_sighup_does(how):
    with replay(**how) as terminal:
        terminal.hang_up()
        assert terminal.ended() == 129


def test_so_it_does_while_it_plays_and_help_is_open():
    with replay(leads=False) as terminal:
        terminal.send(b" ?")
        terminal.until(b"pause and go on")
        terminal.hang_up()
        assert terminal.ended() == 129


@pytest.mark.parametrize("leads", [True, False])
def test_a_live_capture_ends_with_a_whole_file(tmp_path, leads):
    path = tmp_path / "a.arrows"
    spec = {"rate": 2000, "rounds": None}
    with Terminal(command(spec, "live", "-o", path), leads=leads) as terminal:
        terminal.until(b"LIVE")
        wait_for(lambda: path.stat().st_size > 20_000)
        terminal.hang_up()
        assert terminal.ended() == 1  # the verdict's
    assert whole(path).ended == "SIGHUP"


# -- signals ----------------------------------------------------------------------------------

STOPPING = [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT]
ENDING = [*STOPPING, signal.SIGUSR1, signal.SIGALRM]


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_leaves_the_terminal_as_it_was(number):
    with replay() as terminal:
        terminal.send(b" ?")  # it plays, and help opens
        terminal.process.send_signal(number)
        assert terminal.ended() == 128 + number
        assert_given_back(terminal)


@pytest.mark.parametrize(
    ("number", "code"), [*((number, 1) for number in STOPPING), (signal.SIGUSR1, 138)]
)
def test_a_live_capture_leaves_it_so_too(number, code):
    with live() as terminal:
        terminal.process.send_signal(number)
        assert terminal.ended() == code
        assert_given_back(terminal)


def test_a_signal_that_is_ignored_stays_ignored():
    with replay(ignored=signal.SIGHUP) as terminal:
        terminal.process.send_signal(signal.SIGHUP)
        terminal.send(b"?")
        terminal.until(b"pause and go on")
        terminal.send(b"q")
        terminal.send(b"\x03")
        assert terminal.ended() == 0
        assert_given_back(terminal)


def stopped(terminal: Terminal) -> bool:
    stat = Path(f"/proc/{terminal.process.pid}/stat").read_text()
    return stat.rpartition(")")[2].split()[0] == "T"


@pytest.mark.parametrize("ends", [False, True], ids=["goes on", "ends"])
def test_it_can_be_stopped_and_go_on(ends):
    with replay() as terminal:
        terminal.process.send_signal(signal.SIGTSTP)
        wait_for(lambda: stopped(terminal))
        assert_given_back(terminal)
        if ends:  # as a shell's kill %1
            terminal.process.send_signal(signal.SIGTERM)
        drawn = len(terminal.output)
        terminal.process.send_signal(signal.SIGCONT)
        if not ends:
            wait_for(lambda: SHOWN in terminal.output[drawn:])
            terminal.send(b"q")
        assert terminal.ended() == (143 if ends else 0)
        assert terminal.as_it_was()


# -- what kind of terminal --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["dumb", "unknown", "DUMB"])
@pytest.mark.parametrize("what", ["replay", "live"])
def test_a_terminal_that_cannot_draw_is_told_what_can(name, what):
    way_out = {"replay": b"vmemscope report", "live": b"vmemscope record"}[what]
    with Terminal(command({}, what), environment={"TERM": name}) as terminal:
        assert terminal.ended() == 2
        assert b"draws on a terminal" in terminal.output
        assert b"TERM=" + name.encode() in terminal.output
        assert way_out in terminal.output
        assert terminal.output.count(b"\n") == 1
        assert b"\x1b" not in terminal.output


SIZES = [(0, 0), (80, 0), (0, 24), (1, 1), (1, 65535), (65535, 1), (65535, 65535)]
VARIABLES = [
    {"COLUMNS": "999999"},
    {"LINES": "999999"},
    {"COLUMNS": "0", "LINES": "0"},
    {"COLUMNS": "-1"},
    {"COLUMNS": "many"},
    {"COLUMNS": "9" * 40},
]


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_any_size_is_drawn_once_and_hears_keys(size):
    with Terminal([*REPLAY, "--paused"], size=size) as terminal:
        terminal.until(b"\x1b[?1049h")
        terminal.until_still()
        terminal.send(b"q")
        assert terminal.ended() == 0
        assert_given_back(terminal)


@pytest.mark.parametrize("variables", VARIABLES, ids=str)
def test_sizes_that_cannot_be_are_not_taken_from_variables(variables):
    with Terminal([*REPLAY, "--paused"], environment=variables) as terminal:
        terminal.until(SHOWN)
        terminal.until_still()
        assert b"\x1b[24;" in terminal.output
        assert b"\x1b[25;" not in terminal.output
        terminal.send(b"q")
        assert terminal.ended() == 0


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_it_can_become_any_size(size):
    with replay() as terminal:
        for _ in range(3):
            terminal.resize(size)
            terminal.resize((80, 24))
        terminal.resize(size)
        terminal.until_still()
        drawn = len(terminal.output)
        terminal.resize((80, 25))
        wait_for(lambda: SHOWN in terminal.output[drawn:])
        terminal.until_still()
        terminal.send(b"q")
        assert terminal.ended() == 0


def test_what_the_terminal_says_of_its_size_is_clamped_too():
    """Resizes may come in band, as text (mode 2048)."""
    with replay() as terminal:
        terminal.send(b"\x1b[48;99999;99999;1;1t")
        terminal.until_still()
        assert b"\x1b[%d;" % MAX_SIZE.height in terminal.output
        assert b"\x1b[%d;" % (MAX_SIZE.height + 1) not in terminal.output
        terminal.send(b"q")
        assert terminal.ended() == 0


# -- what is typed ----------------------------------------------------------------------------

MOVES = b"".join(b"\x1b[<35;%d;%dM" % (i % 80 + 1, i % 24 + 1) for i in range(3000))
FLOODS = {
    "help": b"?" * 400,
    "themes": b"t" * 400,
    "hits": b"n" * 3000,
    "moves": MOVES,
    "drags": MOVES.replace(b"<35", b"<32"),
    "clicks": b"\x1b[<0;9;9M\x1b[<0;9;9m" * 3000,
    "wheel": b"\x1b[<65;9;20M\x1b[<64;9;20M" * 1500,
    "paste": b"\x1b[200~" + b"x" * 1_000_000 + b"\x1b[201~",
    "pasted as typed": b"x" * 1_000_000,
    "arrows": b"\x1b[A\x1b[B\x1b[C\x1b[D" * 1000,
}


@pytest.mark.parametrize("flood", FLOODS)
def test_who_wants_out_need_not_wait_for_what_was_typed_before(flood):
    with replay() as terminal:
        terminal.send(FLOODS[flood] + b"q")
        assert terminal.ended() == 0
        assert_given_back(terminal)


@pytest.mark.parametrize("key", [b"\x03", b"\x1b[99;5u", b"\x1b[113;;113u"])
def test_so_it_is_with_ctrl_c_and_with_kittys_keys(key):
    with replay() as terminal:
        terminal.send(FLOODS["help"] + key)
        assert terminal.ended() == 0
        assert_given_back(terminal)


def test_a_key_in_a_paste_is_none():
    with replay() as terminal:
        terminal.send(b"\x1b[200~ q \x03 q" + b"q" * 5000 + b"\x1b[201~?")
        terminal.until(b"pause and go on")
        terminal.send(b"q")  # of the help
        terminal.until_still()
        assert terminal.process.poll() is None
        terminal.send(b"q")
        assert terminal.ended() == 0


def test_a_paste_without_end_does_not_take_the_keys_for_ever():
    with replay() as terminal:
        terminal.send(b"\x1b[200~qqqq")
        terminal.until_still(2 * PASTE_S)
        assert terminal.process.poll() is None
        terminal.send(b"q")
        assert terminal.ended() == 0


GARBLED = [
    b"\xff\xfe\x80 \xc3",  # no UTF-8
    b"\x1b[9999999999;1u",  # a key beyond Unicode: chr() cannot
    b"\x1b[1114112u",
    b"\x1b[:;:u",
    b"\x1b[99999999999R",
    b"\x1b[48;0;0;0;0t\x1b[<35;5;5M",  # the mouse in pixels of a screen without any
    b"\x1b[<0;99999;99999M\x1b[<0;99999;99999m",
    b"\x1b[" + b"9" * 5000 + b"u",
    b"\x1b",
    b"\x1b[",
    b"\x1b[M\xf0\xf0",
    b"\x00" * 100,
]


@pytest.mark.parametrize("text", GARBLED, ids=lambda text: repr(text[:20]))
def test_nothing_that_is_typed_breaks_it(text):
    with replay() as terminal:
        terminal.send(text)
        terminal.until_still()
        terminal.send(b"?")
        terminal.until(b"pause and go on")
        terminal.send(b"q")
        terminal.until_still()
        terminal.send(b"q")
        assert terminal.ended() == 0
        assert_given_back(terminal)


# -- all at once ------------------------------------------------------------------------------

KEYS = [
    b"?",
    b"p",
    b"t",
    b"v",
    b"n",
    b"N",
    b" ",
    b"+",
    b"-",
    b",",
    b".",
    b"\t",
    b"\r",
    b"Q",
    b"[",
    b"]",
    b"f",
    b"5",
]
KEYS += [b"\x1b[A", b"\x1b[B", b"\x1b[C", b"\x1b[D", b"\x1b[H", b"\x1b[F", b"\x1b[1;2C", b"\x1b"]
BUTTONS = [0, 32, 35, 64, 65]
PLACES = [(80, 24), (160, 50), (71, 22), (1, 1), (300, 100), (0, 0), (65535, 65535)]


def something(chance: random.Random) -> bytes:
    """Return what may be typed: keys, mouse events, a paste, nonsense; nothing that leaves."""
    x, y = chance.randint(1, 200), chance.randint(1, 60)
    mouse = b"\x1b[<%d;%d;%d%c" % (chance.choice(BUTTONS), x, y, chance.choice(b"Mm"))
    nonsense = chance.randbytes(3).translate(None, b"q\x03\x11")  # q, ctrl+c, ctrl+q
    paste = b"\x1b[200~q\x03q\x1b[201~"
    one = chance.choice([*KEYS, *[mouse] * len(KEYS), nonsense, paste])
    return one * chance.choice([1, 1, 1, 3, 30])


def use(terminal: Terminal, seconds: float, seed: int) -> float:
    """Type, click and resize at random, then q; return how long that took, in seconds."""
    chance = random.Random(seed)  # noqa: S311 (no secret)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        terminal.send(something(chance))
        if chance.random() < 0.05:
            terminal.resize(chance.choice(PLACES))
        time.sleep(chance.choice([0, 0, 0.01, 0.1]))
        assert terminal.process.poll() is None, terminal.output[-2000:]
    asked = time.monotonic()
    terminal.send(b"q")
    with suppress(subprocess.TimeoutExpired):
        terminal.process.wait(1.5)
        return time.monotonic() - asked
    asked = time.monotonic()
    terminal.send(b"q")  # the first closed what was open
    assert terminal.ended() == 0
    return time.monotonic() - asked


@pytest.mark.parametrize("seed", range(3))
def test_used_at_random_it_can_always_be_left(seed):
    with Terminal(REPLAY) as terminal:
        terminal.until(b"\x1b[?1049h")
        use(terminal, 5, seed)
        assert terminal.ended() == 0
        assert_given_back(terminal)


@pytest.mark.long
@pytest.mark.parametrize("events", [904, 5_000_000])
def test_used_at_random_for_a_minute_it_can_be_left_at_once(tmp_path, events, capsys):
    path = tmp_path / "a.arrows"
    grow(sample_path("storm"), path, events)
    with Terminal([*REPLAY, path]) as terminal:
        terminal.until(b"\x1b[?1049h")
        took = use(terminal, 60, events)
        assert terminal.ended() == 0
        assert_given_back(terminal)
    with capsys.disabled():
        print(f"\n{events} events: gone {took:.2f} s after q")  # noqa: T201


# -- errors and signals -----------------------------------------------------------------------

CRASH = """
import sys
from tui.widgets.headline import Headline as Panel
def broken(*_, **__): raise ZeroDivisionError("while drawing")
Panel.facts = Panel.render_line = broken
sys.argv = ["vmemscope", "replay"]
from tui.program import main
main()
"""


def test_an_error_in_drawing_is_one_line_and_no_verdict():
    with Terminal([sys.executable, "-c", CRASH]) as terminal:
        assert terminal.ended() == 2
        assert_given_back(terminal)
        told = terminal.output.rpartition(b"\x1b[?25h")[2]
        assert b"unexpected error, please report it: ZeroDivisionError: while drawing" in told


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_at_random_moments_of_the_start(number):
    rng = random.Random(number)  # noqa: S311 (no secret)
    for _ in range(5):
        with Terminal(REPLAY) as terminal:
            time.sleep(rng.uniform(0, 2))
            terminal.process.send_signal(number)
            assert terminal.ended() in {128 + number, -number, 0 if number == 2 else 128 + number}
            assert terminal.as_it_was()
