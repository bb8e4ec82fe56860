# SPDX-License-Identifier: GPL-2.0-only
"""Reads VMEMMAP_START and VMEMMAP_END out of the kernel's own code, in three independent ways.

`from_compare` reads the range check of vmemmap_free or vmemmap_populate, `from_call` the two bounds
that vmemmap_free passes to free_empty_tables, `from_vmcoreinfo` the numbers the kernel writes into
its VMCOREINFO note at boot (5.18 and later). None of them uses a formula or a release. Each returns
None unless the code leaves no doubt; `read_compare`, `read_call` and `read_vmcoreinfo` return the
reason too. What the kernel loads from memory at run time (vabits_actual) is never reported.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from tracers.constants.dataflow.follow import Call, Follower
from tracers.constants.dataflow.values import Value
from tracers.constants.image.patched import hidden
from tracers.constants.method_result import MethodResult

PAGE: Final = 4096  # bounds are multiples of every kernel's page; 4K is the smallest
LOWEST: Final = (1 << 64) - (1 << 52)  # the kernel half with 52 VA bits, the most there is
STRING_CAP: Final = 128
CALLEE: Final = "free_empty_tables"
APPEND: Final = "vmcoreinfo_append_str"
VMCOREINFO_FUNCTIONS: Final = ("arch_crash_save_vmcoreinfo", "crash_save_vmcoreinfo_init")

#: Numbers fixed at build time. Others (KERNELPACMASK, TCR_EL1_T1SZ) look constant until the kernel
#: patches itself at boot: alternatives and static keys are branches in the file that later go
#: elsewhere.
_FIXED = re.compile(
    r"^(?:VMEMMAP_(?:START|END)|MODULES_(?:VADDR|END)|VMALLOC_(?:START|END)|VA_BITS|PAGESIZE"
    r"|SECTION_SIZE_BITS|MAX_PHYSMEM_BITS|SIZE\(\w+\))$"
)
_LABEL = re.compile(r"^(?:NUMBER|SIZE)\(([\w%]+)\)=(0x)?%l*[dux]\n$")
_PAGESIZE = re.compile(r"^PAGESIZE=%l*[du]\n$")


class Named(Protocol):
    """A symbol."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def va(self) -> int: ...  # noqa: D102


class Body(Protocol):
    """A function: name, u64 address, code."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def va(self) -> int: ...  # noqa: D102
    @property
    def bytes(self) -> bytes: ...  # noqa: D102


class Image(Protocol):
    """The part of image.KernelImage used here."""

    def read(self, va: int, size: int) -> bytes | None: ...  # noqa: D102
    def symbols(self, names: Iterable[str]) -> Mapping[str, Named]: ...  # noqa: D102
    def function(self, name: str) -> Body | None: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Reading:
    """The outcome of one reading: a result, or one line why there is none."""

    result: MethodResult | None
    reason: str


def _method(body: Body) -> str:
    return "code:" + body.name.split(".")[0]


def _why_implausible(start: int | None, end: int | None) -> str:
    """Why these cannot be the window's bounds; empty if they can."""
    for name, bound in (("start", start), ("end", end)):
        if bound is not None and (bound < LOWEST or bound % PAGE):
            return f"{name} {bound:#018x} is no page of the kernel half"
    if start is not None and end is not None and start >= end:
        return f"start {start:#018x} is not below end {end:#018x}"
    return ""


def _why_hidden(body: Body) -> str:
    """Why the code is not that of the function; empty if it is, as far as anybody can see."""
    for at, what in hidden(body.va, body.bytes):
        return (
            f"{body.name}: at {at:#x} stands {what} of somebody else, and what it replaced is not"
            " known here: no list of kprobes, no file of this build"
        )
    return ""


def read_compare(body: Body) -> Reading:
    """`WARN_ON(start < VMEMMAP_START || end > VMEMMAP_END)` of a function(start, end, ...).

    If only one bound is checked, the other is None and `reason` says so.
    """
    if why := _why_hidden(body):
        return Reading(None, why)
    follower = Follower(body.bytes, body.va)
    guard = follower.guard()
    if guard.low is None and guard.high is None:
        return Reading(None, f"{body.name}: {guard.reason}")
    wrong = _why_implausible(guard.low, guard.high)
    if wrong:
        return Reading(None, f"{body.name}: {wrong}")
    detail = "; ".join(follower.text(pc) for pc in guard.rests_on)
    reason = f"{body.name}: {guard.reason}" if guard.reason else ""
    return Reading(MethodResult(guard.low, guard.high, _method(body), detail), reason)


