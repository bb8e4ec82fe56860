# SPDX-License-Identifier: GPL-2.0-only
"""Textual's terminal driver, changed where a terminal or a signal can be the end of it.

Promises:

- A terminal that has gone away, or takes no output, holds up nothing: the dashboard can be left, a
  capture ended properly (``tui.dashboard.terminal_output``; Textual's own thread and queue are
  waited for without end). What such a terminal missed is drawn again when it takes output.
- A terminal that has gone away is a ``HungUp``, with SIGHUP or without (``make`` has none sent to
  what it runs). Textual would read its end without end.
- A signal that ends the process leaves the terminal as it was.
- ``q`` and Ctrl-C come before whatever else was typed (``tui.dashboard.input_queue``): the
  application gets one key at a time, the next when that was handled.
- The application is never told a size that it could not draw, and nothing that is typed, as garbled
  as it may be, ends it.
"""

import asyncio
import os
import select
import shutil
import signal
import termios
import threading
import time
from codecs import getincrementaldecoder
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, ClassVar, Final, NoReturn, Optional

from textual import events
from textual._xterm_parser import XTermParser
from textual.app import ScreenStackError
from textual.dom import DOMNode
from textual.drivers.linux_driver import LinuxDriver
from textual.geometry import Size
from textual.message import Message

from tui.dashboard.input_queue import SEQUENCE_S, InputQueue
from tui.dashboard.terminal_output import PATIENCE_S, TerminalOutput
from tui.stopping import unwind

#: Columns and lines that are drawn at most: those of a 4K screen in tiny letters.
MAX_SIZE: Final = Size(640, 200)
#: Where the terminal knows no size: a VT100's.
DEFAULT_SIZE: Final = Size(80, 24)

#: Signals that end a process, unless it handles them.
_ENDING: Final = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGALRM,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGXCPU,
)
#: What Textual sets, taken back: a frame, the mouse (also in pixels), focus, pastes, resizes, no
#: wrapping, kitty's keys; the alternate screen, and the cursor that was hidden on it.
_TAKEN_BACK: Final = (
    b"\x1b[?2026l\x1b[0m\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[?1016l\x1b[?1004l"
    b"\x1b[?2004l\x1b[?2048l\x1b[?7h\x1b[<u\x1b[?1049l\x1b[?25h"
)

_READ: Final = 1 << 16
_IDLE_S: Final = 0.1  # between two looks at whether to end
_BUSY_S: Final = 0.005  # the same at whether a key was handled
_HANDLED_S: Final = 2.0  # a key that takes longer holds up no other


class HungUp(Message):
    """The terminal has gone away."""


class WantsOut(Message):
    """Ctrl-C, or q that overtook what was typed before."""


class TakesOutput(Message):
    """The terminal takes output again, after some was dropped."""


