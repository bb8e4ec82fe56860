# SPDX-License-Identifier: GPL-2.0-only
"""Textual's terminal driver, made to outlive its terminal.

Textual writes from a thread behind a short queue. A terminal that is closed fails that thread's
write; the thread ends, the queue fills, and the whole application waits for it for ever (the
SIGCONT that comes with the hangup even starts a second one). Promises: writing to a terminal that
has gone away does nothing, so that whatever has to be ended can still be ended.
"""

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from textual.drivers.linux_driver import LinuxDriver

if TYPE_CHECKING:
    from typing import TextIO


class Forgiving:
    """A text file whose writes may fail unseen."""

    def __init__(self, file: "TextIO") -> None:
        self._file: Final = file

    def write(self, text: str) -> int:
        """Write it, if anybody is there to see."""
        with suppress(OSError):
            self._file.write(text)
        return len(text)

    def flush(self) -> None:
        """Hand it on, as above."""
        with suppress(OSError):
            self._file.flush()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 (whatever the file has)
        """Be the file in everything else."""
        return getattr(self._file, name)


class TerminalDriver(LinuxDriver):
    """``LinuxDriver`` on a forgiving file."""

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 (its own)
        super().__init__(*arguments, **options)
        self._file: Any = Forgiving(self._file)
