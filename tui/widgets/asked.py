# SPDX-License-Identifier: GPL-2.0-only
"""What panels ask of the application: messages that somebody clicked or chose something."""

from textual.message import Message


class FilterWanted(Message):
    """Only what matches ``text`` is to be shown, such as ``regime:above`` or ``addr:0x1..0x2``."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text


class SeekWanted(Message):
    """The moment ``time_ns`` of the trace's clock is to be shown."""

    def __init__(self, time_ns: int) -> None:
        super().__init__()
        self.time_ns = time_ns

    def can_replace(self, message: Message) -> bool:
        """Let a newer one replace one not served yet: a drag sends many."""
        return isinstance(message, SeekWanted)
