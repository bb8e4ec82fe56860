# SPDX-License-Identifier: GPL-2.0-only
"""What was typed and is not handled yet: bounded, and who wants out is heard ahead of it.

Keys, mouse and pastes can come faster than a screen draws. Promises: of what is too much, whole
units are dropped (a key, a click, a paste; never half an escape sequence, whose rest would be taken
for keys); of mouse movements in a row the last one waits, of sizes the last of all; a paste is one
unit, of which the beginning is kept, and no key in it means anything. In which pieces the text
comes makes no difference.

Sources: "XTerm Control Sequences" (CSI, SS3, mouse, bracketed paste), kitty's keyboard protocol.
"""

import re
from collections import deque
from typing import Final

#: Units that wait at most.
LIMIT: Final = 64
#: So many waiting are what ``q`` overtakes; before fewer it may be meant for what they open ("?q").
LONG: Final = 16
#: Characters of a paste that are kept.
PASTED: Final = 4096
#: Seconds without a character that end an escape sequence, and a paste: else one that lacks its end
#: would take every key there is.
SEQUENCE_S: Final = 0.02
PASTE_S: Final = 1.0

_PASTE: Final = "\x1b[200~"
_PASTE_END: Final = "\x1b[201~"
_UNIT: Final = re.compile(
    r"\x1b\[M.{3}"  # the mouse as X10 reports it: any three characters
    r"|\x1b\[(?!M)[0-?]{0,64}[ -/]{0,8}[@-~]"
    r"|\x1bO[ -~]"
    r"|\x1b[^\x1b\[O]"  # alt and a key
    r"|[^\x1b]+",  # keys, as many as there are
    re.DOTALL,
)
_BEGUN: Final = re.compile(r"\x1b(\[(M.{0,2}|[0-?]{0,64}[ -/]{0,8})|O)?\Z", re.DOTALL)
_MOVED: Final = re.compile(r"\x1b\[<(3[2-9]|[45]\d|6[0-3]);[^M]*M")  # bit 5, without the wheel's 6
_RESIZED: Final = re.compile(r"\x1b\[48;[0-9;:]*t")
#: Kitty's report of Ctrl-C or q: the key, modifiers + 1, its text.
_REPORTED: Final = re.compile(r"\x1b\[(99|113)(?:;([0-9]*)(?:;[0-9:]*)?)?u")
_CTRL: Final = 4
_LOCKS: Final = 64 | 128  # caps and num lock change nothing


class InputQueue:
    """Text goes in as it is read; units come out, in order."""

    def __init__(self) -> None:
        self._units: deque[str] = deque()
        self._rest = ""  # the beginning of a sequence
        self._pasted: str | None = None  # while a paste comes
        #: Ctrl-C was pressed, or q behind a long queue.
        self.wants_out = False

    def __len__(self) -> int:
        return len(self._units)

    @property
    def unfinished(self) -> bool:
        """Whether a sequence or a paste has begun and not ended."""
        return bool(self._rest) or self._pasted is not None

    def put(self, text: str) -> None:
        """Take what was read."""
        text, self._rest = self._rest + text, ""
        at = 0
        while at < len(text):
            if self._pasted is not None:
                at = self._paste(text, at)
            elif unit := _UNIT.match(text, at):
                at = unit.end()
                self._put_unit(unit[0])
            elif _BEGUN.match(text, at):
                self._rest, at = text[at:], len(text)
            else:  # an escape that begins nothing
                self._append(text[at])
                at += 1

    def quiet(self, seconds: float) -> None:
        """Take what has begun as it is, if nothing more came for long enough."""
        if self._pasted is not None:
            if seconds >= PASTE_S:
                self._pasted += self._rest
                self._rest = ""
                self._end_paste()
        elif seconds >= SEQUENCE_S:
            self._put_keys(self._rest)
            self._rest = ""

    def get(self) -> str | None:
        """Return the oldest unit, ``None`` if there is none."""
        return self._units.popleft() if self._units else None

    def _append(self, unit: str) -> None:
        if len(self._units) < LIMIT:
            self._units.append(unit)

    def _put_keys(self, keys: str) -> None:
        behind = keys[max(0, LONG - len(self._units)) :]
        self.wants_out |= "\x03" in keys or "q" in behind
        self._units.extend(keys[: max(0, LIMIT - len(self._units))])

    def _put_unit(self, unit: str) -> None:
        if unit[0] != "\x1b":
            self._put_keys(unit)
        elif unit == _PASTE:
            self._pasted = ""
        elif _MOVED.fullmatch(unit) and self._units and _MOVED.fullmatch(self._units[-1]):
            self._units[-1] = unit
        elif _RESIZED.fullmatch(unit):  # never dropped: only the last is true
            waiting = [other for other in self._units if not _RESIZED.fullmatch(other)]
            self._units = deque((*waiting, unit))
        else:
            if reported := _REPORTED.fullmatch(unit):
                modifiers = (int(reported[2] or 1) - 1) & ~_LOCKS
                key = reported[1], modifiers
                long = len(self._units) >= LONG
                self.wants_out |= key == ("99", _CTRL) or (long and key == ("113", 0))
            self._append(unit)

    def _paste(self, text: str, at: int) -> int:
        """Take what belongs to the paste; return where that ends."""
        end = text.find(_PASTE_END, at)
        if end < 0:  # its last characters may be the begin of the end
            end = max(at, len(text) - len(_PASTE_END) + 1)
            self._rest = text[end:]
            self._pasted = ((self._pasted or "") + text[at:end])[:PASTED]
            return len(text)
        self._pasted = ((self._pasted or "") + text[at:end])[:PASTED]
        self._end_paste()
        return end + len(_PASTE_END)

    def _end_paste(self) -> None:
        self._append(f"{_PASTE}{self._pasted}{_PASTE_END}")
        self._pasted = None
