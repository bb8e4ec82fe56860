# SPDX-License-Identifier: GPL-2.0-only
"""The application goes on when its terminal has gone away."""

import os
import pty

from textual.drivers._writer_thread import MAX_QUEUED_WRITES, WriterThread
from textual.drivers.linux_driver import LinuxDriver

from tui.dashboard.app import ScopeApp
from tui.dashboard.terminal import ErrorIgnoringFile, TerminalDriver


def test_writing_goes_on_when_nobody_is_there():
    """More writes than the queue holds, after an error: without our file it waits for ever."""
    main, side = pty.openpty()
    with open(side, "w", encoding="utf-8") as file:  # noqa: PTH123 (a descriptor)
        thread = WriterThread(ErrorIgnoringFile(file))
        thread.start()
        thread.write("seen\n")
        assert os.read(main, 100) == b"seen\r\n"
        os.close(main)
        for number in range(10 * MAX_QUEUED_WRITES):
            thread.write(f"{number} " * 100)
        thread.stop()
        assert thread.isatty()
        assert ErrorIgnoringFile(file).fileno() == side
        os.dup2(os.open(os.devnull, os.O_WRONLY), side)  # or closing it would fail


def test_the_application_takes_it_in_the_place_of_textuals_own(monkeypatch):
    app = ScopeApp.__new__(ScopeApp)
    monkeypatch.delenv("TEXTUAL_DRIVER", raising=False)
    assert app.get_driver_class() is TerminalDriver
    assert issubclass(TerminalDriver, LinuxDriver)
