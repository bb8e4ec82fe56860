# SPDX-License-Identifier: GPL-2.0-only
"""Each of doctor's checks, where the kernel shows the facts and where it hides them."""

import errno
import os
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.tracers.live.booted import (
    CAPTURE,
    FILES,
    LAB,
    STATUS,
    TRACING,
    checked,
    hide,
    named,
    write,
)
from tests.tracers.live.machines import BTF_6_1, running
from tracers.live.doctor.examine import NO, OK, UNKNOWN, examine
from tracers.live.doctor.state import CAPABILITIES
from tracers.live.probes import survey
from tracers.live.tracefs import breakpoints
from tracers.machine import read_machine


@pytest.mark.parametrize(
    ("mask", "missing"),
    [
        ("000001ffffffffff", ()),
        ("0000003fffffffff", ()),  # root before 5.8: CAP_SYS_ADMIN is all of it
        ("000001fffffdffff", ("CAP_SYS_RAWIO",)),  # without it no /proc/kcore
        ("000001fbffffffff", ("CAP_SYSLOG",)),
        ("000001ffffdfffff", ("CAP_SYS_ADMIN",)),
        (
            "00000000a80425fb",  # root in a container, by Docker's default
            ("CAP_SYS_RAWIO", "CAP_SYS_ADMIN", "CAP_SYSLOG", "CAP_PERFMON", "CAP_BPF"),
        ),
    ],
)
def test_rights(machine, monkeypatch, mask, missing):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    write(machine, {"proc/self/status": STATUS.format(mask)})
    check = checked(machine, "rights")
    assert check.status == (NO if missing else OK)
    if missing:
        assert check.finding == f"missing {', '.join(missing)}"
        assert set(missing) <= set(re.split(r"[ =]", check.steps[""]))


@pytest.mark.parametrize("text", ["", "CapEff:\t1ff\n", "CapEff:\tffffffffffffffffff\n"])
def test_rights_that_nothing_says(machine, text):
    write(machine, {"proc/self/status": text})
    assert checked(machine, "rights").status == UNKNOWN


def test_the_numbers_of_the_capabilities_are_the_kernels():
    header = Path("/usr/include/linux/capability.h")
    if not header.exists():
        pytest.skip("no linux/capability.h (Debian: linux-libc-dev)")
    defined = re.findall(r"^#define (CAP_\w+)\s+(\d+)$", header.read_text(), re.MULTILINE)
    kernels = {name: int(number) for name, number in defined}
    assert CAPABILITIES.items() <= kernels.items()


@pytest.mark.parametrize(
    ("text", "status", "finding"),
    [
        ("[none] integrity confidentiality\n", OK, "none"),
        ("none [integrity] confidentiality\n", OK, "integrity"),
        ("none integrity [confidentiality]\n", NO, "confidentiality: no kprobes, no kcore"),
        ("", UNKNOWN, "/sys/kernel/security/lockdown names no mode"),
        (None, OK, "the kernel has none"),
    ],
)
def test_lockdown(machine, text, status, finding):
    if text is None:
        (machine / "sys/kernel/security/lockdown").unlink()
    else:
        write(machine, {"sys/kernel/security/lockdown": text})
    check = checked(machine, "lockdown")
    assert (check.status, check.finding) == (status, finding)
    assert ("lockdown=integrity" in check.steps.get("", "")) is (status == NO)
    assert bool(check.steps) is (status == NO)


def test_lockdown_without_securityfs_is_not_known(machine):
    shutil.rmtree(machine / "sys/kernel/security")
    assert checked(machine, "lockdown").status == UNKNOWN


@pytest.mark.parametrize(
    ("restrict", "step"),
    [("2", "sysctl kernel.kptr_restrict=1"), ("1", "run it with sudo"), ("0", "run it with sudo")],
)
def test_hidden_names_stand_in_the_way_of_the_text_too(machine, monkeypatch, restrict, step):
    hide(machine)
    monkeypatch.setattr(os, "geteuid", lambda: 0 if restrict == "2" else 1000)
    write(machine, {"proc/sys/kernel/kptr_restrict": f"{restrict}\n"})
    found = examine(machine)
    symbols = named(found, "symbols")
    assert symbols.status == NO
    assert "hidden (all zero)" in symbols.finding
    assert symbols.finding.endswith(f"kptr_restrict is {restrict}")
    assert symbols.steps == {"": step}
    text = named(found, "kernel text")
    assert (text.status, text.steps) == (NO, {"": step})
    assert "hidden (all zero)" in text.finding


def test_a_kernel_without_names(machine):
    (machine / "proc/kallsyms").unlink()
    check = checked(machine, "symbols")
    assert check.status == NO
    assert "No such file" in check.finding
    assert "CONFIG_KALLSYMS=y" in check.steps[""]


