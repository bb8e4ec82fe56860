# SPDX-License-Identifier: GPL-2.0-only
"""Takes out of a kernel's dump what an import needs: its log, and what describes its machine.

Promises: the log is the kernel's own, line by line, with what its ring lost in the kernel's words;
the machine's facts are those of the same memory (the VMCOREINFO note, the tree of /proc/iomem).
What cannot be had of it is said; without the log or the note there is a ``LogError`` of one line.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tracers.constants.core_file import Core, looks_like_core
from tracers.constants.errors import ConstantsError
from tracers.constants.resources import iomem_text
from tracers.logs.input_files import Input
from tracers.logs.kprobe_text.text_log import LogError
from tracers.logs.printk_ring import PrintkRing, PrintkRingError
from tracers.regular_files import read_regular

#: What the log is called among the files that are taken out; the others are side files.
FORMAT: Final = "dmesg"
_LOG: Final = FORMAT
_HEAD: Final = 64


def is_dump(path: Path) -> bool:
    """Return whether ``path`` is a regular file that begins like a dump of a kernel's memory."""
    try:
        return looks_like_core(read_regular(path, _HEAD))
    except (OSError, ValueError):
        return False


@dataclass(frozen=True, slots=True)
class Dump:
    """What was taken out of a dump: its log, the folder of the side files, notes on both."""

    log: Input
    folder: Path
    notes: tuple[str, ...]


@contextmanager
def opened(path: Path, folder: Path, name: str = "") -> Iterator[Dump]:
    """Take the log and the side files of the dump ``path``, called ``name``, into ``folder``.

    Raises:
        LogError: it is no dump of an arm64 kernel, or has no log; the text names it.
        OSError: ``folder`` cannot be written.
    """
    name = name or str(path)
    try:
        with Core(path) as core:
            ring = PrintkRing(core)
            with (folder / _LOG).open("xb") as file:
                file.writelines(ring.lines(callers=True))
            (folder / "kcore-vmcoreinfo").write_text(core.vmcoreinfo, encoding="utf-8")
            iomem = iomem_text(core)
            if iomem:
                (folder / "iomem").write_text(iomem, encoding="utf-8")
            notes = tuple(_notes(core, ring, iomem))
    except (ConstantsError, PrintkRingError) as error:
        text = str(error).removeprefix(str(path)).lstrip(": ")
        raise LogError(f"{name}: {text}") from error
    with Input(folder / _LOG) as log:
        log.name = name
        yield Dump(log, folder, notes)


def _notes(core: Core, ring: PrintkRing, iomem: str) -> list[str]:
    notes = [f"the log is the dump's printk ring: {ring.records} records, {ring.lost} of it lost"]
    if core.vmcoreinfo_at is not None:
        notes.append(
            "the dump has no VMCOREINFO note: the kernel's own was found in its memory, at physical"
            f" 0x{core.vmcoreinfo_at:x}"
        )
    if not iomem:
        notes.append("the dump's tree of /proc/iomem was not found: the owners are not named")
    return notes
