# SPDX-License-Identifier: GPL-2.0-only
"""Doctor on whole machines: what is tried, what is missing, and without privileges."""

import errno
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.tracers.live.booted import (
    STATUS,
    TRACING,
    checked,
    forget_bcc,
    hide,
    lab,
    named,
    write,
)
from tests.tracers.live.fakes import Fake
from tracers.constants import running
from tracers.constants.errors import ConstantsError
from tracers.errors import VmemscopeError
from tracers.events import Kind
from tracers.live import session
from tracers.live.doctor import early
from tracers.live.doctor import examine as module
from tracers.live.doctor.examine import NO, OK, UNKNOWN, examine
from tracers.live.doctor.steps import steps
from tracers.live.probes.engine import LiveError
from tracers.live.probes.points import Rung
from tracers.live.tracefs import breakpoints, cleanup

NOBODY = 65534
OPEN_BCC = early.open_bcc  # before a fixture puts a fake in its place
RUNGS = (Rung.KPROBE, Rung.CALLSITE, Rung.BREAKPOINT)


def test_a_machine_where_everything_works(machine):
    found = examine(machine)
    assert [(each.name, each.status, each.finding) for each in found.checks] == [
        ("machine", OK, "arm64"),
        ("rights", OK, "root" if os.geteuid() == 0 else "the capabilities needed"),
        ("lockdown", OK, "none"),
        ("symbols", OK, "/proc/kallsyms shows addresses (kptr_restrict 1)"),
        ("kernel text", OK, "/proc/kcore, by the names of /proc/kallsyms"),
        ("BTF", OK, "/sys/kernel/btf/vmlinux: prototypes and sizeof(struct page)"),
        ("tracefs", OK, "/sys/kernel/tracing with kprobe events"),
        (
            "BCC",
            OK,
            f"{machine}/usr/lib/python3/dist-packages/bcc 0.26.0; it needs no kernel headers",
        ),
        ("breakpoints", OK, "6 slots free"),
        ("kernel log", OK, "/dev/kmsg: 1 record from the boot on, none overwritten"),
        ("witnesses", OK, "error_report_end, /sys/kernel/warn_count"),
        ("panics", OK, "a WARN or an Oops does not stop the machine"),
        # NUMBER(VMEMMAP_START), NUMBER(VMEMMAP_END) of the lab's 6.1, and what its code compares
        (
            "window",
            OK,
            (
                "0xfffffffe00000000 - 0xffffffff00000000 (vmcoreinfo + code:vmemmap_free"
                " + code:vmemmap_populate + code:vmemmap_free:free_empty_tables + btf+formula)"
            ),
        ),
    ]
    assert {tuple(each.steps) for each in found.checks} == {()}
    assert (found.gaps, found.exit_code) == ((), 0)
    assert (found.release, found.arch) == ("6.1.192-vmemlab", "aarch64")


def test_what_is_tried_is_taken_back_and_never_enabled(machine, engines):
    found = examine(machine)
    assert [trial.engine for trial in found.trials] == ["bcc", "tracefs", "kmsg"]
    for trial in found.trials[:2]:
        engine = engines[trial.engine]
        assert engine.done == ["close"]
        assert len(engine.attached) == 9
        absent = [each.function for each in trial.attached if each.absent]
        assert absent == REGIONS  # the reduced kernel has none
        assert len(trial.attached) == 9 + len(absent)
    engines["bcc"] = broken = Fake(refuse="all")
    assert "refused every probe" in examine(machine).trials[0].failed
    assert broken.done == ["close"]


def test_nothing_known_is_nothing_claimed(tmp_path, engines):
    engines["bcc"], engines["tracefs"] = LiveError("no BCC"), LiveError("no tracefs")
    found = examine(tmp_path)
    assert {each.name: each.status for each in found.checks} == {
        "machine": OK,
        "rights": UNKNOWN,
        "lockdown": UNKNOWN,
        "symbols": NO,
        "kernel text": NO,
        "BTF": NO,
        "tracefs": NO,
        "BCC": NO,
        "breakpoints": OK,
        "kernel log": NO,
        "witnesses": UNKNOWN,
        "panics": UNKNOWN,
        "window": NO,
    }
    # to get a /dev/kmsg there is no step
    assert all(
        each.steps for each in found.checks if each.status == NO and "kmsg" not in each.finding
    )
    assert not any(each.steps for each in found.checks if each.status == OK)
    assert (found.best, found.exit_code) == (None, 2)


# -- stale probes of killed runs -----------------------------------------------------------------

REGIONS = ["request_free_mem_region", "devm_request_free_mem_region"]
GONE = "vmemscope_42_500_4026531836_0"


