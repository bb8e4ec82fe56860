# SPDX-License-Identifier: GPL-2.0-only
"""Textual's terminal driver, changed so that the application survives the loss of its terminal.

Textual writes from a thread behind a short queue. A terminal that is closed fails that thread's
write; the thread ends, the queue fills, and the whole application waits for it for ever (the
SIGCONT that comes with the hangup even starts a second one). Promises: writing to a terminal that
has gone away does nothing, so that the capture can still be ended properly.
"""

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from textual.drivers.linux_driver import LinuxDriver

if TYPE_CHECKING:
    from typing import TextIO


class ErrorIgnoringFile:
    """A text file that ignores errors of writing."""

    def __init__(self, file: "TextIO") -> None:
        self._file: Final = file

    def write(self, text: str) -> int:
        """Write ``text``; an error is ignored."""
        with suppress(OSError):
            self._file.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush the file; an error is ignored."""
        with suppress(OSError):
            self._file.flush()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 (whatever the file has)
        """Return any other attribute of the file."""
        return getattr(self._file, name)


class TerminalDriver(LinuxDriver):
    """``LinuxDriver`` writing to an ``ErrorIgnoringFile``."""

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 (its own)
        super().__init__(*arguments, **options)
        self._file: Any = ErrorIgnoringFile(self._file)
