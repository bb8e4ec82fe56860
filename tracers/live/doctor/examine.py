# SPDX-License-Identifier: GPL-2.0-only
"""Diagnoses live capture on this machine: what works, and what to do about what does not.

Promises: every probe is really attached (disabled) and removed again, so the rung shown is the one
``record`` would get. Nothing is enabled, no event is taken. What cannot be found out is "unknown",
never "ok". It always ends with a diagnosis, whatever the user's rights.
"""

import errno
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tracers.errors import VmemscopeError
from tracers.explain import bits_in_use, blindness
from tracers.kernel_functions import KINDS, REQUESTS
from tracers.live.bcc import find_module
from tracers.live.boot.definitions import read_definitions
from tracers.live.doctor.early import Early
from tracers.live.doctor.panics import panicking
from tracers.live.doctor.state import (
    CONFIDENTIALITY,
    State,
    filesystem,
    read,
    read_state,
    visible,
)
from tracers.live.doctor.steps import steps
from tracers.live.kmsg.ring import Ring, read_ring
from tracers.live.probes.engine import LiveError
from tracers.live.probes.ladder import Attached
from tracers.live.probes.points import Rung
from tracers.live.probes.running_kernel import RunningKernel, read_kernel
from tracers.live.probes.survey import Survey, survey
from tracers.live.session import ENGINES, open_live, why_no_log
from tracers.live.tracefs import breakpoints, cleanup
from tracers.machine import Machine

OK, NO, UNKNOWN = "ok", "no", "unknown"
_LOGGED: Final = (
    "nothing is attached: WARNs and Oopses of the kernel log, those since the boot first, with the"
    " arguments that their registers prove"
)
_TRACING: Final = ("sys/kernel/tracing", "sys/kernel/debug/tracing")