@pytest.fixture
def killed(machine):
    """A run of the process 42 was killed, with its cleanup shell."""
    (machine / "proc/self/ns").mkdir()
    (machine / "proc/self/ns/pid").symlink_to("pid:[4026531836]")
    write(machine, {f"{TRACING}/kprobe_events": f"p:{GONE}/free0 vmemmap_free\n"})
    return machine


def test_stale_probes_that_stay(killed):
    check = checked(killed, "stale probes")
    assert (check.status, check.finding) == (NO, f"of killed runs: {GONE}")
    assert check.steps == {}  # to root, who has just tried


def test_stale_probes_that_engine_tracefs_removes(killed, monkeypatch):
    def opener(*_):
        assert cleanup.find_stale(killed) == (GONE,)
        write(killed, {f"{TRACING}/kprobe_events": ""})
        return Fake()

    monkeypatch.setitem(session._OPENERS, "tracefs", opener)
    check = checked(killed, "stale probes")
    assert (check.status, check.finding) == (OK, f"of killed runs, removed now: {GONE}")


# -- the engines ---------------------------------------------------------------------------------


def test_the_first_engine_that_works_is_the_one(machine, engines):
    engines["bcc"] = LiveError("BCC is not installed")
    found = examine(machine)
    assert [trial.failed for trial in found.trials] == ["BCC is not installed", "", ""]
    assert found.best is found.trials[1]
    assert found.exit_code == 0
    engines["tracefs"] = LiveError("tracefs is not mounted")
    found = examine(machine)
    assert found.best is found.trials[2]
    assert "WARNs and Oopses of the kernel log" in found.trials[2].sees
    gap = "only calls that warn are seen, and none is timed"
    assert (found.gaps, found.exit_code) == ((gap,), 3)
    (machine / "dev/kmsg").unlink()
    found = examine(machine)
    assert (found.best, found.gaps, found.exit_code) == (None, ("no engine works",), 2)


@pytest.mark.parametrize("root", [True, False])
def test_a_kernel_log_that_may_not_be_read(machine, monkeypatch, root):
    """kernel.dmesg_restrict, and no CAP_SYSLOG."""
    if not root:
        monkeypatch.setattr(os, "geteuid", lambda: NOBODY)
    write(machine, {"proc/self/status": STATUS.format("0" * 16)})

    def refuse(_):
        raise LiveError("/dev/kmsg: Operation not permitted")

    monkeypatch.setattr(module, "read_ring", refuse)
    check = checked(machine, "kernel log")
    assert (check.status, check.finding) == (NO, "/dev/kmsg: Operation not permitted")
    assert check.steps == steps("container" if root else "sudo")


def test_the_kernel_is_read_once_for_both_engines(machine, monkeypatch):
    read: list[Path] = []
    once = module.read_kernel

    def counted(*arguments, root, **options):
        read.append(root)
        return once(*arguments, root=root, **options)

    for each in (module, session):
        monkeypatch.setattr(each, "read_kernel", counted)
    found = examine(machine)
    assert read == [machine]
    assert all(trial.attached or trial.sees for trial in found.trials)


@pytest.mark.parametrize(
    "error", [VmemscopeError("odd"), PermissionError(errno.EACCES, "Permission denied", "/x")]
)
def test_any_error_of_an_engine_is_reported(machine, monkeypatch, error):
    def refuse(**_):
        raise error

    monkeypatch.setattr(module, "open_live", refuse)
    found = examine(machine)
    assert {trial.failed for trial in found.trials[:2]} == {str(error)}
    assert named(found, "window").status == OK  # that is read without an engine


def rejecting(*points: tuple[Kind, Rung]) -> Fake:
    return Fake(refuse=points)


def test_gaps_are_named_by_what_is_missing(machine, engines):
    everywhere = [(kind, rung) for kind in (Kind.POPULATE, Kind.MEMUNMAP) for rung in RUNGS]
    entry_only = [(Kind.FREE, Rung.KPROBE), (Kind.FREE, Rung.CALLSITE)]
    once = [(Kind.SECTION_ADD, Rung.KPROBE)]  # the call site sees as much
    engines["bcc"] = rejecting(*everywhere, *entry_only, *once)
    found = examine(machine)
    assert found.gaps == (
        "only derived: vmemmap_populate",
        "not timed: vmemmap_free",
        "not seen: memunmap_pages",
    )
    assert found.exit_code == 3


def test_a_gap_of_an_engine_that_is_not_taken_is_none(machine, engines):
    engines["tracefs"] = rejecting(*((Kind.FREE, rung) for rung in RUNGS))
    found = examine(machine)
    assert (found.gaps, found.exit_code) == ((), 0)


def unlisted(root: Path, *names: str) -> None:
    path = root / "proc/kallsyms"
    lines = path.read_text().splitlines(keepends=True)
    kept = [line for line in lines if line.split()[2] not in names]
    assert len(kept) == len(lines) - len(names)
    path.write_text("".join(kept))


