# SPDX-License-Identifier: GPL-2.0-only
"""Budgets of the text in a header and in a closing record: docs/limits.md.

A kernel's own strings are below 200 characters and a machine has a few thousand ranges of memory;
a file may claim anything. Promises: what is beyond a budget is cut, a cut text says so itself, and
sentences say how much was cut; what is cut once is within the budgets.
"""

from typing import Any, Final

from recordings.wording.units import count

#: Characters of one text, the mark at a cut one included.
MAX_TEXT: Final = 4096
#: Entries of one list or object, and of the machine's ranges of physical memory.
MAX_ENTRIES: Final = 1024
MAX_IOMEM: Final = 4096
#: Brackets and commas of the JSON: each may become an object of Python.
MAX_PARTS: Final = 1 << 18

_IOMEM: Final = "iomem"


def cut_text(text: str) -> str:
    """Return a text of at most ``MAX_TEXT`` characters, with a mark where something is cut."""
    if len(text) <= MAX_TEXT:
        return text
    mark = f"… (cut: {count(len(text))} characters)"
    return text[: MAX_TEXT - len(mark)] + mark


def cut_notes(notes: list[str]) -> list[str]:
    """Return at most ``MAX_ENTRIES`` notes, the last of which says how many are left out."""
    texts = [cut_text(note) for note in notes[:MAX_ENTRIES]]
    if (rest := len(notes) - MAX_ENTRIES + 1) > 1:
        texts[-1] = f"{count(rest)} more notes are left out"
    return texts


def cut(value: dict[str, Any]) -> dict[str, Any]:
    """Return a JSON object of a closing record within the budgets."""
    made: dict[str, Any] = _Cutter().cut(value, MAX_ENTRIES)
    return made


def bounded(header: dict[str, Any]) -> dict[str, Any]:
    """Return a header's JSON within the budgets; what was cut is among the machine's problems."""
    cutter = _Cutter()
    made: dict[str, Any] = cutter.cut(header, MAX_ENTRIES)
    machine = made.setdefault("machine", {})
    if (said := cutter.sentences()) and isinstance(machine, dict):
        problems = machine.get("problems") or []
        if isinstance(problems, list):
            machine["problems"] = [*problems[: MAX_ENTRIES - len(said)], *said]
    return made


class _Cutter:
    """Copies JSON values within the budgets, and counts what it leaves out."""

    def __init__(self) -> None:
        self._texts = 0
        self._entries = 0

    def cut(self, value: object, entries: int) -> Any:  # noqa: ANN401 (JSON)
        """Return a copy of ``value`` with at most ``entries`` entries, within all budgets."""
        match value:
            case str():
                self._texts += len(value) > MAX_TEXT
                return cut_text(value)
            case list() | tuple():
                self._entries += max(0, len(value) - entries)
                return [self.cut(item, MAX_ENTRIES) for item in value[:entries]]
            case dict():
                self._entries += max(0, len(value) - entries)
                return {
                    self.cut(key, 0): self.cut(item, MAX_IOMEM if key == _IOMEM else MAX_ENTRIES)
                    for key, item in list(value.items())[:entries]
                }
        return value

    def sentences(self) -> list[str]:
        """Say what was left out."""
        said = []
        if self._texts:
            texts = "1 text" if self._texts == 1 else f"{count(self._texts)} texts"
            said.append(f"header: {texts} of more than {count(MAX_TEXT)} characters cut")
        if self._entries:
            entries = "1 entry" if self._entries == 1 else f"{count(self._entries)} entries"
            said.append(f"header: {entries} left out, beyond the number that a list may have")
        return said
