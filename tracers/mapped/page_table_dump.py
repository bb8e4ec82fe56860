# SPDX-License-Identifier: GPL-2.0-only
"""Reads from debugfs kernel_page_tables what is mapped.

Promises: whatever the text is, this raises nothing; a mapping is one that the dump prints as valid.
Where lines are missing between two that are there, it is not known what is mapped; kernels before
6.4 or so that print no empty ranges are told by having none.

Source: note_page() and pte_bits, arch/arm64/mm/ptdump.c. "F" is an entry that is not valid, and a
range without any attribute is not mapped.
"""

import re
from typing import Final

import numpy as np

from tracers.mapped.mappings import DEVICE, NORMAL, Mappings

_LINE: Final = re.compile(
    r"^[ \t]*0x([0-9a-f]{16})-0x([0-9a-f]{16}) +\d+[KMGTPE] (?:PGD|P4D|PUD|PMD|PTE)\b(.*)$",
    re.MULTILINE,
)
_NOT_VALID: Final = re.compile(r"\s+F\b")


def mapped_in_dump(text: str) -> Mappings | None:
    """Return what a dump shows as mapped; None: it has no line of a dump."""
    lines = [(int(a, 16), int(b, 16) or 1 << 64, flags) for a, b, flags in _LINE.findall(text)]
    lines = sorted(line for line in lines if line[0] < line[1])
    if not lines:
        return None
    mapped = [each for each in lines if each[2].strip() and not _NOT_VALID.match(each[2])]
    unseen = []
    if len(mapped) < len(lines):
        at = lines[0][0]
        for start, end, _ in lines:
            if start > at:
                unseen.append((at, start - at))
            at = max(at, end)
        if at < 1 << 64:
            unseen.append((at, (1 << 64) - at))
    return Mappings.of(
        np.array([start for start, _, _ in mapped], np.uint64),
        np.array([end - 1 for _, end, _ in mapped], np.uint64),
        np.array([DEVICE if "DEVICE/" in flags else NORMAL for *_, flags in mapped], np.uint8),
        unseen,
    )