def test_a_function_that_does_not_exist_is_no_gap(machine):
    # Debian's 6.1 for arm64 is built without ZONE_DEVICE
    unlisted(machine, "memremap_pages", "memunmap_pages")
    found = examine(machine)
    assert found.best is not None
    absent = [each for each in found.best.attached if each.absent]
    assert [each.function for each in absent] == ["memremap_pages", "memunmap_pages", *REGIONS]
    assert (found.gaps, found.exit_code) == ((), 0)


def test_a_function_that_may_be_inlined_is_a_gap(machine):
    unlisted(machine, "__remove_pages")
    found = examine(machine)
    assert (found.gaps, found.exit_code) == (("not seen: __remove_pages",), 3)


def test_without_names_no_function_is_taken_for_absent(machine, engines):
    unlisted(machine, "memremap_pages", "memunmap_pages")
    hide(machine)
    engines["bcc"] = rejecting((Kind.MEMREMAP, Rung.KPROBE), (Kind.MEMUNMAP, Rung.KPROBE))
    found = examine(machine)
    assert "not seen: memremap_pages, memunmap_pages" in found.gaps
    assert found.exit_code == 3


# -- without rights ------------------------------------------------------------------------------


@contextmanager
def unprivileged() -> Iterator[None]:
    """Look at files as nobody does; who is nobody already stays so."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_whoever_may_not_look_gets_a_diagnosis(captures, engines, monkeypatch):
    # tmp_path lies in a folder that is root's alone
    root = Path(tempfile.mkdtemp(prefix="vmemscope-doctor-"))
    try:
        root.chmod(0o755)
        lab(root, captures)
        write(root, {"proc/self/status": STATUS.format("0" * 16)})
        hide(root)  # as kallsyms is for them
        shut = [root / TRACING, root / "sys/kernel/debug", root / "boot"]
        shut += [root / "usr/lib/python3", root / "home"]
        for folder in shut:
            folder.mkdir(exist_ok=True)
        for name in ("proc/kcore", "dev/kmsg"):
            (root / name).chmod(0)
        monkeypatch.setattr(sys, "path", [str(root / "home")])
        monkeypatch.setattr(breakpoints, "free_breakpoints", _refused)
        real = {"bcc": session._bcc, "tracefs": session._tracefs}
        monkeypatch.setattr(session, "_OPENERS", {name: real[name] for name in engines})
        monkeypatch.setattr(early, "open_bcc", OPEN_BCC)
        examine(root)  # what is imported late must be readable
        forget_bcc()
        for folder in shut:
            folder.chmod(0)
        with unprivileged():
            found = examine(root)
    finally:
        for folder in shut:
            folder.chmod(0o700)
        shutil.rmtree(root)
    assert {each.name: each.status for each in found.checks} == {
        "machine": OK,
        "rights": NO,
        "lockdown": OK,
        "symbols": NO,
        "kernel text": NO,
        "BTF": OK,
        "tracefs": NO,
        "BCC": NO,
        "breakpoints": UNKNOWN,
        "kernel log": NO,
        "witnesses": OK,
        "panics": OK,
        "window": NO,
    }
    assert named(found, "tracefs").finding == "/sys/kernel/tracing: Permission denied"
    assert named(found, "tracefs").steps == {"": "run it with sudo"}
    assert all(trial.failed for trial in found.trials)
    assert "ermission denied" in found.trials[1].failed
    assert found.exit_code == 2


def _refused() -> int:
    raise OSError(errno.EACCES, os.strerror(errno.EACCES))


# -- opened while the kernel is read -------------------------------------------------------------


def test_an_engine_that_nobody_came_to_try_is_closed(machine, engines):
    (machine / "file").write_bytes(b"no kernel")
    with pytest.raises(ConstantsError):
        examine(machine, vmlinux=machine / "file")
    assert engines["bcc"].done == ["close"]
    assert engines["tracefs"].done == []


def test_an_engine_that_does_not_open_is_no_matter_where_nobody_tries_it(machine, engines):
    engines["bcc"] = LiveError("BCC is not installed")
    (machine / "file").write_bytes(b"no kernel")
    with pytest.raises(ConstantsError):
        examine(machine, vmlinux=machine / "file")


def test_each_file_of_the_kernel_is_read_once(machine, monkeypatch):
    """Names, types and text are asked for by the ladder, the window and the WARN sites."""
    read: list[str] = []

    def counted(module, name):
        real = getattr(module, name)

        def count(*arguments, **options):
            read.append(name)
            return real(*arguments, **options)

        monkeypatch.setattr(module, name, count)

    for name in ("read_map", "Btf", "open_kernel"):
        counted(running, name)
    found = examine(machine)
    assert found.exit_code == 0
    assert sorted(read) == ["Btf", "open_kernel", "read_map"]
