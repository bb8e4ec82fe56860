# SPDX-License-Identifier: GPL-2.0-only
"""Writes a plan as kernel parameters, as a GRUB drop-in, or as a boot configuration.

Promises: a command line fits in what the kernel keeps of it, together with what is there already;
what had to be left out for that is named, the least important first. Sizes are computed from what
is expected.

When what is on, by the kernel's order of initcalls (read at 6.1.192 and 6.12.117): the ring buffer
and its clock before any initcall (early_trace_init); ``trace_event=`` right after it;
``kprobe_event=`` at fs_initcall (init_kprobe_trace), so drivers, which are device_initcall or
modules, and ACPI's and virtio's memory come after it; ``ftrace.*`` of a boot configuration at the
end of core_initcall (trace_boot_init). Memory that is there at boot is mapped before all of these
(sparse_init) and by nobody's probe to be seen. The monotonic clock runs from timekeeping_init on.

Sources: COMMAND_LINE_SIZE in arch/arm64/include/uapi/asm/setup.h, which is also the size of the
buffer for ``kprobe_event=`` (kernel/trace/trace_kprobe.c: commas become spaces, and one definition
that is refused does not keep the others out); MAX_BUF_LEN in kernel/trace/trace_boot.c; the ring
has its size at once only if an event is enabled from the command line (kernel/trace/trace_events.c,
setup_trace_event), so one is.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from tracers.kinds import Kind, Phase
from tracers.live.boot.definitions import BOOTCONFIG_GROUP, GROUP, BootEvent
from tracers.live.boot.plan import REPORT, Plan

COMMAND_LINE: Final = 2048  # COMMAND_LINE_SIZE, with the NUL at the end
_DEFINITION: Final = 256  # MAX_BUF_LEN, of a boot configuration's probe, with its NUL
_MIB: Final = 1 << 20
_MOST_BUFFER: Final = 1 << 30  # a CPU
_LOG_WARN: Final = 2300  # bytes that a WARN of ours takes in the kernel log, with its call trace
_LOG_MOST: Final = 16 * _MIB
_LOG_LEAST: Final = _MIB
_REPORT_BYTES: Final = 32
#: Of a page's 4096 bytes, what records can fill: its header, and a record that no longer fits.
_USABLE: Final = 0.95
#: Calls that each section brings: added, removed. Of other kinds there is one an operation.
_A_SECTION: Final = {
    Kind.POPULATE: 1,
    Kind.FREE: 1,
    Kind.SECTION_ADD: 1,
    Kind.SECTION_REMOVE: 1,
    Kind.WARN: 2,
}
#: What is left out first where it does not fit: times, and of calls those that others imply. The
#: end of __add_pages is not here: it is what derived calls are proven by.
_SPARED: Final = (
    (Kind.MEMUNMAP, Phase.EXIT),
    (Kind.REMOVE_PAGES, Phase.EXIT),
    (Kind.SECTION_REMOVE, Phase.EXIT),
    (Kind.SECTION_REMOVE, Phase.ENTRY),
    (Kind.FREE, Phase.EXIT),
    (Kind.MEMREMAP, Phase.EXIT),
    (Kind.WARN, Phase.EXIT),
    (Kind.MEMUNMAP, Phase.ENTRY),
    (Kind.MEMREMAP, Phase.ENTRY),
    (Kind.REMOVE_PAGES, Phase.ENTRY),
    (Kind.SECTION_ADD, Phase.EXIT),
    (Kind.POPULATE, Phase.EXIT),
    (Kind.SECTION_ADD, Phase.ENTRY),
)


@dataclass(frozen=True, slots=True)
class Sizes:
    """The buffers: bytes per CPU of the ring, of the kernel log, and what fits in the ring."""

    ring: int
    log: int
    sections: int  # each added and removed, with a WARN each time, all on one CPU


@dataclass(frozen=True, slots=True)
class Written:
    """Parameters, and the events that they define.

    ``left_out``: what did not fit. ``bytes``: how much of a command line they take.
    """

    text: str
    bytes: int
    events: tuple[BootEvent, ...]
    left_out: tuple[str, ...]
    sizes: Sizes


def sizes(plan: Plan, expected: int, ring: int | None = None) -> Sizes:
    """Return the buffers for ``expected`` bytes of device memory, added and removed once.

    ``ring``: bytes of the ring per CPU, in place of those that are computed.
    """
    sections = -(-expected // plan.section_bytes)
    each = sum(_A_SECTION.get(event.kind, 0) * event.record_bytes for event in plan.events)
    each += 2 * _REPORT_BYTES if plan.reports else 0
    if ring is None:
        ring = _rounded(int(sections * each / _USABLE), _MIB, _MOST_BUFFER)
    log = _rounded(2 * sections * _LOG_WARN, _LOG_LEAST, _LOG_MOST)
    return Sizes(ring, log, int(ring * _USABLE) // each if each else 0)


def command_line(plan: Plan, wanted: Sizes, taken: int) -> Written:
    """Return kernel parameters; ``taken``: bytes of the command line that others have."""
    room = COMMAND_LINE - 1 - taken
    events = list(plan.events)
    log = True
    left_out: list[str] = []
    while True:
        text = _joined(_parameters(plan, events, wanted, log=log)) if events else ""
        if len(text) <= room or not events:
            return Written(text, len(text), tuple(events), tuple(left_out), wanted)
        if log:
            log = False
            left_out.append("log_buf_len")
        else:
            left_out += _drop(events)


def grub(plan: Plan, wanted: Sizes, taken: int) -> Written:
    """Return a file for /etc/default/grub.d: shell, whose words GRUB's own shell reads again."""
    plain = command_line(plan, wanted, taken)
    words = " ".join(
        f"'{word}'" if ";" in word else word for word in plain.text.split()
    )  # GRUB's language ends a command at ";", and takes what is in single quotes as it is
    text = (
        "# Probes of vmemscope from boot on: to be rid of them, vmemscope boot --undo --form grub\n"
        f'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX {words}"'
    )
    return replace(plain, text=text if plain.text else "")


