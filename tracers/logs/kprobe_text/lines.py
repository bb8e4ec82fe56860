# SPDX-License-Identifier: GPL-2.0-only
"""Patterns for the lines of the kernel's ftrace text, in the formats of all releases.

Promises: the patterns match exactly what the kernel prints, so that a damaged line does not match.
Sources: kernel/trace/trace_output.c (trace_print_context, seq_print_ip_sym),
kernel/trace/trace_kprobe.c (print_kprobe_event, print_kretprobe_event), kernel/trace/trace.c
(print_trace_line, test_cpu_buff_start, print_event_info), read at 6.1.192 and checked on booted 6.1
and 6.12 kernels.
"""

from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tracers import arrow
from tracers.kernel_functions import KINDS
from tracers.logs.byte_text import Mask

_NAMES: Final = arrow.strings([name.encode() for name in KINDS], pa.binary())
# As scalars: pyarrow loads pandas to make one of a Python value.
EMPTY, ZERO = arrow.strings([b"", b"0"], pa.binary())
#: Index into the names of ``KINDS`` → kind code; -1 → 0.
CODES: Final = np.array([*KINDS.values(), 0], np.uint8)
_ANY: Final = "|".join(KINDS)
#: What an event's name has behind the function's: by hand, by perf probe, by the kernel (p_NAME_0).
SIDE: Final = "_ret|_exit|__return|_0"

#: trace_print_context: "%16s-%-7d " (older: "%-5d"), then TGID and CPU in either order (the first
#: headers that knew the TGID put it second), then flags unless options/irq-info is off: four
#: characters, five where migrate-disable is shown, more with realtime patches.
HEAD: Final = (
    r"(?s)^(?P<comm>.{16})-(?P<tid>\d{1,10}) +"
    r"(?:\( *(?P<tgid>\d{1,10}|-+)\) +)?\[(?P<cpu>\d{3,5})\] +(?:\( *(?P<late>\d{1,10}|-+)\) +)?"
    r"(?:[!-Z^-~]{3,10} +)?$"
)
#: "event: (symbol+0x0/0x70)" or "event: (caller+0x8/0x9 <- symbol)"; a raw address where
#: kallsyms has no name; " [module]"; " <address>" with options/sym-addr.
LOCATION: Final = (
    r"^(?P<event>[A-Za-z_]\w*): \((?:(?P<caller>[^()]+) <- )?"
    r"(?P<symbol>0x[0-9a-f]+|0|[A-Za-z_.$][\w.$]*)(?:\+0x(?P<offset>[0-9a-f]+)/0x[0-9a-f]+)?"
    r"(?P<module> \[[^\]]+\])?(?: <[0-9a-f]+>)?\)$"
)
SUFFIX: Final = r"^(?P<name>\w+)(?:\.(?:isra|constprop|lto_priv|llvm)\.\d+)*$"
_EVENT: Final = rf"^(?:[pr]_)?(?P<name>{_ANY})(?:{SIDE})?$"
OURS: Final = rf"(?:\(| <- )(?:{_ANY})\b|: (?:[pr]_)?(?:{_ANY})(?:{SIDE})?: "

LOST: Final = r"^CPU:\d+ \[LOST (?:(?P<count>\d+) )?EVENTS\]\r?\n?$"
ENTRIES: Final = (
    r"^# entries-in-buffer/entries-written: (?P<kept>\d+)/(?P<written>\d+)"
    r"   #P:(?P<cpus>\d{1,5})"
)

LATENCY: Final = r"^# \w+ latency trace v"  # print_trace_header

ENTRY, EXIT, MIDWAY, FOREIGN, UNREADABLE = range(5)


def identify(pieces: pa.BinaryArray) -> tuple[np.ndarray, np.ndarray]:
    """Return function and side of each distinct "event: (location)".

    Returns (function: index into the names of ``KINDS`` or -1, side), each [N]; the side is
    ENTRY or EXIT, MIDWAY for a probe inside a function, FOREIGN for another function, UNREADABLE
    for text that is not a kprobe event. The location decides, not the event's name, which the
    user chose; the name is used only if the kernel printed a bare address, and must match exactly.
    """
    groups = pc.extract_regex(pieces, pattern=LOCATION)
    field = groups.field
    readable = _true(groups.is_valid())
    exits = _true(pc.not_equal(field("caller"), EMPTY))
    bare = _true(pc.match_substring_regex(field("symbol"), pattern="^0"))
    name = pc.extract_regex(field("symbol"), pattern=SUFFIX).field("name")
    event = pc.extract_regex(field("event"), pattern=_EVENT).field("name")
    index = pc.index_in(pc.if_else(arrow.flags(bare), event, name), value_set=_NAMES)
    function = arrow.filled(index, -1).astype(np.int8)
    function[_true(pc.not_equal(field("module"), EMPTY)) | ~readable] = -1
    at_entry = bare | _true(pc.equal(field("offset"), ZERO))
    side = np.where(exits, EXIT, np.where(at_entry, ENTRY, MIDWAY))
    side[function < 0] = FOREIGN
    side[~readable] = UNREADABLE
    return function, side


def _true(mask: pa.Array) -> Mask:
    result: Mask = arrow.true(mask)
    return result
