# SPDX-License-Identifier: GPL-2.0-only
"""The command ``boot``: kernel parameters that capture from boot on, and what they have caught.

stdout is the parameters, or with ``--undo`` commands of the shell; stderr says what they do.
Nothing is written or switched but by ``--collect``, and that only to the file named and, with
``--remove``, in tracefs. ``tui.commands.main`` registers it.
"""

# ruff: noqa: PLC0415

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from tui.commands.completing import files
from tui.commands.quantities import size_of
from tui.streams import say, write

if TYPE_CHECKING:
    from tracers.live.boot.parameters import Written
    from tracers.live.boot.plan import Plan

EXIT_INCONCLUSIVE: Final = 3
_FILE: Final = click.Path(path_type=Path)
_EXPECTED: Final = 256 << 30  # bytes of device memory
_BESIDE: Final = 256  # bytes of a command line that is not at hand
_FORMS: Final = ("cmdline", "grub", "bootconfig")
_INSTALL: Final = {
    "cmdline": "add it to the kernel's command line (a boot loader's shell may need it in '')",
    "grub": "put it into /etc/default/grub.d/vmemscope.cfg, then run update-grub",
    "bootconfig": "append it to the initramfs with the kernel's tools/bootconfig (bootconfig -a"
    " FILE INITRD), and add the parameter bootconfig",
}
_UNDO: Final = {
    "cmdline": "# take kprobe_event=, trace_event=, trace_clock=, trace_buf_size= and log_buf_len="
    " off the kernel's command line again",
    "grub": "rm /etc/default/grub.d/vmemscope.cfg && update-grub",
    "bootconfig": "bootconfig -d INITRD  # and take the parameter bootconfig away",
}
_UNDO_NOW: Final = """\
# the probes of this boot, without another one: vmemscope boot --collect --remove -o FILE, or
cd /sys/kernel/tracing
for event in $(grep -oE '(vmemscope/boot|kprobes/vmemscope_boot)_[a-z0-9_]+' kprobe_events); do
\techo '!'"${event%/*}:${event#*/}" >> set_event
\techo "-:$event" >> kprobe_events
done"""

#: kernel/trace/trace_events.c: a ring that may hold a removed event's records is emptied.
REMOVED: Final = "the probes are removed, and with them all that the ring buffer held"