@dataclass(frozen=True, slots=True)
class Check:
    """One thing checked. ``steps``: what changes the answer, by distribution, "" for any.

    There are none if it is ok, or if nothing helps here.
    """

    name: str
    status: str
    finding: str
    steps: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trial:
    """The trial of one engine: how each probe point was attached, or why it does not work here."""

    engine: str
    attached: tuple[Attached, ...] = ()
    notes: tuple[str, ...] = ()
    failed: str = ""
    sees: str = ""  # of an engine that attaches nothing: what it sees


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The result. ``exit_code``: 0 everything is observed, 3 with gaps, 2 not possible here."""

    release: str
    arch: str
    checks: tuple[Check, ...]
    trials: tuple[Trial, ...]
    machine: Machine

    @property
    def best(self) -> Trial | None:
        """The engine ``auto`` takes."""
        return next((trial for trial in self.trials if not trial.failed), None)

    @property
    def gaps(self) -> tuple[str, ...]:
        """What the best engine does not see, does not time, or cannot judge, in a few words each.

        A function that the kernel does not have is not a gap.
        """
        functions: dict[str, list[str]] = {}
        for attached in self.best.attached if self.best else ():
            if gap := _gap(attached):
                functions.setdefault(gap, []).append(attached.function)
        gaps = [] if self.best else ["no engine works"]
        gaps += [f"{gap}: {', '.join(names)}" for gap, names in functions.items()]
        if self.best and self.best.sees:
            gaps.append("only calls that warn are seen, and none is timed")
        if self.machine.window is None:
            gaps.append("the window is not known")
        elif not self.machine.agree:
            gaps.append("the window's sources contradict")
        elif not self.machine.window.use_known:
            gaps.append("which part of the window is in use is not known")
        return tuple(gaps)

    @property
    def exit_code(self) -> int:
        """What the command exits with."""
        if self.best is None:
            return 2
        return 3 if self.gaps else 0


def examine(
    root: Path = Path("/"), vmlinux: Path | None = None, early: Early | None = None
) -> Diagnosis:
    """Check everything and try every engine. Takes as long as BCC takes to compile.

    ``vmlinux``: the running kernel's own file, for the code, as ``record`` takes it. ``early``:
    engine bcc, where opening it has begun already; it is closed here.

    Raises:
        ConstantsError: ``vmlinux`` cannot be read, or is another kernel's.
    """
    stale = _stale(root)  # engine tracefs removes them
    early = early or Early(root)
    try:
        kernel = read_kernel(tuple(KINDS), vmlinux=vmlinux, root=root)
    except BaseException:
        early.close()
        raise
    try:
        surveyed = survey(kernel, first=Rung.FENTRY, root=root)
        # the one that still compiles comes last
        tried = {engine: _try(engine, surveyed, root, early) for engine in reversed(ENGINES)}
        own = kernel.files.own_path() if kernel.text is None else None
        state = read_state(root, own)
        checks = (
            _arch(),
            _rights(state),
            _lockdown(state),
            _kallsyms(kernel, state),
            _text(kernel, state, vmlinux),
            _btf(kernel),
            _tracefs(state),
            _bcc(root),
            _breakpoints(state),
            _kernel_log(state),
            _witnesses(root),
            _panics(state),
            _window(surveyed, state),
            *_stale_probes(stale, state),
            *_boot_probes(state),
        )
    finally:
        early.close()
        kernel.close()
    uname = os.uname()
    trials = tuple(tried[engine] for engine in ENGINES)
    return Diagnosis(uname.release, uname.machine, checks, trials, surveyed.machine)


def _gap(attached: Attached) -> str | None:
    if attached.probe is not None:
        return None if attached.probe.timed else "not timed"
    if attached.absent or attached.kind in REQUESTS:  # these tell why, and no call is missed
        return None
    return "only derived" if attached.derived else "not seen"


def _try(engine: str, surveyed: Survey, root: Path, early: Early) -> Trial:
    opened = early.take if engine == "bcc" else None
    try:
        if engine == "kmsg":  # to be opened is all it takes
            Ring(root).close()
            why_not = why_no_log()
            return Trial(engine, failed=why_not, sees="" if why_not else _LOGGED)
        with open_live(engine=engine, surveyed=surveyed, opened=opened, root=root) as live:
            return Trial(engine, live.attached, live.notes)
    except (VmemscopeError, OSError) as error:
        return Trial(engine, failed=str(error))


def _arch() -> Check:
    machine = os.uname().machine
    if machine == "aarch64":
        return Check("machine", OK, "arm64")
    if machine == "x86_64":
        finding = (
            "x86_64: calls are recorded by their entry probes and timed; where they fall is not"
            " judged, as the window and its WARN are arm64's (x86 has vmemmap_base and no check)"
        )
    else:
        finding = f"{machine}: nothing here is known for it"
    return Check("machine", NO, finding, steps("arm64"))


def _rights(state: State) -> Check:
    if state.missing is None:
        return Check("rights", UNKNOWN, "/proc/self/status does not say")
    if state.missing:
        step = steps("container" if state.is_root else "root")
        return Check("rights", NO, f"missing {', '.join(state.missing)}", step)
    return Check("rights", OK, "root" if state.is_root else "the capabilities needed")


def _lockdown(state: State) -> Check:
    folder = state.root / "sys/kernel/security"
    if read(folder / "lockdown") is None:
        if (read(folder / "lsm") or "").strip():  # securityfs itself lists the modules there are
            return Check("lockdown", OK, "the kernel has none")
        finding = "securityfs is not mounted, or not readable"
        empty = visible(folder) and not visible(folder / "lsm")
        can = empty and filesystem(state.root, "securityfs")
        return Check("lockdown", UNKNOWN, finding, state.as_root("securityfs") if can else {})
    if state.lockdown is None:
        return Check("lockdown", UNKNOWN, "/sys/kernel/security/lockdown names no mode")
    # security/security.c: kprobes and reads of kernel memory fall to confidentiality
    if state.locked:
        finding = f"{CONFIDENTIALITY}: no kprobes, no kcore"
        return Check("lockdown", NO, finding, steps("lockdown"))
    return Check("lockdown", OK, state.lockdown)


def _kallsyms(kernel: RunningKernel, state: State) -> Check:
    if kernel.names is None:
        finding = f"{kernel.missing['kallsyms']}; kptr_restrict is {state.restrict}"
        return Check("symbols", NO, finding, state.names())
    finding = f"/proc/kallsyms shows addresses (kptr_restrict {state.restrict})"
    return Check("symbols", OK, finding)


def _text(kernel: RunningKernel, state: State, vmlinux: Path | None) -> Check:
    if kernel.text is not None:
        where = "/proc/kcore, by the names of /proc/kallsyms"
        return Check("kernel text", OK, where if vmlinux is None else str(vmlinux))
    if kernel.arch != "aarch64":
        next_steps = steps("arm64")
    else:
        next_steps = state.names() if kernel.names is None else state.text()
    return Check("kernel text", NO, kernel.missing["text"], next_steps)


def _btf(kernel: RunningKernel) -> Check:
    why = kernel.missing.get("btf")
    if why is not None:
        there = visible(kernel.files.root / "sys/kernel/btf/vmlinux")
        return Check("BTF", NO, f"/sys/kernel/btf/vmlinux: {why}", {} if there else steps("btf"))
    return Check("BTF", OK, "/sys/kernel/btf/vmlinux: prototypes and sizeof(struct page)")


def _tracefs(state: State) -> Check:
    for directory in _TRACING:
        if found := _tracefs_in(directory, state):
            return found
    return _no_tracefs(state)


def _tracefs_in(directory: str, state: State) -> Check | None:
    """Check tracefs in one of the places where it can be mounted; None: it is not there."""
    path = state.root / directory
    try:
        names = {each.name for each in path.iterdir()}
        if "kprobe_events" in names:
            (path / "kprobe_events").open("rb").close()
            return Check("tracefs", OK, f"/{directory} with kprobe events")
    except PermissionError as error:
        return Check("tracefs", NO, f"/{directory}: {error.strerror}", state.access())
    except OSError:
        return None
    if "trace" in names:
        return Check("tracefs", NO, "mounted, no kprobe_events", steps("kprobe_events"))
    return None


def _no_tracefs(state: State) -> Check:
    if cleanup.mounted(state.root):
        # fs/tracefs/inode.c makes no file under confidentiality (LOCKDOWN_TRACEFS)
        why = f": lockdown={CONFIDENTIALITY} keeps it so" if state.locked else ""
        return Check("tracefs", NO, f"mounted, and empty{why}", steps("lockdown") if why else {})
    if state.locked:
        finding = f"not mounted, and empty under lockdown={CONFIDENTIALITY}"
        return Check("tracefs", NO, finding, steps("lockdown"))
    if not filesystem(state.root, "tracefs"):
        return Check("tracefs", NO, "this kernel has none", steps("ftrace"))
    return Check("tracefs", NO, "not mounted", state.as_root("tracefs"))


def _bcc(root: Path) -> Check:
    try:
        return Check("BCC", OK, f"{find_module.describe(root)}; it needs no kernel headers")
    except LiveError as error:
        broken = find_module.installed(root)
        return Check("BCC", NO, str(error), steps("broken bcc" if broken else "bcc"))


def _breakpoints(state: State) -> Check:
    try:
        free = breakpoints.free_breakpoints()
    except OSError as error:
        denied = error.errno in (errno.EACCES, errno.EPERM)
        finding = f"perf_event_open: {error.strerror}"
        return Check("breakpoints", UNKNOWN, finding, state.access() if denied else {})
    if free < 2:
        finding = f"{free} of the CPU's slots free: two are needed to time a call"
        return Check("breakpoints", NO, finding, steps("breakpoints"))
    return Check("breakpoints", OK, f"{free} slots free")


def _kernel_log(state: State) -> Check:
    try:
        ring = read_ring(state.root)
    except LiveError as error:
        there = visible(state.root / "dev/kmsg")
        return Check("kernel log", NO, str(error), state.log() if there else {})
    return Check("kernel log", OK, f"/dev/kmsg: {ring.describe}")


def _witnesses(root: Path) -> Check:
    known = []
    if any(visible(root / base / "events/error_report") for base in _TRACING):
        known.append("error_report_end")
    if visible(root / "sys/kernel/warn_count"):
        known.append("/sys/kernel/warn_count")
    if not known:
        return Check(
            "witnesses",
            UNKNOWN,
            "neither error_report_end nor warn_count: WARNs are counted by __warn alone",
        )
    return Check("witnesses", OK, ", ".join(known))


def _panics(state: State) -> Check:
    panics = panicking(state.root)
    enabled = [name for name, on in panics.items() if on]
    if enabled:
        finding = f"{' and '.join(enabled)}: a recording on this machine ends with the kernel"
        off = " ".join(f"kernel.{name}=0" for name in enabled)
        sudo = "" if state.is_root else "sudo "
        return Check("panics", NO, finding, {"": f"{sudo}sysctl {off}; {steps('stream')['']}"})
    hidden = [name for name in ("panic_on_warn", "panic_on_oops") if panics[name] is None]
    if hidden:
        return Check("panics", UNKNOWN, f"{' and '.join(hidden)} cannot be read")
    return Check("panics", OK, "a WARN or an Oops does not stop the machine")


def _window(surveyed: Survey, state: State) -> Check:
    machine, window = surveyed.machine, surveyed.machine.window
    if window is None:
        ours = os.uname().machine == "aarch64"
        next_steps = state.text() if ours else steps("arm64")
        return Check("window", NO, f"not known: {surveyed.why}", next_steps)
    finding = f"0x{window.start:016x} - 0x{window.end:016x}"
    if not machine.agree:
        said = next(iter(machine.problems), "vmemscope window --live shows them")
        return Check("window", NO, f"{finding}: its sources contradict: {said}")
    finding += f" ({window.provenance.get('window', 'origin not known')})"
    if window.used[0] != window.start:
        finding += (
            f"; in use from 0x{window.used[0]:016x}: {bits_in_use(window)}. {blindness(window)}"
        )
    if not window.use_known:
        # NUMBER(TCR_EL1_T1SZ) of the note in /proc/kcore says it
        return Check("window", UNKNOWN, finding, state.access())
    return Check("window", OK, finding)


def _stale(root: Path) -> tuple[str, ...]:
    try:
        return cleanup.find_stale(root)
    except LiveError:  # reported by _tracefs
        return ()


def _stale_probes(before: tuple[str, ...], state: State) -> Iterator[Check]:
    stay = set(before) & set(_stale(state.root))
    if stay:
        finding = f"of killed runs: {', '.join(sorted(stay))}"
        yield Check("stale probes", NO, finding, state.access())
    elif before:
        yield Check("stale probes", OK, f"of killed runs, removed now: {', '.join(before)}")


def _boot_probes(state: State) -> Iterator[Check]:
    """Say what probes the kernel's parameters have made: they are nobody's leftovers."""
    texts = (read(state.root / directory / "kprobe_events") for directory in _TRACING)
    made = read_definitions(next((text for text in texts if text is not None), ""))
    if made:
        finding = f"{len(made)} from the kernel's parameters: vmemscope boot --collect -o FILE"
        yield Check("boot probes", OK, finding)
