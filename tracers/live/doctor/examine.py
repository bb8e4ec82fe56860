# SPDX-License-Identifier: GPL-2.0-only
"""Diagnoses live capture on this machine: what works, and what to do about what does not.

Promises: every probe is really attached (disabled) and removed again, so the rung shown is the one
``record`` would get. Nothing is enabled, no event is taken. What cannot be found out is "unknown",
never "ok". It always ends with a diagnosis, whatever the user's rights.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tracers.errors import VmemscopeError
from tracers.explain import bits_in_use, blindness
from tracers.kernel_functions import KINDS
from tracers.live.bcc import find_module
from tracers.live.doctor.panics import panicking
from tracers.live.doctor.steps import steps
from tracers.live.probes.engine import LiveError
from tracers.live.probes.ladder import Attached
from tracers.live.probes.running_kernel import RunningKernel, read_kernel
from tracers.live.probes.survey import Survey, survey
from tracers.live.session import ENGINES, open_live
from tracers.live.tracefs import breakpoints, cleanup
from tracers.machine import Machine

OK, NO, UNKNOWN = "ok", "no", "unknown"
#: include/uapi/linux/capability.h; what /proc/kcore, tracefs, kallsyms, perf and BPF ask for.
_CAPABILITIES: Final = {
    "CAP_SYS_RAWIO": 17,
    "CAP_SYS_ADMIN": 21,
    "CAP_SYSLOG": 34,
    "CAP_PERFMON": 38,
    "CAP_BPF": 39,
}
#: Split off CAP_SYS_ADMIN by a17b53c4a4b5 and 980737282232 (5.8), which still stands for both.
_WITHIN_ADMIN: Final = ("CAP_PERFMON", "CAP_BPF")
_TRACING: Final = ("sys/kernel/tracing", "sys/kernel/debug/tracing")


@dataclass(frozen=True, slots=True)
class Check:
    """One thing checked. ``steps``: what to do, by distribution, "" for any; empty if ok."""

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


def examine(root: Path = Path("/")) -> Diagnosis:
    """Check everything and try every engine. Takes as long as BCC takes to compile."""
    stale = _stale(root)  # engine tracefs removes them
    kernel = read_kernel(tuple(KINDS), root=root)
    try:
        surveyed = survey(kernel, root=root)
        trials = tuple(_try(engine, surveyed, root) for engine in ENGINES)
        checks = (
            _arch(),
            _rights(root),
            _lockdown(root),
            _kallsyms(kernel, root),
            _text(kernel, root),
            _btf(kernel),
            _tracefs(root),
            _bcc(root),
            _breakpoints(),
            _witnesses(root),
            _panics(root),
            _window(surveyed),
            *_stale_probes(stale, root),
        )
    finally:
        kernel.close()
    uname = os.uname()
    return Diagnosis(uname.release, uname.machine, checks, trials, surveyed.machine)


def _gap(attached: Attached) -> str | None:
    if attached.probe is not None:
        return None if attached.probe.timed else "not timed"
    if attached.absent:
        return None
    return "only derived" if attached.derived else "not seen"


def _try(engine: str, surveyed: Survey, root: Path) -> Trial:
    try:
        with open_live(engine=engine, surveyed=surveyed, root=root) as live:
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


def _rights(root: Path) -> Check:
    text = _read(root / "proc/self/status") or ""
    effective = re.search(r"^CapEff:\s*([0-9a-f]{16})$", text, re.MULTILINE)
    if effective is None:
        return Check("rights", UNKNOWN, "/proc/self/status does not say")
    mask = int(effective[1], 16)
    held = {name for name, bit in _CAPABILITIES.items() if mask >> bit & 1}
    if "CAP_SYS_ADMIN" in held:
        held.update(_WITHIN_ADMIN)
    missing = [name for name in _CAPABILITIES if name not in held]
    if missing:
        return Check("rights", NO, f"missing {', '.join(missing)}", steps("root"))
    return Check("rights", OK, "root" if os.geteuid() == 0 else "the capabilities needed")


def _lockdown(root: Path) -> Check:
    folder = root / "sys/kernel/security"
    text = _read(folder / "lockdown")
    if text is None:
        if (_read(folder / "lsm") or "").strip():  # securityfs itself lists the modules there are
            return Check("lockdown", OK, "the kernel has none")
        return Check("lockdown", UNKNOWN, "securityfs is not mounted, or not readable")
    mode = re.search(r"\[(\w+)\]", text)
    if mode is None:
        return Check("lockdown", UNKNOWN, "/sys/kernel/security/lockdown names no mode")
    # security/security.c: kprobes and reads of kernel memory fall to confidentiality
    if mode[1] == "confidentiality":
        return Check("lockdown", NO, "confidentiality: no kprobes, no kcore", steps("lockdown"))
    return Check("lockdown", OK, mode[1])


def _kallsyms(kernel: RunningKernel, root: Path) -> Check:
    restrict = _restrict(root)
    if kernel.names is None:
        finding = f"{kernel.missing['kallsyms']}; kptr_restrict is {restrict}"
        return Check("symbols", NO, finding, _steps_to_names(root))
    return Check("symbols", OK, f"/proc/kallsyms shows addresses (kptr_restrict {restrict})")


def _restrict(root: Path) -> str:
    return (_read(root / "proc/sys/kernel/kptr_restrict") or "?").strip()


def _steps_to_names(root: Path) -> Mapping[str, str]:
    """Return how to make the kernel's names readable: kptr_restrict 2 hides them from root, too."""
    if not _visible(root / "proc/kallsyms"):
        return steps("kallsyms")
    return steps("kptr_restrict" if _restrict(root) == "2" else "sudo")


