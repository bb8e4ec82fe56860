# SPDX-License-Identifier: GPL-2.0-only
"""What would make a verdict conclusive: for each doubt the files and commands that settle it.

Promises: each doubt has a row of ``_TABLE``, chosen by its code and by what the recording is of;
nothing is asked for that is already there, nor twice; commands are text for a person, at most 74
columns wide, and nothing of a kernel or a file is in them.

Source of the commands: docs/capture-by-hand.md, which says the same to whoever makes the trace.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from recordings.format.header import Header
from recordings.ledger.snapshot import Doubt, Snapshot


class Origin(Enum):
    """What a recording was made of."""

    LOG = "a kernel log"
    TRACE = "a trace"
    LIVE = "a live capture"
    BOOT = "what a boot caught"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do: what for, and the command, a line each."""

    why: str
    command: tuple[str, ...]
    gives: str | None = None  # the side file, by its name in ``machine_files.CAPS``


@dataclass(frozen=True, slots=True)
class Advice:
    """A doubt, its reason as the report has it, and what settles it; no step: see the others."""

    doubt: Doubt
    reason: str
    steps: tuple[Step, ...]


_NOTE: Final = Step(
    "the kernel's own note has its window, sizes, memstart_addr and the bits in use",
    (
        "sudo head -c 65536 /proc/kcore | tr '\\0' '\\n' \\",
        "  | grep -aE '^[A-Z-]+(\\(.*\\))?=' > kcore-vmcoreinfo",
    ),
    "kcore-vmcoreinfo",
)
_CONFIG: Final = Step(
    "its configuration has the address bits and the page size",
    ("cp /boot/config-$(uname -r) config  # or: zcat /proc/config.gz > config",),
    "config",
)
_UNAME: Final = Step("its release decides which formula holds", ("uname -a > uname",), "uname")
_TABLES: Final = Step(
    "its page tables show where the vmemmap lies (needs CONFIG_PTDUMP_DEBUGFS)",
    ("sudo cat /sys/kernel/debug/kernel_page_tables > kernel_page_tables",),
    "kernel_page_tables",
)
_LIVE: Final = Step(
    "on that machine vmemscope itself says it, as long as the same kernel runs",
    ("sudo vmemscope window --live",),
)
_NUMBERS: Final = Step(
    "or its numbers, if they are known without a file",
    ("vmemscope triage FILE --va-bits 48 --page-size 4K --release 6.8",),
)
_IMAGE: Final = Step(
    "or, anywhere, that kernel's own image: the window is read from its code",
    ("vmemscope triage FILE --vmlinux vmlinux",),
)
_NAMES: Final = Step(
    "the vmlinux of exactly that build, best with debug information, proves which registers of a"
    " WARN hold start and end",
    ("vmemscope triage FILE --vmlinux vmlinux",),
)
_JOURNAL: Final = Step(
    "the journal has what the ring buffer no longer holds",
    ("journalctl -k -b -o short-monotonic > dmesg.txt  # -b -1: the boot before",),
)
_OWN: Final = Step(
    "on the arm64 machine that failed: the window is arm64's, and so is its check",
    ("journalctl -k -b -1 -o short-monotonic > dmesg.txt  # -1: the boot before",),
)
_WHOLE: Final = Step(
    "all of the Oops, every register from x29 to x0, and the files of that same boot: KASLR moves"
    " vmemmap with each",
    ("journalctl -k -b -1 -o short-monotonic > dmesg.txt  # -1: the boot before",),
)
_RING: Final = Step(
    "if it can be made to happen again, let the ring hold it: on the kernel's command line",
    ("log_buf_len=16M",),
)
_BUFFER: Final = Step(
    "give the trace more room, then trace it again",
    ("echo 65536 | sudo tee /sys/kernel/tracing/buffer_size_kb",),
)
_LARGER: Final = Step(
    "boot again with more room in the ring buffer of each CPU",
    ("sudo vmemscope boot --buffer 64M",),
)
_BOOTS: Final = Step(
    "find the boot in which it happened: all files must be of that one",
    ("journalctl --list-boots",),
)
_RECORD: Final = Step(
    "record every call, from before the driver loads until it is done",
    ("sudo vmemscope record -o load.arrows -- modprobe DRIVER",),
)
_BY_HAND: Final = Step(
    "or with the kernel's own tracer, nothing installed: docs/capture-by-hand.md has its lines",
    ("sudo cat /sys/kernel/tracing/trace > trace.txt",),
)
_DOCTOR: Final = Step(
    "what keeps populate calls from being seen is what doctor says", ("sudo vmemscope doctor",)
)
_STREAM: Final = Step(
    "let the recording leave the machine as it grows",
    ("sudo vmemscope record -o - | ssh HOST 'cat > load.arrows'",),
)