def read_call(body: Body, image: Image) -> Reading:
    """Floor and ceiling in `free_empty_tables(start, end, floor, ceiling)` of vmemmap_free.

    A callee the compiler rewrote (.constprop, .isra) may take other arguments: not read. Every
    call must pass the caller's own start and end first, and all calls the same bounds.
    """
    if why := _why_hidden(body):
        return Reading(None, why)
    callee = image.symbols([CALLEE]).get(CALLEE)
    if callee is None:
        return Reading(None, f"no {CALLEE} in the image: inlined, or no names")
    if re.search(r"\.(constprop|isra|part|specialized)\b", callee.name):
        return Reading(None, f"{callee.name} may take other arguments than its source says")
    follower = Follower(body.bytes, body.va)
    calls = [call for call in follower.calls() or () if call.target == callee.va]
    bounds = {(_number(call.args[2]), _number(call.args[3])) for call in calls}
    start, end = next(iter(bounds), (None, None))
    if not calls:
        why = f"no call of {CALLEE} is found"
    elif any(call.args[:2] != (("f", 0, ()), ("f", 1, ())) for call in calls):
        why = f"{CALLEE} is not called with start and end"
    elif len(bounds) != 1 or start is None or end is None:
        why = f"floor and ceiling of {CALLEE} are not constants"
    else:
        why = _why_implausible(start, end)
    if why:
        return Reading(None, f"{body.name}: {why}")
    detail = "; ".join(f"{follower.text(call.at)} ({CALLEE}): x2, x3" for call in calls)
    return Reading(MethodResult(start, end, f"{_method(body)}:{CALLEE}", detail), "")


def read_vmcoreinfo(image: Image) -> Reading:
    """Constants that the kernel prints into its VMCOREINFO note, labelled by their format strings.

    Every labelled number is in `MethodResult.facts`; VMEMMAP_START and _END, VA_BITS, PAGESIZE and
    SIZE(page) also in their fields. A label printed with two different numbers is left out.
    """
    append = image.symbols([APPEND]).get(APPEND)
    bodies = [body for name in VMCOREINFO_FUNCTIONS if (body := image.function(name)) is not None]
    if append is None or not bodies:
        missing = APPEND if append is None else VMCOREINFO_FUNCTIONS[0]
        return Reading(None, f"no {missing} in the image: CONFIG_VMCORE_INFO=n, or no names")
    facts: dict[str, int] = {}
    printed_at: dict[str, str] = {}
    conflicting: set[str] = set()
    for body in bodies:
        if why := _why_hidden(body):
            return Reading(None, why)
        for call in Follower(body.bytes, body.va).calls() or ():
            labelled = _labelled(call, image) if call.target == append.va else None
            if labelled is None:
                continue
            label, number = labelled
            if not _FIXED.match(label):
                continue
            if number is None or facts.setdefault(label, number) != number:
                conflicting.add(label)
            printed_at.setdefault(label, f"{call.at:#x} in {body.name}")
    facts = {label: number for label, number in facts.items() if label not in conflicting}
    start, end = facts.get("VMEMMAP_START"), facts.get("VMEMMAP_END")
    if start is None and end is None:
        return Reading(None, "VMCOREINFO has no constant VMEMMAP_START: kernels before 5.18")
    wrong = _why_implausible(start, end)
    if wrong:
        return Reading(None, f"VMCOREINFO: {wrong}")
    named = [name for name in ("VMEMMAP_START", "VMEMMAP_END") if name in facts]
    detail = "; ".join(f"NUMBER({name}) at {printed_at[name]}" for name in named)
    return Reading(
        MethodResult(
            start,
            end,
            "code:vmcoreinfo",
            detail,
            va_bits=_within(facts.get("VA_BITS"), range(36, 53)),
            page_size=_within(facts.get("PAGESIZE"), (4 << 10, 16 << 10, 64 << 10)),
            struct_page=_within(facts.get("SIZE(page)"), range(32, 257, 8)),
            facts=tuple(sorted(facts.items())),
        ),
        "" if len(named) == 2 else "VMCOREINFO has one of the two bounds only",
    )


def from_compare(code: Body, image: Image | None = None) -> MethodResult | None:
    """`read_compare` in the form gather uses: both bounds or None."""
    result = read_compare(code).result
    return result if result is not None and result.window is not None else None


def from_call(code: Body, image: Image) -> MethodResult | None:
    """`read_call` in the form gather uses."""
    return read_call(code, image).result


def from_vmcoreinfo(image: Image) -> MethodResult | None:
    """`read_vmcoreinfo` in the form gather uses: both bounds or None."""
    result = read_vmcoreinfo(image).result
    return result if result is not None and result.window is not None else None


def _number(value: Value) -> int | None:
    return value[1] if value is not None and value[0] == "c" else None


def _within(number: int | None, good: Iterable[int]) -> int | None:
    return number if number is not None and number in good else None


def _string(value: Value, image: Image) -> str | None:
    """The C string at a constant address, printable ASCII only."""
    if value is None or value[0] not in ("p", "c"):
        return None
    data = b""
    for size in (STRING_CAP, 64, 32, 16, 8):  # the last strings of a section end before the cap
        data = image.read(value[1], size) or b""
        if data:
            break
    text, end, _ = data.partition(b"\0")
    good = end and all(32 <= byte < 127 or byte == 10 for byte in text)
    return text.decode("ascii") if good else None


def _labelled(call: Call, image: Image) -> tuple[str, int | None] | None:
    """Label and number of one vmcoreinfo_append_str(format, ...); None: another kind of line."""
    text = _string(call.args[0], image)
    if text is None:
        return None
    if _PAGESIZE.match(text):
        return "PAGESIZE", _number(call.args[1])
    match = _LABEL.match(text)
    if match is None:
        return None
    label, values = match[1], call.args[1:]
    if label == "%s":
        name = _string(values[0], image)
        if name is None:
            return None
        label, values = name, values[1:]
    elif "%" in label:
        return None
    return f"SIZE({label})" if text.startswith("SIZE") else label, _number(values[0])
