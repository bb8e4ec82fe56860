# SPDX-License-Identifier: GPL-2.0-only
"""Writes to a terminal from a thread, and waits for the terminal only so long.

It may take nothing: its window is frozen, its network gone, flow control holds it; or it has gone
away. Promises: a writer waits ``PATIENCE_S`` at most, and then not again before the terminal has
taken all that waits; what is written meanwhile is dropped, each text whole, and told afterwards, so
that it can be drawn again. Errors are ignored. What is given up can be left as it is: the thread
holds no lock that anybody needs, not even those of ``sys.stderr``.

Sources: drivers/tty/tty_io.c (a write that waits keeps others out; ``start_tty`` wakes it),
drivers/tty/pty.c (``pty_flush_buffer`` does not).
"""

import os
import select
import termios
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from typing import TextIO

#: Seconds for a terminal that takes no output.
PATIENCE_S: Final = 1.0
#: Texts that wait at most.
LIMIT: Final = 30

_PIECE: Final = 2048  # bytes of one write, which is not given up midway
_MOMENT_S: Final = 0.2


class TerminalOutput:
    """Writes to the terminal ``file``; calls ``on_taken`` when it takes output again.

    ``on_taken`` is called from the thread, if something was dropped. Signal handlers may use it.
    """

    def __init__(self, file: "TextIO", on_taken: Callable[[], None]) -> None:
        self._file = file
        self._on_taken = on_taken
        self._texts: deque[str] = deque()  # the first of them is being written
        self._changed = threading.Condition()  # its lock lets a signal handler in
        self._dropping = False
        self._closed = False
        self._given_up = False
        self._thread = threading.Thread(target=self._run, name="terminal-output", daemon=True)
        self._thread.start()

    def write(self, text: str) -> None:
        """Have ``text`` written, or dropped if the terminal takes nothing."""
        with self._changed:
            if self._dropping:
                return
            self._changed.wait_for(self._has_room, PATIENCE_S)
            if self._closed:
                return
            if not self._has_room():
                self._dropping = True
                return
            self._texts.append(text)
            self._changed.notify_all()

    def close(self) -> bool:
        """Wait for what waits; return whether all was written."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if not self._dropping:
            self._thread.join(PATIENCE_S)
        return not self._thread.is_alive()

    def give_up(self) -> bool:
        """Write no more of what waits; return whether the terminal takes something else now.

        What it had no time to show may be dropped. Not for a process in the background.
        """
        self._given_up = True
        if self._takes_output():
            return True
        with suppress(OSError, termios.error):
            out = self._file.fileno()
            termios.tcflush(out, termios.TCOFLUSH)
            termios.tcflow(out, termios.TCOOFF)  # else the next one wakes nobody
            termios.tcflow(out, termios.TCOON)
        return self._takes_output()

    def _takes_output(self) -> bool:
        return bool(select.select([], [self._file.fileno()], [], _MOMENT_S)[1])

    def _has_room(self) -> bool:
        return len(self._texts) < LIMIT or self._closed

    def _run(self) -> None:
        while (text := self._next()) is not None:
            self._write(text.encode(self._file.encoding, self._file.errors or "strict"))
            with self._changed:
                self._texts.popleft()
                self._changed.notify_all()
                taken = self._dropping and not self._texts and not self._closed
                if taken:
                    self._dropping = False
            if taken:
                self._on_taken()

    def _next(self) -> str | None:
        """Wait for a text; return ``None`` at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._texts or self._closed)
            return self._texts[0] if self._texts and not self._given_up else None

    def _write(self, data: bytes) -> None:
        out = self._file.fileno()
        while data and not self._given_up:
            try:
                data = data[os.write(out, data[:_PIECE]) :]
            except BlockingIOError:  # somebody who shares it made it non-blocking
                select.select([], [out], [], _MOMENT_S)
            except OSError:
                return
