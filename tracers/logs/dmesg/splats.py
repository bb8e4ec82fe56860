# SPDX-License-Identifier: GPL-2.0-only
"""Parses one WARN splat of a kernel log, in both formats that kernels print.

Through 6.18 it begins "WARNING: CPU: 0 PID: 75 at file:line function+off/size", from 6.19 on
"WARNING: [condition] file:line at function+off/size, CPU#0: comm/pid" (kernel/panic.c, __warn);
then come show_regs (arch/arm64/kernel/process.c: registers three a line, two until 5.13) and the
call trace. Promises: a field is read only if it is complete and in the kernel's own format;
registers only if all thirty, pc and sp are there once, in the kernel's order, and of the same
function as the first line. Other text between them (a mailer's line ends, another printer's line)
does not matter; if it is another splat's registers, there are none.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

_SYMBOL: Final = (
    rb"(?P<function>[A-Za-z_.$][\w.$]{0,511})\+0x(?P<offset>[0-9a-f]{1,8})"
    rb"/0x(?P<size>[0-9a-f]{1,8})(?:\(\))?(?P<module>\s\[[^\]\n]{1,120}\])?"
)
_PLACE: Final = rb"(?:(?P<file>[^\s:]{1,255}):(?P<line>\d{1,9})\s{1,9})?"
_AT: Final = rb"(?:" + _SYMBOL + rb"|(?:0x)?[0-9a-f]{8,16}\b)"
_OLD: Final = re.compile(
    rb"WARNING:\s{1,9}CPU:\s{1,9}(?P<cpu>\d{1,5})\s{1,9}PID:\s{1,9}(?P<tid>\d{1,10})"
    rb"\s{1,9}at\s{1,9}" + _PLACE + _AT
)
_NEW: Final = re.compile(
    rb"(?s:WARNING:\s{1,9}(?:\[.{1,400}?\]\s{1,9})?)"
    + _PLACE
    + rb"at\s{1,9}"
    + _AT
    + rb",\s{1,9}CPU#(?P<cpu>\d{1,5}):\s{1,9}(?P<comm>[^\n]{0,64})/(?P<tid>\d{1,10})(?!\d)"
)
#: How the first line of a splat begins; other texts say "WARNING:" too.
BEGINS: Final = re.compile(
    rb"WARNING:(?: CPU:| at |\s*$| \[| [^\s:]{1,255}:\d{1,9}(?: at\b|$))", re.MULTILINE
)
#: dump_stack_print_info; "Kdump: loaded" and "UID:" only where there is one.
_THREAD: Final = re.compile(
    rb"CPU:\s{1,9}(?P<cpu>\d{1,5})\s{1,9}(?:UID:\s{1,9}\d{1,10}\s{1,9})?"
    rb"PID:\s{1,9}(?P<tid>\d{1,10})\s{1,9}"
    rb"Comm:\s(?P<comm>[^\n]{0,32}?)\s{1,9}(?:Kdump:\s{1,9}loaded\s{1,9})?"
    rb"(?:Not\s{1,9}tainted|Tainted:\s(?P<taint>[A-Z\s]{1,60}?))"
    rb"\s{1,9}(?P<release>\d[!-~]{0,63})\s{1,9}#"
)
_PC: Final = re.compile(rb"pc :\s{1,9}" + _SYMBOL)
_SP: Final = re.compile(rb"sp :\s{1,9}([0-9a-f]{16})(?![0-9a-f])")
_REGISTER: Final = re.compile(rb"(?<!\w)x(\d{1,2})\s{0,4}:\s{1,9}([0-9a-f]{16})(?![0-9a-f])")
_NUMBERS: Final = [b"%d" % number for number in range(29, -1, -1)]
_FRAME: Final = re.compile(
    rb"^ *(?:\[<[0-9a-f]+>\] )?(?P<name>[A-Za-z_.$][\w.$]{0,511})\+0x[0-9a-f]+/0x[0-9a-f]+"
    rb"(?:\(\))?(?P<module> \[[\w-]{1,64})?",
    re.MULTILINE,
)
_SUFFIX: Final = re.compile(rb"(?:\.(?:isra|constprop|part|cold|llvm|lto_priv)(?:\.\d+)?)+\Z")
_TRACE: Final = b"Call trace:"
_TRACE_BYTES: Final = 4096
_FRAMES: Final = 8  # of a chain that are shown; the rest is how the kernel was entered


@dataclass(frozen=True, slots=True)
class Splat:
    """One WARN. Bytes are as the kernel printed them: escape before showing."""

    cpu: int
    tid: int  # dmesg's PID
    comm: bytes | None
    file: bytes | None  # None without CONFIG_DEBUG_BUGVERBOSE
    line: int | None
    function: str | None  # without a compiler's suffix; None: a module's, or no symbols
    offset: int
    size: int
    release: str | None
    tainted: bool  # a WARN, or something like it, came before
    sp: int | None
    registers: tuple[int, ...] | None  # x0 to x29
    chain: str | None  # "callee <- caller <- …"; None if it is not there or not this splat's


def parse(text: bytes) -> Splat | None:
    """Read the text of a splat, from "WARNING:" on; None if its first line is not complete."""
    head = _OLD.match(text) or _NEW.match(text)
    if head is None:
        return None
    fields = head.groupdict()
    cpu, tid = int(fields["cpu"]), int(fields["tid"])
    pc, trace = text.find(b"pc :", head.end()), text.find(_TRACE, head.end())
    thread = _THREAD.search(text, head.end(), pc if pc >= 0 else len(text))
    if thread and (int(thread["cpu"]), int(thread["tid"])) != (cpu, tid):
        thread = None  # another splat's line: two CPUs print at once
    if thread is None:
        pc = -1  # it is not known whose registers these are
    end = trace if trace >= 0 else len(text)
    sp, registers = _registers(text, head, pc, end) if 0 <= pc < end else (None, None)
    comm = fields.get("comm")
    if comm is None and thread:
        comm = thread["comm"]
    return Splat(
        cpu=cpu,
        tid=tid,
        comm=comm,
        file=fields["file"],
        line=int(fields["line"]) if fields["line"] else None,
        function=_function(head),
        offset=int(fields["offset"] or b"0", 16),
        size=int(fields["size"] or b"0", 16),
        release=thread["release"].decode("ascii") if thread else None,
        tainted=bool(thread and thread["taint"] and b"W" in thread["taint"]),
        sp=sp,
        registers=registers,
        chain=_chain(text[trace : trace + _TRACE_BYTES], head["function"])
        if trace >= 0 and text.count(_TRACE, trace) == 1
        else None,
    )


@lru_cache(1024)
def _chain(text: bytes, function: bytes | None) -> str | None:
    """Return the call chain of ``text``, "Call trace:" and on; it must begin with ``function``."""
    # Frames follow each other; the first other line ends them.
    frames: list[str] = []
    at = text.find(b"\n") + 1
    while at and (frame := _FRAME.match(text, at)):
        module = frame["module"]
        frames.append((frame["name"] + (module + b"]" if module else b"")).decode("ascii"))
        at = text.find(b"\n", frame.end()) + 1
    if not frames or (function and frames[0].split(" ")[0] != function.decode("ascii")):
        return None
    more = " <- …" if len(frames) > _FRAMES else ""
    return " <- ".join(frames[:_FRAMES]) + more


def symbol(text: bytes, start: int = 0) -> str | None:
    """Return the "function+0x…/0x…" at the first pc of a report, from ``start`` on."""
    pc = _PC.search(text, start)
    if pc is None:
        return None
    return f"{pc['function'].decode('ascii')}+0x{pc['offset'].decode('ascii')}"


def _function(head: re.Match[bytes]) -> str | None:
    if not head["function"] or head["module"]:
        return None
    return _SUFFIX.sub(b"", head["function"]).decode("ascii")


def _registers(
    text: bytes, head: re.Match[bytes], pc: int, end: int
) -> tuple[int | None, tuple[int, ...] | None]:
    """Return sp and x0 to x29, if this is this splat's own dump, complete and in order."""
    location = _PC.match(text, pc)
    at = text.find(b"sp :", pc, end)
    stack = _SP.match(text, at) if at >= 0 else None
    dumped = _REGISTER.findall(text, pc, end)
    own = location and location.group("function", "offset", "size") == head.group(
        "function", "offset", "size"
    )
    once = text.count(b"pc :", pc, end) == text.count(b"sp :", pc, end) == 1
    if not own or not once or not stack or [number for number, _ in dumped] != _NUMBERS:
        return None, None
    return int(stack[1], 16), tuple([int(value, 16) for _, value in reversed(dumped)])
