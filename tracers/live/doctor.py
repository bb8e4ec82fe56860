"""Says what of live capture works on this machine, and what to do about each thing that does not.

Promises: what can be tried is tried, and taken back at once: every probe is attached, disabled,
and removed, so the rung shown is the rung ``record`` would get. Nothing is enabled, no event is
taken. A thing that cannot be found out is "unknown", never "ok".
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tracers.errors import VmemscopeError
from tracers.live import findbcc, leftovers, perf
from tracers.live.engine import LiveError
from tracers.live.ladder import Attached
from tracers.live.session import ENGINES, open_live
from tracers.live.steps import steps
from tracers.machine import Machine

OK, NO, UNKNOWN = "ok", "no", "unknown"
#: include/uapi/linux/capability.h; what tracefs, BPF, kallsyms and /proc/kcore ask for.
_CAPABILITIES: Final = {
    "CAP_SYS_ADMIN": 21,
    "CAP_SYSLOG": 34,
    "CAP_PERFMON": 38,
    "CAP_BPF": 39,
}
_KALLSYMS_HEAD: Final = 1 << 16  # bytes
_TRACING: Final = ("sys/kernel/tracing", "sys/kernel/debug/tracing")


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at. ``steps``: what to do, by distribution, "" for any; empty if ok."""

    name: str
    status: str
    said: str
    steps: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trial:
    """One engine tried: how each point was attached, or why the engine does not work here."""

    engine: str
    attached: tuple[Attached, ...] = ()
    notes: tuple[str, ...] = ()
    failed: str = ""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All of it. ``exit_code``: 0 all is seen as it happens, 3 with gaps, 2 not possible here."""

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
    def exit_code(self) -> int:
        """What the command exits with."""
        if self.best is None:
            return 2
        gaps = [each for each in self.best.attached if each.probe is None or not each.probe.timed]
        return 3 if gaps or self.machine.window is None or not self.machine.agree else 0


def examine(root: Path = Path("/")) -> Diagnosis:
    """Look at everything and try every engine. Takes as long as BCC takes to compile."""
    trials = []
    machine = Machine(release=os.uname().release, arch=os.uname().machine)
    for engine in ENGINES:
        trial, known = _try(engine, root)
        trials.append(trial)
        machine = known or machine
    checks = (
        _arch(),
        _rights(root),
        _lockdown(root),
        _kallsyms(root),
        _text(root),
        _btf(root),
        _tracefs(root),
        _bcc(root),
        _breakpoints(),
        _witnesses(root),
        _panics(root),
        _window(machine),
        *_leftovers(root),
    )
    uname = os.uname()
    return Diagnosis(uname.release, uname.machine, checks, tuple(trials), machine)


def _try(engine: str, root: Path) -> tuple[Trial, Machine | None]:
    try:
        with open_live(engine=engine, root=root) as live:
            return Trial(engine, live.attached, live.notes), live.machine
    except VmemscopeError as error:
        return Trial(engine, failed=str(error)), None


def _arch() -> Check:
    machine = os.uname().machine
    if machine == "aarch64":
        return Check("machine", OK, "arm64")
    if machine == "x86_64":
        said = (
            "x86_64: calls are recorded by their entry probes and timed; where they fall is not"
            " judged, as the window and its WARN are arm64's (x86 has vmemmap_base and no check)"
        )
    else:
        said = f"{machine}: nothing here is known for it"
    return Check("machine", NO, said, steps("arm64"))


def _rights(root: Path) -> Check:
    text = _read(root / "proc/self/status") or ""
    found = re.search(r"^CapEff:\s*([0-9a-f]{16})$", text, re.MULTILINE)
    if found is None:
        return Check("rights", UNKNOWN, "/proc/self/status does not say")
    held = int(found[1], 16)
    missing = [name for name, bit in _CAPABILITIES.items() if not held >> bit & 1]
    if missing:
        return Check("rights", NO, f"missing {', '.join(missing)}", steps("root"))
    return Check("rights", OK, "root" if os.geteuid() == 0 else "the capabilities needed")


def _lockdown(root: Path) -> Check:
    text = _read(root / "sys/kernel/security/lockdown")
    if text is None:
        return Check("lockdown", UNKNOWN, "securityfs is not mounted, or the kernel has none")
    mode = re.search(r"\[(\w+)\]", text)
    said = mode[1] if mode else text.strip()
    # security/security.c: kprobes and BPF reads of kernel memory fall to confidentiality
    if said == "confidentiality":
        return Check("lockdown", NO, "confidentiality: no kprobes, no kcore", steps("lockdown"))
    return Check("lockdown", OK, said)


def _kallsyms(root: Path) -> Check:
    restrict = (_read(root / "proc/sys/kernel/kptr_restrict") or "?").strip()
    try:
        with (root / "proc/kallsyms").open("rb") as file:
            head = file.read(_KALLSYMS_HEAD)
    except OSError as error:
        return Check("symbols", NO, f"/proc/kallsyms: {error.strerror}", steps("kptr_restrict"))
    if not re.search(rb"^0*[1-9a-f]", head, re.MULTILINE):
        said = f"addresses are hidden (kptr_restrict {restrict})"
        return Check("symbols", NO, said, steps("kptr_restrict"))
    return Check("symbols", OK, f"/proc/kallsyms shows addresses (kptr_restrict {restrict})")


def _text(root: Path) -> Check:
    try:
        with (root / "proc/kcore").open("rb") as file:
            good = file.read(4) == b"\x7fELF"
    except OSError as error:
        way_out = {**steps("kcore"), **steps("vmlinux")}
        return Check("kernel text", NO, f"/proc/kcore: {error.strerror}", way_out)
    return Check("kernel text", OK if good else UNKNOWN, "/proc/kcore")


def _btf(root: Path) -> Check:
    if (root / "sys/kernel/btf/vmlinux").exists():
        return Check("BTF", OK, "/sys/kernel/btf/vmlinux: prototypes and sizeof(struct page)")
    return Check("BTF", NO, "/sys/kernel/btf/vmlinux is missing", steps("btf"))


def _tracefs(root: Path) -> Check:
    for place in _TRACING:
        if (root / place / "kprobe_events").exists():
            return Check("tracefs", OK, f"/{place} with kprobe events")
        if (root / place / "trace").exists():
            return Check("tracefs", NO, "mounted, no kprobe_events", steps("kprobe_events"))
    return Check("tracefs", NO, "not mounted, or not readable", steps("tracefs"))


def _bcc(root: Path) -> Check:
    try:
        return Check("BCC", OK, f"{findbcc.describe(root)}; it needs no kernel headers")
    except LiveError as error:
        return Check("BCC", NO, str(error), steps("bcc"))


def _breakpoints() -> Check:
    try:
        free = perf.free_breakpoints()
    except OSError as error:
        return Check("breakpoints", UNKNOWN, f"perf_event_open: {error.strerror}")
    if free < 2:
        said = f"{free} of the CPU's slots free: two are needed to time a call"
        return Check("breakpoints", NO, said, steps("breakpoints"))
    return Check("breakpoints", OK, f"{free} slots free")


def _witnesses(root: Path) -> Check:
    known = []
    if any((root / base / "events/error_report").exists() for base in _TRACING):
        known.append("error_report_end")
    if (root / "sys/kernel/warn_count").exists():
        known.append("/sys/kernel/warn_count")
    if not known:
        return Check(
            "witnesses",
            UNKNOWN,
            "neither error_report_end nor warn_count: WARNs are counted by __warn alone",
        )
    return Check("witnesses", OK, ", ".join(known))


def _panics(root: Path) -> Check:
    names = ("panic_on_warn", "panic_on_oops")
    hot = [name for name in names if (_read(root / "proc/sys/kernel" / name) or "").strip() == "1"]
    if hot:
        said = f"{' and '.join(hot)}: a recording on this machine ends with the kernel"
        return Check("panics", NO, said, steps("panic"))
    return Check("panics", OK, "a WARN or an Oops does not stop the machine")


def _window(machine: Machine) -> Check:
    window = machine.window
    if window is None:
        why = machine.problems[0] if machine.problems else "no source says"
        return Check("window", NO, f"not known: {why}", steps("window"))
    said = f"0x{window.start:016x} - 0x{window.end:016x}"
    if not machine.agree:
        return Check("window", NO, f"{said}: its sources contradict", steps("window"))
    return Check("window", OK, f"{said} ({window.provenance.get('window', 'origin not known')})")


def _leftovers(root: Path) -> Iterator[Check]:
    try:
        found = leftovers.find(root)
    except LiveError:  # said by _tracefs
        return
    if found:
        yield Check(
            "leftovers", NO, f"of killed runs: {', '.join(map(str, found))}", steps("leftovers")
        )


def _read(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return None
