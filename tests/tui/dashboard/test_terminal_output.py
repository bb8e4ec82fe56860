# SPDX-License-Identifier: GPL-2.0-only
"""Output on a real terminal that reads, reads late, never reads, has gone away."""

import os
import pty
import select
import threading
import time
import tty
from collections.abc import Iterator
from contextlib import suppress
from typing import TextIO

import pytest

from tests.recordings.made import PATIENCE_S, wait_for
from tui.dashboard.terminal_output import LIMIT, TerminalOutput
from tui.dashboard.terminal_output import PATIENCE_S as WAITS_S

TEXT = "é" * 1000 + "\n"


@pytest.fixture
def terminal() -> Iterator[tuple[int, TextIO]]:
    """Yield what the terminal reads from, and the file that is written to."""
    main, side = pty.openpty()
    tty.setraw(side)
    file = open(side, "w", encoding="utf-8", errors="backslashreplace")  # noqa: PTH123, SIM115
    yield main, file
    with suppress(OSError):
        os.close(main)
    file.close()


def read(main: int, size: int) -> bytes:
    got = b""
    while len(got) < size:
        got += os.read(main, 1 << 16)
    return got


def never() -> None:
    raise AssertionError("nothing was dropped")


def test_all_is_written_in_order(terminal: tuple[int, TextIO]) -> None:
    main, file = terminal
    output = TerminalOutput(file, never)
    texts = [f"{number} {TEXT}" for number in range(10 * LIMIT)] + ["\udcff"]
    expected = "".join(texts).encode(errors="backslashreplace")
    writing = threading.Thread(target=lambda: [output.write(text) for text in texts])
    writing.start()
    assert read(main, len(expected)) == expected
    writing.join(PATIENCE_S)
    assert output.close()


def test_a_writer_waits_once_and_what_waited_is_whole(terminal: tuple[int, TextIO]) -> None:
    main, file = terminal
    taken = threading.Event()
    output = TerminalOutput(file, taken.set)
    began = time.monotonic()
    for _ in range(10 * LIMIT):
        output.write(TEXT)
    assert WAITS_S <= time.monotonic() - began < 5 * WAITS_S
    got = b""
    while not taken.is_set():  # else the whole would be waited for in vain
        if select.select([main], [], [], 0.05)[0]:  # it may be set after the last byte was read
            got += os.read(main, 1 << 16)
    output.write("end")
    while not got.endswith(b"end"):
        got += os.read(main, 1 << 16)
    texts = got.removesuffix(b"end").splitlines(keepends=True)
    assert set(texts) == {TEXT.encode()}
    assert LIMIT <= len(texts) < 2 * LIMIT
    assert output.close()


def test_what_is_given_up_makes_room_for_the_last_words(terminal: tuple[int, TextIO]) -> None:
    main, file = terminal
    output = TerminalOutput(file, never)
    for _ in range(LIMIT):
        output.write(TEXT)
    assert not output.close()
    assert output.give_up()
    wait_for(lambda: not output._thread.is_alive())
    os.write(file.fileno(), b"last words")
    got = b""
    while not got.endswith(b"last words"):
        got += os.read(main, 1 << 16)
    assert len(got) < LIMIT * len(TEXT.encode()) / 2


def test_nobody_is_there(terminal: tuple[int, TextIO]) -> None:
    main, file = terminal
    output = TerminalOutput(file, never)
    os.close(main)
    for _ in range(10 * LIMIT):
        output.write(TEXT)
    assert output.close()