def test_text_that_cannot_be_read(machine):
    (machine / "proc/kcore").unlink()
    check = checked(machine, "kernel text")
    assert check.status == NO
    assert check.finding == f"{machine}/proc/kcore: cannot be read: No such file or directory"
    assert "doctor --vmlinux /usr/lib/debug/boot/vmlinux-6.1.192" in check.steps["debian"]


def test_text_that_opens_and_is_of_no_use_is_not_ok(machine, captures):
    # names 64 KiB off, as of a kernel that KASLR has put elsewhere
    note = (captures / CAPTURE / "kcore-vmcoreinfo").read_text()
    other = running(machine / "other", LAB, slide=0x10000, note=note)
    shutil.copy(other / "proc/kallsyms", machine / "proc/kallsyms")
    check = checked(machine, "kernel text")
    assert check.status == NO
    assert "the symbols of another kernel" in check.finding
    assert "--vmlinux" in check.steps["debian"]


@pytest.mark.parametrize(
    "content", [b"", b"\x7fELF", b"hello\n" * 99], ids=["empty", "cut short", "text"]
)
def test_text_that_is_damaged(machine, content):
    (machine / "proc/kcore").write_bytes(content)
    assert checked(machine, "kernel text").status == NO


@pytest.mark.parametrize(
    ("content", "finding"),
    [(None, "No such file or directory"), (BTF_6_1[:-40], "BTF")],
    ids=["missing", "cut short"],
)
def test_btf(machine, content, finding):
    path = machine / "sys/kernel/btf/vmlinux"
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    check = checked(machine, "BTF")
    assert check.status == NO
    assert check.finding.startswith("/sys/kernel/btf/vmlinux: ")
    assert finding in check.finding
    # a damaged one is there already
    assert ("CONFIG_DEBUG_INFO_BTF=y" in check.steps.get("", "")) is (content is None)


def test_tracefs_under_debugfs(machine):
    (machine / "sys/kernel/debug").mkdir()
    (machine / TRACING).rename(machine / "sys/kernel/debug/tracing")
    (machine / TRACING).mkdir()  # the mount point is there
    found = examine(machine)
    assert named(found, "tracefs").finding == "/sys/kernel/debug/tracing with kprobe events"
    assert named(found, "witnesses").finding.startswith("error_report_end")


def test_tracefs_without_kprobe_events(machine):
    (machine / TRACING / "kprobe_events").unlink()
    check = checked(machine, "tracefs")
    assert (check.status, check.finding) == (NO, "mounted, no kprobe_events")
    assert "CONFIG_KPROBE_EVENTS=y" in check.steps[""]


@pytest.mark.parametrize("left", ["nothing", "the mount point"])
def test_tracefs_not_mounted(machine, left):
    shutil.rmtree(machine / TRACING)
    if left == "the mount point":
        (machine / TRACING).mkdir()
    check = checked(machine, "tracefs")
    assert (check.status, check.finding) == (NO, "not mounted")
    assert check.steps[""].startswith("mount -t tracefs")


@pytest.mark.parametrize("broken", [True, False])
def test_bcc(machine, broken, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(machine)])
    package = machine / "usr/lib/python3/dist-packages/bcc"
    if broken:
        (package / "libbcc.py").write_text("raise OSError('libbcc.so.0: cannot open')\n")
    else:
        shutil.rmtree(package)
    check = checked(machine, "BCC")
    assert check.status == NO
    assert ("libbcc.so.0: cannot open" in check.finding) is broken
    again = "--reinstall python3-bpfcc libbpfcc" if broken else "python3-bpfcc"
    assert check.steps["debian"] == f"apt install {again}"


@pytest.mark.parametrize(
    ("free", "status", "finding"),
    [
        (6, OK, "6 slots free"),
        (2, OK, "2 slots free"),
        (1, NO, "1 of the CPU's slots free: two are needed to time a call"),
        (0, NO, "0 of the CPU's slots free: two are needed to time a call"),
        (errno.EACCES, UNKNOWN, "perf_event_open: Permission denied"),
        (errno.ENODEV, UNKNOWN, "perf_event_open: No such device"),
    ],
)
def test_breakpoints(machine, monkeypatch, free, status, finding):
    def slots() -> int:
        if status == UNKNOWN:
            raise OSError(free, os.strerror(free))
        return free

    monkeypatch.setattr(breakpoints, "free_breakpoints", slots)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    check = checked(machine, "breakpoints")
    assert (check.status, check.finding) == (status, finding)
    assert bool(check.steps) is (status == NO or free == errno.EACCES)


@pytest.mark.parametrize(
    ("gone", "status", "finding"),
    [
        (("sys/kernel/warn_count",), OK, "error_report_end"),  # before 6.2
        ((f"{TRACING}/events",), OK, "/sys/kernel/warn_count"),  # before 5.12
        (("sys/kernel/warn_count", f"{TRACING}/events"), UNKNOWN, "neither"),
    ],
)
def test_witnesses(machine, gone, status, finding):
    for name in gone:
        path = machine / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    check = checked(machine, "witnesses")
    assert check.status == status
    assert check.finding.partition(" ")[0] == finding