class TerminalDriver(LinuxDriver):
    """``LinuxDriver`` that keeps the promises above; its messages are the above."""

    #: The one that has the terminal now.
    drawing: ClassVar[Optional["TerminalDriver"]] = None

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 (its own)
        super().__init__(*arguments, **options)
        self._file: Any = self._file  # stderr, which is there: it is a terminal
        self._output: TerminalOutput | None = None
        # Else the application asks Rich, with other defaults: two sizes, redrawn in turn.
        self._size = self._size or self._get_terminal_size()
        self._parser = XTermParser(self._debug)
        self._handled = threading.Event()  # what was handed on last
        self._handed_on_at = 0.0

    # -- the terminal's state -----------------------------------------------------------------

    def start_application_mode(self) -> None:
        """Take the terminal."""
        TerminalDriver.drawing = self
        if self._output is None:
            self._output = TerminalOutput(
                self._file, on_taken=lambda: self.send_message(TakesOutput())
            )
        super().start_application_mode()  # type: ignore[no-untyped-call]

    def stop_application_mode(self) -> None:
        """Give the terminal back."""
        super().stop_application_mode()
        TerminalDriver.drawing = None

    def close(self) -> None:
        """Have all of it written, if the terminal takes it."""
        super().close()  # Textual's own thread, which had nothing to do
        if self._output is not None and not self._output.close():
            self.give_back()
        self._output = None

    def write(self, data: str) -> None:
        """Write to the terminal."""
        if self._output is not None:
            self._output.write(data)

    def give_back(self) -> None:
        """Leave the terminal as it was, without the thread that writes: it may be stuck."""
        with suppress(OSError, termios.error):
            if _in_background(self.fileno):
                return  # its settings are somebody else's now
            if self.attrs_before is not None:
                termios.tcsetattr(self.fileno, termios.TCSANOW, self.attrs_before)
            termios.tcflush(self.fileno, termios.TCIFLUSH)
        with suppress(OSError):
            if self._output is not None and self._output.give_up():
                os.write(self._file.fileno(), _TAKEN_BACK)

    def _get_terminal_size(self) -> tuple[int, int]:
        size = Size(*shutil.get_terminal_size(DEFAULT_SIZE))  # of COLUMNS and LINES, if given
        if size.width > MAX_SIZE.width or size.height > MAX_SIZE.height:
            with suppress(OSError):  # then better what the terminal says
                size = Size(*os.get_terminal_size(self.fileno))
        return _drawn(size)

    # -- input --------------------------------------------------------------------------------

    def run_input_thread(self) -> None:
        """Read the terminal at once, and hand on what was typed as fast as it is handled."""
        waiting = InputQueue()
        decode = getincrementaldecoder("utf-8")("replace").decode
        self._parser = XTermParser(self._debug)
        self._handled.set()
        read_at = time.monotonic()
        while not self.exit_event.is_set():
            pause = _BUSY_S if waiting else SEQUENCE_S if waiting.unfinished else _IDLE_S
            if not select.select([self.fileno], [], [], pause)[0]:
                waiting.quiet(time.monotonic() - read_at)
            elif data := self._read():
                read_at = time.monotonic()
                waiting.put(decode(data))
            else:
                self.send_message(HungUp())
                return
            if waiting.wants_out:
                self.send_message(WantsOut())
                waiting = InputQueue()
            if time.monotonic() - self._handed_on_at > _HANDLED_S:
                self._handled.set()
            while self._handled.is_set() and (unit := waiting.get()) is not None:
                self._hand_on(self._parser.feed(unit))
            self._hand_on(self._parser.tick())

    def process_message(self, message: Message) -> None:
        """Send ``message`` to the application, a size only as one that can be drawn."""
        if isinstance(message, events.Resize):
            size = Size(*_drawn(message.size))
            message = events.Resize(size, size, pixel_size=message.pixel_size)
        super().process_message(message)

    def _read(self) -> bytes:
        """Return what was typed, nothing once the terminal has gone away."""
        try:
            return os.read(self.fileno, _READ)
        except OSError:
            return b""

    def _hand_on(self, messages: Iterable[Message]) -> None:
        sent = False
        try:
            for message in messages:
                self.process_message(message)
                sent = True
        except (ArithmeticError, ValueError):  # the parser's, on a number that nothing can have
            self._parser = XTermParser(self._debug)
        if sent:
            self._handled.clear()
            self._handed_on_at = time.monotonic()
            self.send_message(events.Callback(self._follow))

    def _follow(self) -> None:
        """Follow a key from the application to the focus, whence it comes back up if unused."""
        with suppress(ScreenStackError):
            self._climb(self._app.focused or self._app.screen)

    def _climb(self, node: DOMNode | None) -> None:
        if node is None or not node.call_later(self._climb, node.parent):
            self._handled.set()


def _drawn(size: Size) -> tuple[int, int]:
    """Return the part of ``size`` that is drawn; a default where there is none."""
    return (
        min(size.width, MAX_SIZE.width) if size.width > 0 else DEFAULT_SIZE.width,
        min(size.height, MAX_SIZE.height) if size.height > 0 else DEFAULT_SIZE.height,
    )


def _in_background(terminal: int) -> bool:
    """Return whether the terminal is with another job of the shell that started us."""
    try:
        return os.tcgetpgrp(terminal) != os.getpgrp()
    except OSError:  # not the terminal of our session: nobody gives it to jobs
        return False


@contextmanager
def ending_signals_give_back() -> Iterator[None]:
    """Have a signal that ends the process give the terminal back first; exit with 128 + its number.

    Signals that are ignored, or handled by somebody else, stay so. For the main thread.
    """
    default = (signal.SIG_DFL, signal.default_int_handler, unwind)
    before = {number: signal.getsignal(number) for number in _ENDING}
    taken = [number for number, handler in before.items() if handler in default]
    for number in taken:
        signal.signal(number, _end)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, before[number])


def _end(number: int, _: FrameType | None) -> NoReturn:
    # However stuck the terminal is, and whatever waits for it.
    deadline = threading.Timer(PATIENCE_S, os._exit, [128 + number])
    deadline.daemon = True
    deadline.start()
    if TerminalDriver.drawing is not None:
        TerminalDriver.drawing.give_back()
    os._exit(128 + number)


class SignalWaker:
    """Wakes the event loop for every signal, until it is closed. For the main thread.

    Python runs handlers in the main thread only, and the kernel may give a signal to any other,
    most of all the SIGCONT of a stopped process: an idle loop would sleep on.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        loop.add_reader(self._read, os.read, self._read, _READ)
        self._before = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)

    def close(self) -> None:
        """Leave signals as they were."""
        signal.set_wakeup_fd(self._before)
        self._loop.remove_reader(self._read)
        os.close(self._read)
        os.close(self._write)