@click.command(
    short_help="Print kernel parameters that capture from boot on; collect what they caught.",
    epilog="Exit codes: 0 every call is seen or derived, 3 with gaps, 2 usage, unreadable, or no "
    "probe is possible; with --collect those of record.",
)
@click.argument("kernel", required=False, type=_FILE)
@click.option("--live", is_flag=True, help="The running kernel. [default on arm64]")
@click.option("--system-map", type=_FILE, help="Names for a KERNEL without: System.map, kallsyms.")
@click.option(
    "--vmlinux",
    type=_FILE,
    help="The running kernel's image, where its memory cannot be read.",
)
@click.option(
    "--form",
    type=click.Choice(_FORMS),
    default="cmdline",
    help="Parameters, a file for /etc/default/grub.d, or a boot configuration. [default: cmdline]",
)
@click.option(
    "--expect",
    metavar="SIZE",
    callback=size_of,
    help="Device memory that is added and removed: sizes the buffers. [default: 256G]",
)
@click.option("--buffer", metavar="SIZE", callback=size_of, help="The ring buffer of each CPU.")
@click.option(
    "--beside",
    metavar="BYTES",
    type=click.IntRange(0, 2047),
    help="What the command line has besides. [default: that of /proc/cmdline, for KERNEL 256]",
)
@click.option("--undo", is_flag=True, help="Print how to take it away again.")
@click.option("--collect", is_flag=True, help="After the boot: record what was caught.")
@click.option("-o", "--output", shell_complete=files, help="With --collect: new file; - streams.")
@click.option(
    "--remove",
    is_flag=True,
    help="With --collect: then remove the probes, which empties the ring.",
)
def boot(
    *,
    kernel: Path | None,
    live: bool,
    system_map: Path | None,
    vmlinux: Path | None,
    form: str,
    expect: int | None,
    buffer: int | None,
    beside: int | None,
    undo: bool,
    collect: bool,
    output: str | None,
    remove: bool,
) -> None:
    """Print kernel parameters that capture from boot on, for exactly this kernel.

    KERNEL is an arm64 vmlinux or Image, packed or not; without it the running kernel takes each
    probe, disabled, and forgets it again. No probe is printed that the kernel would refuse: where
    it does not let a function be traced, its calls in others are, and those places are this
    build's alone. After the boot, as root:

    \b
        vmemscope boot --collect -o FILE.arrows

    reads what the probes caught, without taking it away, and says what the buffer lost.
    """  # noqa: D301 (click's mark for lines to be left as they are)
    if collect:
        if kernel or undo or live:
            raise click.UsageError(
                "--collect reads this machine: --vmlinux names its kernel's file"
            )
        if output is None:
            raise click.UsageError("--collect needs -o FILE")
        sys.exit(_collect(output, vmlinux, remove=remove))
    if output is not None or remove:
        raise click.UsageError("-o and --remove go with --collect")
    if undo:
        write(lambda: sys.stdout.write(f"{_UNDO[form]}\n{_UNDO_NOW}\n"))
        return
    if kernel is None and not live and os.uname().machine != "aarch64":
        raise click.UsageError("name an arm64 KERNEL: this machine does not run one")
    if kernel is not None and (live or vmlinux):
        raise click.UsageError("KERNEL is a file's, --live and --vmlinux the running one: give one")
    if system_map and kernel is None:
        raise click.UsageError("--system-map names what is in a file: name that, too")
    plan = _plan(kernel, system_map, vmlinux)
    written = _written(plan, form, expect or _EXPECTED, buffer, _beside(kernel, beside))
    _told(plan, written, form, running=kernel is None)
    write(lambda: sys.stdout.write(written.text + "\n"))
    if written.left_out or _gaps(plan):
        sys.exit(EXIT_INCONCLUSIVE)


def _plan(kernel: Path | None, system_map: Path | None, vmlinux: Path | None) -> "Plan":
    from tracers.errors import VmemscopeError
    from tracers.live.boot.plan import plan_for_image, plan_for_running

    if kernel is None:
        plan = plan_for_running(vmlinux)
    else:
        from tracers.constants.image.kernel_image import open_kernel

        with open_kernel(kernel, system_map=system_map) as image:
            plan = plan_for_image(image)
    if not plan.events:
        reasons = dict.fromkeys(why for point in plan.attached for _, why in point.refused)
        raise VmemscopeError(f"no probe is possible: {'; '.join(list(reasons)[:3])}")
    return plan


def _written(plan: "Plan", form: str, expect: int, ring: int | None, beside: int) -> "Written":
    from tracers.errors import VmemscopeError
    from tracers.live.boot import parameters

    wanted = parameters.sizes(plan, expect, ring)
    if form == "bootconfig":
        if plan.bootconfig is False:
            raise VmemscopeError(
                "this kernel reads no ftrace keys of a boot configuration"
                " (CONFIG_BOOTTIME_TRACING=n): --form cmdline or grub"
            )
        return parameters.boot_configuration(plan, wanted)
    make = parameters.grub if form == "grub" else parameters.command_line
    written = make(plan, wanted, beside)
    if not written.text:
        raise VmemscopeError(f"{beside} bytes leave no room on a command line of 2047")
    return written


def _beside(kernel: Path | None, given: int | None) -> int:
    """Return how much of the command line others have."""
    if given is not None or kernel is not None:
        return _BESIDE if given is None else given
    try:
        words = Path("/proc/cmdline").read_text(errors="replace").split()
    except OSError:
        return _BESIDE
    from tracers.live.boot.parameters import others

    mine, theirs = others(words)
    for word in theirs:
        name = word.partition("=")[0]
        if name in mine and name != "trace_event":
            say(f"note: the command line has {name} already: the last one counts")
    return len(" ".join(theirs)) + 1