@pytest.mark.parametrize(
    ("values", "finding"),
    [
        ({"panic_on_warn": "1"}, "panic_on_warn"),
        ({"panic_on_warn": "2"}, "panic_on_warn"),  # any number but 0: kernel/panic.c
        ({"panic_on_warn": "-1"}, "panic_on_warn"),
        ({"panic_on_oops": "1"}, "panic_on_oops"),
        ({"warn_limit": "100"}, "warn_limit"),
        ({"panic_on_warn": "1", "panic_on_oops": "3"}, "panic_on_warn and panic_on_oops"),
    ],
)
def test_panics(machine, values, finding):
    write(machine, {f"proc/sys/kernel/{name}": f"{text}\n" for name, text in values.items()})
    check = checked(machine, "panics")
    assert check.status == NO
    assert check.finding == f"{finding}: a recording on this machine ends with the kernel"
    assert "ssh HOST" in check.steps[""]


def test_no_panics_before_warn_limit(machine):
    (machine / "proc/sys/kernel/warn_limit").unlink()  # before 6.2
    assert checked(machine, "panics").status == OK


@pytest.mark.parametrize("name", ["panic_on_warn", "panic_on_oops"])
def test_panics_that_nothing_says(machine, name):
    (machine / "proc/sys/kernel" / name).unlink()
    check = checked(machine, "panics")
    assert (check.status, check.finding) == (UNKNOWN, f"{name} cannot be read")


def test_a_window_that_cannot_be_read_is_a_gap(machine):
    (machine / "proc/kcore").unlink()
    found = examine(machine)
    check = named(found, "window")
    assert check.status == NO
    assert check.finding == f"not known: {machine}/proc/kcore: No such file or directory"
    assert "vmemscope doctor --vmlinux" in check.steps["debian"]
    assert (found.gaps, found.exit_code) == (("the window is not known",), 3)


def test_sources_that_contradict_are_a_gap(machine, captures):
    note = (captures / CAPTURE / "kcore-vmcoreinfo").read_text()
    note = note.replace("0xfffffffe00000000", "0xfffffffd00000000")
    shutil.rmtree(machine / "proc")
    shutil.rmtree(machine / "sys")
    write(running(machine, LAB, slide=0, btf=BTF_6_1, note=note), FILES)
    found = examine(machine)
    check = named(found, "window")
    assert check.status == NO
    assert check.finding.startswith(
        "0xfffffffd00000000 - 0xffffffff00000000: its sources contradict: the window: vmcoreinfo"
    )
    assert check.steps == {}
    assert (found.gaps, found.exit_code) == (("the window's sources contradict",), 3)


def test_another_architecture_says_what_it_does_not_do(machine, monkeypatch):
    own = os.uname()
    monkeypatch.setattr(os, "uname", lambda: os.uname_result((*own[:4], "x86_64")))
    found = examine(machine)
    assert (named(found, "machine").status, found.arch) == (NO, "x86_64")
    assert "where they fall is not judged" in named(found, "machine").finding
    for name in ("machine", "kernel text", "window"):
        assert named(found, name).steps == {
            "": "run it on the arm64 machine, or import its own ftrace text"
        }
    assert found.gaps == ("the window is not known",)
    monkeypatch.setattr(os, "uname", lambda: os.uname_result((*own[:4], "riscv64")))
    assert checked(machine, "machine").finding == "riscv64: nothing here is known for it"


def known(monkeypatch, captures, **facts):
    """Doctor on a machine whose window is that of a 52-bit kernel on a CPU with 48 bits."""
    machine = read_machine(captures / "7.3.4-vmemlab-64k-52bit-on-48bit")
    window = replace(machine.window, **facts)
    found = SimpleNamespace(
        machine=lambda: replace(machine, window=window), warn_sites=(), probeable={}, missing={}
    )
    monkeypatch.setattr(survey, "gather", lambda *_, **__: found)


def test_a_blind_warn_is_reported(machine, monkeypatch, captures):
    known(monkeypatch, captures)
    found = examine(machine)
    check = named(found, "window")
    assert check.status == OK
    assert "in use from 0xffffffdfc0000000: 48 of 52 address bits (vmcoreinfo)" in check.finding
    assert "cannot see hits below 0xffffffdfc0000000" in check.finding
    assert check.finding.endswith("pages at physical addresses below 0x40000000.")
    assert found.gaps == ()


def test_bits_that_nothing_tells_are_a_gap(machine, monkeypatch, captures):
    known(monkeypatch, captures, vabits_actual=None)
    found = examine(machine)
    check = named(found, "window")
    assert check.status == UNKNOWN
    assert check.steps == {}  # whoever is root has read all there is
    assert found.gaps == ("which part of the window is in use is not known",)
    assert found.exit_code == 3
