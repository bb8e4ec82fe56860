# SPDX-License-Identifier: GPL-2.0-only
"""Parses one WARN splat of a kernel log, in both formats that kernels print.

Through 6.18 it begins "WARNING: CPU: 0 PID: 75 at file:line function+off/size", from 6.19 on
"WARNING: [condition] file:line at function+off/size, CPU#0: comm/pid" (kernel/panic.c, __warn);
then come show_regs (arch/arm64/kernel/process.c: registers three a line, two until 5.13) and the
call trace. Promises: a field is read only if it is complete and in the kernel's own format;
registers only if all thirty, pc and sp are there once, in the kernel's order, and of the same
function as the first line and the call trace. Other text between them (a mailer's line ends,
another printer's line) does not matter; if it is another splat's registers, there are none.
"""

import re
import struct
from functools import lru_cache
from typing import Final, NamedTuple

from tracers.logs.dmesg import riscv, symbols
from tracers.logs.dmesg.architectures import ARM64, architecture_of
from tracers.logs.dmesg.symbols import Place

_SITE: Final = rb"(?:(?P<file>[^\s:]{1,255}):(?P<line>\d{1,9})\s{1,9})?"
#: A place, or an address where there are no symbols: "0x0" where 6.19 on has none (__WARN_trap).
_AT: Final = rb"(?:" + symbols.PLACE + rb"|0x[0-9a-f]{1,16}\b|[0-9a-f]{8,16}\b)"
_OLD: Final = re.compile(
    rb"WARNING:\s{1,9}CPU:\s{1,9}(?P<cpu>\d{1,5})\s{1,9}PID:\s{1,9}(?P<tid>\d{1,10})"
    rb"\s{1,9}at\s{1,9}" + _SITE + _AT
)
_NEW: Final = re.compile(
    rb"(?s:WARNING:\s{1,9}(?:\[.{1,400}?\]\s{1,9})?)"
    + _SITE
    + rb"at\s{1,9}"
    + _AT
    + rb",\s{1,9}CPU#(?P<cpu>\d{1,5}):\s{1,9}(?P<comm>[^\n]{0,64})/(?P<tid>\d{1,10})(?!\d)"
)
#: How the first line of a splat begins; other texts say "WARNING:" too.
BEGINS: Final = re.compile(
    rb"WARNING:(?: CPU:| at |\s*$| \[| [^\s:]{1,255}:\d{1,9}(?: at\b|$))", re.MULTILINE
)
#: dump_stack_print_info; "Kdump: loaded" and "UID:" only where there is one. Red Hat's taint has
#: letters beyond the kernel's own, printed as dashes.
THREAD: Final = re.compile(
    rb"CPU:\s{1,9}(?P<cpu>\d{1,5})\s{1,9}(?:UID:\s{1,9}\d{1,10}\s{1,9})?"
    rb"PID:\s{1,9}(?P<tid>\d{1,10})\s{1,9}"
    rb"Comm:\s(?P<comm>[^\n]{0,32}?)\s{1,9}(?:Kdump:\s{1,9}loaded\s{1,9})?"
    rb"(?:Not\s{1,9}tainted|Tainted:\s(?P<taint>[A-Z\s-]{1,90}?))"
    rb"\s{1,9}(?P<release>\d[!-~]{0,63})\s{1,9}#"
)
_PC: Final = re.compile(rb"pc :\s{1,9}")
SP: Final = re.compile(rb"sp :\s{1,9}([0-9a-f]{16})(?![0-9a-f])")
REGISTER: Final = re.compile(rb"(?<!\w)x(\d{1,2})\s{0,4}:\s{1,9}([0-9a-f]{16})(?![0-9a-f])")
_NUMBERS: Final = [b"%d" % number for number in range(29, -1, -1)]
#: The same as the kernel prints them, when nothing is in between.
_NAMES: Final = [b"x%d:" % number for number in range(29, -1, -1)]
_HEX: Final = b"0123456789abcdef"
_VALUES: Final = struct.Struct(">30Q")
TRACE: Final = b"Call trace:"
#: x86 has marks between, riscv nothing before the first frame.
_FOREIGN_TRACE: Final = re.compile(
    rb"Call Trace:[^\n]*\n(?:\s*<TASK>\n)?|(?<=\n)(?=\s*\[<[0-9a-f]{8,16}>\] [A-Za-z_.$])"
)
_TRACE_BYTES: Final = 16384


class Thread(NamedTuple):
    """Who printed a report, by its "CPU:" line."""

    cpu: int
    tid: int  # dmesg's PID
    comm: bytes
    release: str
    taint: str  # its letters; none if it is not tainted

    @property
    def tainted(self) -> bool:
        """Whether a WARN, or something like it, came before."""
        return "W" in self.taint


class Splat(NamedTuple):
    """One WARN. Bytes are as the kernel printed them: escape before showing."""

    cpu: int
    tid: int  # dmesg's PID
    comm: bytes | None
    file: bytes | None  # None without CONFIG_DEBUG_BUGVERBOSE
    line: int | None
    function: str | None  # without a compiler's suffix; None: a module's, or no symbols
    offset: int
    size: int
    where: bytes | None  # the place as decode_stacktrace.sh prints it, in place of offset and size
    release: str | None
    tainted: bool  # a WARN, or something like it, came before
    sp: int | None
    registers: tuple[int, ...] | None  # x0 to x29
    chain: str | None  # "callee <- caller <- …"; None if it is not there or not this splat's
    arch: str | None  # as uname -m says it; None where it does not show
    passed: tuple[int, int] | None = None  # start and end, of another architecture's own check

    @property
    def site(self) -> str | None:
        """file:line, None if it does not say."""
        if self.file is None or self.line is None:
            return None
        return f"{self.file.decode('utf-8', 'backslashreplace')}:{self.line}"