def boot_configuration(plan: Plan, wanted: Sizes) -> Written:
    """Return a boot configuration: no limit on all, one on each definition."""
    events, left_out = [], []
    for event in plan.events:
        name, definition = event.bootconfig()
        fits = len(f"p:{BOOTCONFIG_GROUP}/{name} {definition}") < _DEFINITION
        if fits:
            events.append(event)
        else:
            left_out.append(f"{event.name}: its definition is longer than {_DEFINITION - 1} bytes")
    lines = [
        "ftrace {",
        "\ttrace_clock = mono",
        f"\tbuffer_size = {wanted.ring >> 10}KB",
        "\tevent {",
        *([f"\t\t{REPORT.replace(':', '.')}.enable"] if plan.reports else []),
    ]
    for event in events:
        name, definition = event.bootconfig()
        lines += [
            f"\t\t{BOOTCONFIG_GROUP}.{name} {{",
            f'\t\t\tprobes = "{definition}"',
            "\t\t\tenable",
            "\t\t}",
        ]
    text = "\n".join([*lines, "\t}", "}"])
    return Written(text if events else "", 0, tuple(events), tuple(left_out), wanted)


def others(words: Sequence[str]) -> tuple[frozenset[str], list[str]]:
    """Return the names of our parameters, and the words of a command line that are not ours."""
    mine = frozenset(
        ("trace_clock", "trace_buf_size", "log_buf_len", "trace_event", "kprobe_event")
    )
    booted = any(word.startswith("kprobe_event=") and f":{GROUP}/boot_" in word for word in words)
    theirs = [word for word in words if not (booted and word.partition("=")[0] in mine)]
    return mine, theirs


def _parameters(
    plan: Plan, events: Sequence[BootEvent], wanted: Sizes, *, log: bool
) -> list[tuple[str, str]]:
    """Return the parameters in the order they are written."""
    found = [
        ("trace_clock", "mono"),
        ("trace_buf_size", f"{wanted.ring >> 10}K" if wanted.ring % _MIB else _mib(wanted.ring)),
        ("log_buf_len", _mib(wanted.log)),
        # Which event does not matter to the ring; this one is a second witness of WARNs.
        ("trace_event", REPORT if plan.reports else f"{GROUP}:"),
        ("kprobe_event", ";".join(event.line().replace(" ", ",") for event in events)),
    ]
    return [(name, value) for name, value in found if log or name != "log_buf_len"]


def _joined(parameters: Sequence[tuple[str, str]]) -> str:
    return " ".join(f"{name}={value}" for name, value in parameters)


def _drop(events: list[BootEvent]) -> list[str]:
    """Take out what is missed least: by ``_SPARED``, then the rest from the last on."""
    places = [(event.kind, event.phase) for event in events]
    gone = next((each for each in _SPARED if each in places), places[-1])
    names = [event.name for event in events if (event.kind, event.phase) == gone]
    events[:] = [event for event in events if (event.kind, event.phase) != gone]
    return names


def _rounded(size: int, least: int, most: int) -> int:
    """Return the next power of two, within bounds."""
    return min(max(1 << max(size - 1, 1).bit_length(), least), most)


def _mib(size: int) -> str:
    return f"{size >> 20}M"