_AGAIN: Final = (_RECORD, _BY_HAND)
_MACHINE: Final = (_NOTE, _CONFIG, _UNAME, _TABLES)

#: Doubt -> what settles it, by what the recording is of; ``None``: of anything else.
_TABLE: Final[Mapping[Doubt, Mapping[Origin | None, tuple[Step, ...]]]] = {
    Doubt.FOREIGN: {None: (_OWN,)},
    Doubt.CONTRADICTION: {None: (_BOOTS, _JOURNAL, _NOTE, _UNAME)},
    Doubt.UNFINISHED: {None: (_STREAM,)},
    Doubt.LOSSES: {
        Origin.LOG: (_JOURNAL, _RING),
        Origin.TRACE: (_BUFFER,),
        Origin.BOOT: (_LARGER,),
        None: (_RECORD,),
    },
    Doubt.WINDOW: {None: (*_MACHINE, _NUMBERS, _IMAGE, _LIVE)},
    Doubt.ARGUMENTS: {Origin.LOG: (_NAMES, _NOTE), None: (_NOTE, *_AGAIN)},
    Doubt.OOPS_PAGE: {None: (_WHOLE, _NOTE)},
    Doubt.OOPS_INSIDE: {None: (_JOURNAL,)},
    Doubt.BITS_IN_USE: {None: (_NOTE, _TABLES, _LIVE)},
    Doubt.GIVEN_UP: {None: (_RECORD,)},
    Doubt.LOG_ONLY: {None: (_DOCTOR, *_AGAIN)},
    Doubt.NO_CALLS: {Origin.LOG: (_BOOTS, *_AGAIN), None: _AGAIN},
    Doubt.NO_POPULATE: {None: (_NOTE, _DOCTOR, *_AGAIN)},
    Doubt.FAILED: {None: (_DOCTOR, _RECORD)},
    Doubt.NO_BEGINNING: {None: _AGAIN},
    Doubt.NO_END: {None: _AGAIN},
    Doubt.WARNED_INSIDE: {Origin.LOG: (_NAMES, _NOTE), None: (_NOTE, *_AGAIN)},
}

#: What the reader of a kernel log has to know of it.
LOG_REMARK: Final = (
    "A kernel log has only calls that warned, so one alone never proves a machine clean."
)
#: How the files are given, where some were asked for.
GIVE: Final = Step(
    "put these files into one folder and give it", ("vmemscope triage FILE --machine FOLDER",)
)


def origin_of(header: Header) -> Origin:
    """Return what a recording was made of."""
    importer = header.origin.get("importer")
    if importer is None:
        return Origin.BOOT if "boot" in header.origin else Origin.LIVE
    return Origin.LOG if importer == "dmesg" else Origin.TRACE


def advice(header: Header, snapshot: Snapshot) -> Iterator[Advice]:
    """Yield what would settle each doubt of a verdict, the most important first."""
    origin, there = origin_of(header), set(header.machine.sources)
    if Doubt.CONTRADICTION in snapshot.doubts:
        there = set()  # what contradicts is to be taken anew
    said = set[Step]()
    for doubt, reason in snapshot.doubted:
        row = _TABLE[doubt]
        steps = tuple(
            step
            for step in row.get(origin, row.get(None, ()))
            if step.gives not in there and step not in said
        )
        said |= set(steps)
        yield Advice(doubt, reason, steps)


def gives_files(found: tuple[Advice, ...]) -> bool:
    """Whether some step makes a side file."""
    return any(step.gives for each in found for step in each.steps)