def parse(text: bytes) -> Splat | None:
    """Read the text of a splat, from "WARNING:" on; None if its first line is not complete."""
    head = _OLD.match(text) or _NEW.match(text)
    if head is None:
        return None
    arch = architecture_of(text)
    cpu, tid, file, line = head.group("cpu", "tid", "file", "line")
    cpu, tid = int(cpu), int(tid)
    pc, trace = find_pc(text, head.end()), text.find(TRACE, head.end())
    thread = read_thread(text, head.end(), pc if pc >= 0 else len(text))
    if thread and (thread.cpu, thread.tid) != (cpu, tid):
        thread = None  # another splat's line: two CPUs print at once
    if thread is None:
        pc = -1  # it is not known whose registers these are
    place = symbols.place_of(head)
    end = trace if trace >= 0 else len(text)
    sp, registers = _registers(text, place, pc, end) if 0 <= pc < end else (None, None)
    start = _trace(text, head.end(), arch)
    first, chain = _chain_in(text[start : start + _TRACE_BYTES]) if start else (None, None)
    if first is not None and place is not None and first != place.function:
        sp = registers = chain = None  # the lines between are lost: it is another report's end
    printed = thread.comm if thread else None
    return Splat(
        cpu=cpu,
        tid=tid,
        comm=head["comm"] if head.re is _NEW else printed,
        file=file,
        line=int(line) if line else None,
        function=place.name if place and not place.module else None,
        offset=place.offset if place else 0,
        size=place.size if place else 0,
        where=place.where if place else None,
        release=thread.release if thread else None,
        tainted=bool(thread and thread.tainted),
        sp=sp,
        registers=registers,
        chain=chain,
        arch=arch,
        passed=riscv.passed(text) if arch == riscv.ARCH else None,
    )


def read_thread(text: bytes, start: int, end: int) -> Thread | None:
    """Return what the first "CPU:" line between ``start`` and ``end`` says."""
    found = THREAD.search(text, start, end)
    if found is None:
        return None
    return Thread(
        int(found["cpu"]),
        int(found["tid"]),
        found["comm"],
        found["release"].decode("ascii"),
        " ".join((found["taint"] or b"").decode("ascii").split()),
    )


def pc_of(text: bytes, start: int = 0) -> Place | None:
    """Return the place of the first pc of a report, from ``start`` on."""
    at = find_pc(text, start)
    found = _PC.match(text, at) if at >= 0 else None
    return symbols.place_at(text, found.end()) if found else None


def find_pc(text: bytes, start: int = 0) -> int:
    """Return where the first pc is printed; -1 if it is not. riscv's is called epc."""
    at = text.find(b"pc :", start)
    while at > 0 and text[at - 1 : at].isalnum():
        at = text.find(b"pc :", at + 1)
    return at


def registers_in(text: bytes, start: int, end: int) -> list[tuple[bytes, bytes]]:
    """Return number and value of each x register printed between ``start`` and ``end``."""
    return REGISTER.findall(text, start, end)


def _trace(text: bytes, start: int, arch: str | None) -> int:
    """Return where the frames of the one call chain behind ``start`` begin; 0 if there is none."""
    if arch in (None, ARM64):
        begins = text.find(TRACE, start)
        if begins < 0 or text.count(TRACE, begins) != 1:
            return 0
        return text.find(b"\n", begins) + 1
    found = _FOREIGN_TRACE.search(text, start)
    return found.end() if found else 0


@lru_cache(1024)
def _chain_in(text: bytes) -> tuple[bytes | None, str | None]:
    """Return the first function of the chain that ``text`` begins with, and the chain."""
    frames, whole = symbols.frames_of(text)
    first = next((frame.place.function for frame in frames if frame.place), None)
    return first, symbols.chain_of(frames, whole=whole)


def _registers(
    text: bytes, place: Place | None, pc: int, end: int
) -> tuple[int | None, tuple[int, ...] | None]:
    """Return sp and x0 to x29, if this is this splat's own dump, complete and in order."""
    location = pc_of(text, pc)
    at = text.find(b"sp :", pc, end)
    stack = SP.match(text, at) if at >= 0 else None
    own = place is not None and location is not None and _same(place, location)
    once = text.count(b"pc :", pc, end) == text.count(b"sp :", pc, end) == 1
    if not own or not once or not stack:
        return None, None
    values = _undisturbed(text[stack.end() : end])
    if values is None:
        dumped = registers_in(text, pc, end)
        if [number for number, _ in dumped] != _NUMBERS:
            return None, None
        values = tuple([int(value, 16) for _, value in reversed(dumped)])
    return int(stack[1], 16), values


def _undisturbed(text: bytes) -> tuple[int, ...] | None:
    """Return x0 to x29 of a dump with nothing in between; None if it is another's to read."""
    words = text.replace(b" :", b":").split()
    names, values = words[::2], words[1::2]
    digits = b"".join(values)
    if names != _NAMES or len(values) != len(names) or {*map(len, values)} != {16}:
        return None
    if digits.translate(None, _HEX):
        return None
    return _VALUES.unpack(bytes.fromhex(digits.decode("ascii")))[::-1]


def _same(one: Place, other: Place) -> bool:
    """Whether two places of one report are one place: its module may be cut off."""
    return (one.function, one.offset, one.size, one.where) == (
        other.function,
        other.offset,
        other.size,
        other.where,
    )