def _told(plan: "Plan", written: "Written", form: str, *, running: bool) -> None:
    from recordings.reports.probe_summary import summary
    from recordings.wording.escape import printable
    from recordings.wording.units import count, size

    machine = plan.machine
    build = f", build id {machine.build_id}" if machine.build_id else ""
    how = "each probe was taken by it" if plan.proven else "by what its image shows"
    say(f"for {printable(machine.release or 'a kernel of unknown release')}{build}: {how}")
    say(f"probes: {summary(plan.probes)}")
    for name, how in plan.probes.items():
        if how.startswith("derived"):
            say(f"note: {printable(name)}: {printable(how)}")
    for gap in _gaps(plan):
        say(f"not seen: {printable(gap)}")
    for name in written.left_out:
        say(f"left out, as it does not fit: {printable(name)}")
    sizes = written.sizes
    cpus = _cpus() if running else None
    total = f", {size(sizes.ring * cpus)} for {cpus} CPUs" if cpus else ""
    held = size(sizes.sections * plan.section_bytes)
    say(
        f"buffer: {size(sizes.ring)} a CPU{total}; on one CPU it holds {count(sizes.sections)}"
        f" sections ({held}) added and removed, with a WARN each time"
    )
    if form != "bootconfig":
        say(f"command line: {written.bytes} bytes of 2047")
    since = "core_initcall" if form == "bootconfig" else "fs_initcall"
    say(
        f"on from the end of {since}, before drivers and hotplug; memory there at boot is mapped"
        " before any probe"
    )
    say(f"to install: {_INSTALL[form]}")
    say("after the boot: vmemscope boot --collect -o FILE; to be rid of it: vmemscope boot --undo")


def _gaps(plan: "Plan") -> list[str]:
    """Return what no probe can see on this kernel, and why."""
    return [
        f"{point.function}: {point.how}"
        for point in plan.attached
        if point.probe is None and not point.absent and not point.derived
    ]


def _cpus() -> int | None:
    """Return how many CPUs there can be: each has a ring."""
    try:
        text = Path("/sys/devices/system/cpu/possible").read_text()
        return int(text.strip().rpartition("-")[2]) + 1
    except (OSError, ValueError):
        return None


def _collect(output: str, vmlinux: Path | None, *, remove: bool) -> int:
    from recordings.capture.collecting import Collection, collect
    from recordings.ledger.headline import WORDS, verdict_summary
    from recordings.reports.probe_summary import summary
    from recordings.wording.escape import printable
    from recordings.wording.units import count
    from tracers.live.boot.collect import Collected

    streaming = output == "-"
    if streaming and sys.stdout.isatty():
        raise click.UsageError("a recording is no text for a terminal: name a file with -o")
    source = Collected(vmlinux=vmlinux)
    say(f"probes of this boot: {summary(source.probes)}")
    for note in (*source.machine.problems, *source.notes):
        say(f"note: {printable(note)}")
    done: list[Collection] = []
    write(lambda: done.append(collect(source, sys.stdout.buffer if streaming else Path(output))))
    if not done:
        say("stdout: its reader has gone away: nothing more was collected")
        return 2
    snapshot = done[0].snapshot
    say(f"{'stdout' if streaming else printable(output)}: {count(done[0].events)} events")
    if source.lost:
        say(f"lost: {count(source.lost)} events")
    say(f"{WORDS[snapshot.verdict]}: {verdict_summary(snapshot)}")
    for text in (*snapshot.verdict_reasons[1:], *done[0].closing):
        say(printable(text))
    if remove:
        for text in source.remove() or (REMOVED,):
            say(printable(text))
    return snapshot.verdict.exit_code