def _text(kernel: RunningKernel, root: Path) -> Check:
    if kernel.text is not None:
        return Check("kernel text", OK, "/proc/kcore, by the names of /proc/kallsyms")
    if kernel.arch != "aarch64":
        next_steps = steps("arm64")
    elif kernel.names is None:
        next_steps = _steps_to_names(root)
    else:
        next_steps = {**steps("kcore"), **steps("vmlinux")}
    return Check("kernel text", NO, kernel.missing["text"], next_steps)


def _btf(kernel: RunningKernel) -> Check:
    why = kernel.missing.get("btf")
    if why is not None:
        return Check("BTF", NO, f"/sys/kernel/btf/vmlinux: {why}", steps("btf"))
    return Check("BTF", OK, "/sys/kernel/btf/vmlinux: prototypes and sizeof(struct page)")


def _tracefs(root: Path) -> Check:
    for directory in _TRACING:
        try:
            names = {path.name for path in (root / directory).iterdir()}
        except PermissionError as error:
            return Check("tracefs", NO, f"/{directory}: {error.strerror}", steps("sudo"))
        except OSError:
            continue
        if "kprobe_events" in names:
            return Check("tracefs", OK, f"/{directory} with kprobe events")
        if "trace" in names:
            return Check("tracefs", NO, "mounted, no kprobe_events", steps("kprobe_events"))
    return Check("tracefs", NO, "not mounted", steps("tracefs"))


def _bcc(root: Path) -> Check:
    try:
        return Check("BCC", OK, f"{find_module.describe(root)}; it needs no kernel headers")
    except LiveError as error:
        return Check("BCC", NO, str(error), steps("bcc"))


def _breakpoints() -> Check:
    try:
        free = breakpoints.free_breakpoints()
    except OSError as error:
        return Check("breakpoints", UNKNOWN, f"perf_event_open: {error.strerror}")
    if free < 2:
        finding = f"{free} of the CPU's slots free: two are needed to time a call"
        return Check("breakpoints", NO, finding, steps("breakpoints"))
    return Check("breakpoints", OK, f"{free} slots free")


def _witnesses(root: Path) -> Check:
    known = []
    if any(_visible(root / base / "events/error_report") for base in _TRACING):
        known.append("error_report_end")
    if _visible(root / "sys/kernel/warn_count"):
        known.append("/sys/kernel/warn_count")
    if not known:
        return Check(
            "witnesses",
            UNKNOWN,
            "neither error_report_end nor warn_count: WARNs are counted by __warn alone",
        )
    return Check("witnesses", OK, ", ".join(known))


def _panics(root: Path) -> Check:
    panics = panicking(root)
    enabled = [name for name, on in panics.items() if on]
    if enabled:
        finding = f"{' and '.join(enabled)}: a recording on this machine ends with the kernel"
        return Check("panics", NO, finding, steps("panic"))
    hidden = [name for name in ("panic_on_warn", "panic_on_oops") if panics[name] is None]
    if hidden:
        return Check("panics", UNKNOWN, f"{' and '.join(hidden)} cannot be read")
    return Check("panics", OK, "a WARN or an Oops does not stop the machine")


def _window(surveyed: Survey) -> Check:
    machine, window = surveyed.machine, surveyed.machine.window
    if window is None:
        next_steps = steps("window" if os.uname().machine == "aarch64" else "arm64")
        return Check("window", NO, f"not known: {surveyed.why}", next_steps)
    finding = f"0x{window.start:016x} - 0x{window.end:016x}"
    if not machine.agree:
        return Check("window", NO, f"{finding}: its sources contradict", steps("window"))
    finding += f" ({window.provenance.get('window', 'origin not known')})"
    if window.used[0] != window.start:
        finding += (
            f"; in use from 0x{window.used[0]:016x}: {bits_in_use(window)}. {blindness(window)}"
        )
    if not window.use_known:
        return Check("window", UNKNOWN, finding, steps("bits"))
    return Check("window", OK, finding)


def _stale(root: Path) -> tuple[str, ...]:
    try:
        return cleanup.find_stale(root)
    except LiveError:  # reported by _tracefs
        return ()


def _stale_probes(before: tuple[str, ...], root: Path) -> Iterator[Check]:
    stay = set(before) & set(_stale(root))
    if stay:
        finding = f"of killed runs: {', '.join(sorted(stay))}"
        yield Check("stale probes", NO, finding, steps("stale probes"))
    elif before:
        yield Check("stale probes", OK, f"of killed runs, removed now: {', '.join(before)}")


def _visible(path: Path) -> bool:
    """Return whether a file is visible: ``Path.exists`` raises where access is denied."""
    try:
        path.stat()
    except OSError:
        return False
    return True


def _read(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return None
